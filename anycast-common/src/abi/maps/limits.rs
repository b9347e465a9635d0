//! Token buckets, by which the programs limit what reaches the controller.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::address::Address;

layout!(Rate: 16, Rates: 144, NewSenders: 8, Sender: 32);

/// A token bucket, which a map keeps as the time, in nanoseconds of `CLOCK_MONOTONIC_COARSE`, at
/// which it is full again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Rate {
    /// Nanoseconds in which a token grows.
    pub every: u64,
    /// Nanoseconds in which all tokens but one grow.
    pub depth: u64,
}

/// Every rate of the programs, by its number in [`rates`]. The daemon may change them while the programs run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Rates {
    /// The rates. An `every` of 0 sets no limit.
    pub of: [Rate; rates::ALL],
}

impl Rates {
    /// Section of the object, and name of its map.
    pub const SECTION: &str = ".data.rates";
}

/// Numbers of the rates.
pub mod rates {
    /// Reports and Dones of each sender.
    pub const REPORTS: usize = 0;
    /// Senders that are not known yet, by the rule that allows them and the interface.
    pub const NEW_SENDERS: usize = 1;
    /// Test Inits, and Binding Updates, to each client.
    pub const MESSAGES_TO_CLIENT: usize = 2;
    /// They from each /64.
    pub const MESSAGES_FROM_PREFIX: usize = 3;
    /// They on each CPU, to clients that sent a packet of late.
    pub const MESSAGES_SOLICITED: usize = 4;
    /// They on each CPU, to other clients.
    pub const MESSAGES_UNSOLICITED: usize = 5;
    /// New clients that a member reports, on each CPU.
    pub const NEW_CLIENTS: usize = 6;
    /// New clients of each /64.
    pub const NEW_CLIENTS_OF_PREFIX: usize = 7;
    /// Answers of clients that a member's programs hand to the controller, on each CPU.
    pub const ANSWERS: usize = 8;
    /// How many there are.
    pub const ALL: usize = 9;
}

/// Whose bucket for new senders. Map `NEW_SENDERS_FULL` (LRU); the value is as in `SENDERS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct NewSenders {
    /// Number of the rule that allows them.
    pub rule: u32,
    /// Interface index.
    pub ifindex: u32,
}

/// Who sent a Report or Done. Map `SENDERS` (LRU); the value is the time, in nanoseconds of
/// `CLOCK_MONOTONIC_COARSE`, at which the sender's token bucket is full again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Sender {
    /// Link-local source.
    pub source: Address,
    /// Interface index.
    pub ifindex: u32,
    /// Ethernet source.
    pub mac: [u8; 6],
    /// Zero.
    pub reserved: [u8; 6],
}

/// Indices of the map `WHOLE`: a token bucket of each CPU for all events of a kind.
pub mod whole {
    /// Test Inits.
    pub const TEST_INITS: u32 = 0;
    /// Binding Updates.
    pub const UPDATES: u32 = 1;
    /// Added to these when the client sent a packet of late.
    pub const SOLICITED: u32 = 2;
    /// New clients of a member.
    pub const NEW_CLIENTS: u32 = 4;
    /// Answers to a member's messages.
    pub const ANSWERS: u32 = 5;
    /// ICMPv6 errors about them.
    pub const ERRORS: u32 = 6;
    /// MLD Queries.
    pub const QUERIES: u32 = 7;
    /// Failed trials.
    pub const TRIALS: u32 = 8;
    /// How many there are.
    pub const ALL: u32 = 9;
}
