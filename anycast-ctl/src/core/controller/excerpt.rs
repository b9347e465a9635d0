//! What can be read of the start of a packet, which may be anything.

use std::net::Ipv6Addr;

use anycast_common::wire::ipv6::{self, Packet};

use crate::core::{Action, Actions, Notice, Received, notice::RefusedBy};

/// Tells of a Report or Done that the data plane refused. It may be anything, and it may be cut short.
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

/// Source and destination of a packet of which at least the IPv6 header is there.
pub(super) fn ends(start: &[u8]) -> Option<(Ipv6Addr, Ipv6Addr)> {
    let source: [u8; 16] = start.get(8..24)?.try_into().ok()?;
    let destination: [u8; 16] = start.get(24..ipv6::HEADER_LEN)?.try_into().ok()?;
    Some((source.into(), destination.into()))
}
