//! The hosts of the link and their Reports.

use std::net::Ipv6Addr;

use anycast_common::wire::{ipv6, mld};

/// Pairs of a group and a member.
pub const PAIRS: usize = 100_000;
/// How they are spread: groups, members of each.
pub const SHAPES: [(usize, usize); 3] = [(PAIRS, 1), (1000, 100), (10, PAIRS / 10)];

/// A pair of a group and a member.
#[derive(Clone, Copy)]
pub struct Pair {
    pub group: Ipv6Addr,
    pub member: Ipv6Addr,
    pub mac: [u8; 6],
}

/// All pairs of so many groups with so many members each.
pub fn pairs(groups: usize, members: usize) -> Vec<Pair> {
    let pair = |number: usize| {
        let (group, member) = (
            u32::try_from(number % groups).unwrap(),
            u32::try_from(number / groups).unwrap(),
        );
        let [a, b, c, d] = member.to_be_bytes();
        Pair {
            group: low(Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0), group),
            member: low(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 1, 0, 0), member),
            mac: [2, 1, a, b, c, d],
        }
    };
    (0..groups * members).map(pair).collect()
}

impl Pair {
    /// Its Report as an IPv6 packet.
    pub fn report(&self) -> [u8; mld::PACKET_LEN] {
        let mut packet = [0; mld::PACKET_LEN];
        let report = mld::Message::Report {
            address: self.group,
        };
        report
            .emit(self.member, ipv6::ALL_ROUTERS, &mut packet)
            .unwrap();
        packet
    }

    /// The same as an Ethernet frame.
    pub fn frame(&self) -> Vec<u8> {
        let mut frame = vec![0x33, 0x33, 0, 0, 0, 2];
        frame.extend(self.mac);
        frame.extend([0x86, 0xdd]);
        frame.extend(self.report());
        frame
    }
}

fn low(base: Ipv6Addr, number: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(base.to_bits() | u128::from(number))
}
