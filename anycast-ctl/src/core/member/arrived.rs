//! A received packet that is handed on to another member.

use std::net::Ipv6Addr;

use anycast_common::wire::{
    checksum,
    ipv6::{self, NEXT_HEADER_MOBILITY},
};

use crate::core::{Received, Time};

/// Offset of the checksum field in the upper-layer header, in octets.
const MOBILITY_CHECKSUM: usize = 4;
const ICMPV6_CHECKSUM: usize = 2;
/// Offsets of fields in the IPv6 header, in octets.
const HOP_LIMIT: usize = 7;
const DESTINATION: std::ops::Range<usize> = 24..ipv6::HEADER_LEN;

/// A received packet, as octets and parsed.
#[derive(Clone, Copy)]
pub(super) struct Arrived<'a> {
    pub(super) now: Time,
    pub(super) octets: &'a [u8],
    pub(super) packet: &'a ipv6::Packet<'a>,
}

impl<'a> Arrived<'a> {
    pub(super) const fn new(
        now: Time,
        received: &Received<'a>,
        packet: &'a ipv6::Packet<'a>,
    ) -> Self {
        Self {
            now,
            octets: received.packet,
            packet,
        }
    }

    /// The packet with another destination and a hop limit that is lower by one. `None` when no hop is left.
    pub(super) fn to(&self, address: Ipv6Addr) -> Option<Vec<u8>> {
        let start = self.packet.payload_offset;
        let field = start
            + match self.packet.protocol {
                NEXT_HEADER_MOBILITY => MOBILITY_CHECKSUM,
                _ => ICMPV6_CHECKSUM,
            };
        let mut octets = self
            .octets
            .get(..start + self.packet.payload.len())?
            .to_vec();
        let hop_limit = octets.get_mut(HOP_LIMIT)?;
        *hop_limit = hop_limit.checked_sub(1).filter(|left| *left > 0)?;
        octets
            .get_mut(DESTINATION)?
            .copy_from_slice(&address.octets());
        let check = octets.get_mut(field..field + 2)?;
        let before = u16::from_ne_bytes([*check.first()?, *check.last()?]);
        let delta = checksum::delta(&self.packet.destination.octets(), &address.octets());
        check.copy_from_slice(&checksum::apply(before, delta).to_ne_bytes());
        Some(octets)
    }
}
