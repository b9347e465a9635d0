//! Reads the start of a packet that may be malformed or cut short.

use std::net::Ipv6Addr;

use anycast_common::wire::ipv6::{self, Packet};

use crate::core::{Action, Actions, Notice, Received, notice::RefusedBy};

/// Reports a Report or Done that the data plane refused. The packet may be malformed or cut short.
pub(super) fn refused(reason: &'static str, received: &Received<'_>, actions: &mut Actions) {
    let packet = Packet::parse_quoted(received.packet).ok();
    let address = packet.and_then(|packet| packet.payload.get(8..24)?.try_into().ok());
    let Some((source, _)) = ends(received.packet) else {
        return;
    };
    actions.push(Action::Notice(Notice::MldRefused {
        ifindex: received.ifindex,
        source,
        mac: received.mac,
        by: RefusedBy::DataPlane,
        anycast: address.map(|octets: [u8; 16]| octets.into()),
        reason,
    }));
}

/// Source and destination address of a packet, if at least its IPv6 header is complete.
pub(super) fn ends(start: &[u8]) -> Option<(Ipv6Addr, Ipv6Addr)> {
    let source: [u8; 16] = start.get(8..24)?.try_into().ok()?;
    let destination: [u8; 16] = start.get(24..ipv6::HEADER_LEN)?.try_into().ok()?;
    Some((source.into(), destination.into()))
}
