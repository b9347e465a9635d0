//! How the maps hold addresses.

/// An IPv6 address in network order.
pub type Address = [u8; 16];
