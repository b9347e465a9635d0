//! Queries, Reports and Dones.

use anycast_common::wire::{
    discovery, icmpv6,
    ipv6::{self, Packet},
    mld::{ALERT_VALUE, Message, PACKET_LEN, Query, RouterAlert, V2_PACKET_LEN, Version},
};

use super::{ipv6::error_in_bounds, repair::repaired};

/// `octets` are a packet.
pub fn mld(octets: &[u8]) {
    for octets in [octets, &repaired(octets)] {
        let Ok(packet) = Packet::parse(octets) else {
            continue;
        };
        if discovery::solicitation(&packet).is_ok() {
            on_this_link(&packet);
        }
        let lenient = Message::parse(&packet, RouterAlert::Optional);
        if packet.router_alert == Some(ALERT_VALUE) {
            assert_eq!(Message::parse(&packet, RouterAlert::Required), lenient);
        } else {
            let strict = Message::parse(&packet, RouterAlert::Required);
            assert!(strict.is_err(), "there is no Router Alert of MLD");
        }
        match lenient {
            Ok(message) => {
                believed(&packet, message);
                again(&packet, message);
            }
            Err(error) => assert!(error_in_bounds(error, octets), "{error:?}"),
        }
    }
}

/// What a receiver relies on, of a Multicast Router Solicitation as well.
fn on_this_link(packet: &Packet<'_>) {
    assert!(ipv6::is_link_local(packet.source));
    assert_eq!(packet.hop_limit, 1);
    assert!(!packet.is_piece());
}

/// What a receiver relies on.
fn believed(packet: &Packet<'_>, message: Message) {
    on_this_link(packet);
    assert!(icmpv6::Message::parse(packet).is_ok(), "the checksum");
    match message {
        Message::Report { address } | Message::Done { address } => {
            assert_eq!(ipv6::anycastable(address), Ok(()));
            assert_eq!(packet.destination, ipv6::ALL_ROUTERS);
        }
        Message::Query(Query { version, .. }) => match version {
            Version::V1 => assert_eq!(packet.payload.len(), 24),
            Version::V2 { robustness, .. } => {
                assert!(packet.payload.len() >= 28);
                assert!(robustness < 8);
            }
        },
    }
}

/// Everything that can be read can be written: delays, intervals and flags included.
fn again(packet: &Packet<'_>, message: Message) {
    let mut buffer = [0; V2_PACKET_LEN];
    let length = message
        .emit(packet.source, packet.destination, &mut buffer)
        .expect("room for it");
    assert!(matches!(length, PACKET_LEN | V2_PACKET_LEN));
    let written = Packet::parse(&buffer[..length]).expect("a packet");
    assert_eq!(written.router_alert, Some(0));
    let read = Message::parse(&written, RouterAlert::Required);
    assert_eq!(read, Ok(message));
    for short in [0, PACKET_LEN - 1, length - 1] {
        let refused = message.emit(packet.source, packet.destination, &mut buffer[..short]);
        assert!(refused.is_err(), "{length} octets in {short}");
    }
}
