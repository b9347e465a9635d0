//! How much the maps hold.

// What is said to be the default can be configured.

/// Default capacity of the maps `BINDINGS` and `CARE_OF`.
pub const BINDINGS: u32 = 131_072;
/// Default capacity of the maps `FLOWS`, see [`flow_table`](crate::abi::flow_table), and `MEMBER_FLOWS` (LRU).
pub const FLOWS: u32 = 262_144;
/// Default capacity of the map `CLIENTS` (LRU).
pub const CLIENTS: u32 = 131_072;
/// Default capacity of the map `FRAGMENTS` (LRU).
pub const FRAGMENTS: u32 = 16_384;
/// Capacity of the map `UNREACHABLE` (LRU): by C, when the controller was last told that it cannot be
/// reached.
pub const UNREACHABLE: u32 = 4096;
/// Capacity of the map `CLIENT_PREFIXES`.
pub const CLIENT_PREFIXES: u32 = 1024;
/// Capacity of the map `ANYCAST_PREFIXES`.
pub const ANYCAST_PREFIXES: u32 = 1024;
/// Entries in each of the two rows of the map `SENT`.
pub const SENT_ROW: u32 = 1 << 18;
/// Entries in each of the two rows of the map `BUCKETS`.
pub const BUCKETS_ROW: u32 = 1 << 16;
/// Capacity of the maps `LOCAL_ANYCAST` and `LOCAL_CARE_OF`.
pub const LOCAL_GROUPS: u32 = 4096;
/// Reports and Dones that the map `REFUSED` holds for each CPU.
pub const REFUSED: u32 = 4096;
