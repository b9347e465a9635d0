//! Who takes part.

use std::net::Ipv6Addr;

/// The anycast address.
pub const B: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);
/// The member's own.
pub const C: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, 0xc1);
/// The clients.
pub const CLIENTS: &str = "2001:db8:1::/64";

/// A client, A.
pub fn client(number: usize) -> Ipv6Addr {
    let base = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 1, 0, 0);
    Ipv6Addr::from_bits(base.to_bits() | number as u128)
}
