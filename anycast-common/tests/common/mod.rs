//! Recorded packets and the addresses that they use; see `fixtures/generate.py`.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "helpers of tests"
)]

mod fixture;

use std::net::Ipv6Addr;

use anycast_common::wire::ipv6::Packet;
pub use fixture::packets;

pub const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
pub const MEMBER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0xff, 0xfe12, 0x3456);
pub const GATEWAY: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1);
/// The client.
pub const A: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x42);
/// The anycast address.
pub const B: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xb, 0, 0, 0, 0, 0x53);
/// The member's unicast address.
pub const C: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 1, 0, 0, 0, 7);
/// A multicast group.
pub const GROUP: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 0xabcd);

pub const FIXTURES: [&str; 6] = [
    include_str!("../fixtures/mld.hex"),
    include_str!("../fixtures/mobility.hex"),
    include_str!("../fixtures/icmpv6.hex"),
    include_str!("../fixtures/ipv6.hex"),
    include_str!("../fixtures/neighbor.hex"),
    include_str!("../fixtures/discovery.hex"),
];

/// The recorded packet of that name.
pub fn packet(name: &str) -> Vec<u8> {
    let mut found = FIXTURES.iter().flat_map(|file| packets(file));
    found
        .find(|(label, _)| *label == name)
        .unwrap_or_else(|| panic!("no packet {name}"))
        .1
}

pub fn parse(octets: &[u8]) -> Packet<'_> {
    Packet::parse(octets).unwrap()
}
