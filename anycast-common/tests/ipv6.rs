//! Recorded packets through the extension header walk, and the kinds of addresses.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::net::Ipv6Addr;

use anycast_common::wire::ipv6::{self, Fragment, Packet};
use anycast_common::wire::{AddressKind, Error};
use common::{A, B, C, packet, parse};

fn refusal(name: &str) -> Error {
    Packet::parse(&packet(name)).unwrap_err()
}

#[test]
fn no_extensions() {
    let octets = packet("tcp");
    let expected = Packet {
        source: A,
        destination: B,
        hop_limit: 63,
        protocol: ipv6::NEXT_HEADER_TCP,
        payload: &octets[40..],
        payload_offset: 40,
        protocol_offset: 6,
        router_alert: None,
        fragment: None,
        home_address: None,
        routing_type: None,
    };
    assert_eq!(parse(&octets), expected);
    let mut header = [0; 40];
    ipv6::header(&mut header, A, B, ipv6::NEXT_HEADER_TCP, 63, 20).unwrap();
    assert_eq!(header, octets[..40]);
}

#[test]
fn every_extension() {
    let octets = packet("chain");
    let packet = parse(&octets);
    // 8 each for Hop-by-Hop, padding, Routing and Fragment; 24 for the Home Address.
    assert_eq!(packet.payload_offset, 40 + 4 * 8 + 24);
    assert_eq!(packet.protocol_offset, 40 + 4 * 8);
    assert_eq!(octets[packet.protocol_offset], packet.protocol);
    assert_eq!(packet.protocol, ipv6::NEXT_HEADER_TCP);
    assert_eq!(packet.payload.len(), 20);
    assert_eq!(packet.router_alert, Some(0));
    assert_eq!(packet.routing_type, Some(0));
    assert_eq!(packet.home_address, Some(C));
    assert_eq!((packet.source, packet.checksum_source()), (A, C));
    let fragment = packet.fragment.unwrap();
    assert_eq!(fragment.identification, 0xdead_beef);
    assert!(fragment.is_atomic() && !packet.is_piece());
}

#[test]
fn where_the_walk_ends() {
    for (name, protocol, offset, length) in [
        ("ah", ipv6::NEXT_HEADER_UDP, 64, 11),
        ("first_fragment", ipv6::NEXT_HEADER_TCP, 48, 16),
        ("later_fragment", ipv6::NEXT_HEADER_DEST_OPTIONS, 48, 16),
        ("no_next", ipv6::NEXT_HEADER_NO_NEXT, 48, 0),
        ("esp", ipv6::NEXT_HEADER_ESP, 48, 16),
        ("six_extensions", ipv6::NEXT_HEADER_UDP, 40 + 48, 11),
        ("unknown_skipped", ipv6::NEXT_HEADER_UDP, 48, 11),
    ] {
        let octets = packet(name);
        let packet = parse(&octets);
        assert_eq!(packet.protocol, protocol, "{name}");
        assert_eq!(packet.payload_offset, offset, "{name}");
        assert_eq!(packet.payload, &octets[offset..], "{name}");
        assert_eq!(packet.payload.len(), length, "{name}");
    }
}

#[test]
fn fragments() {
    let octets = packet("later_fragment");
    let later = Fragment {
        offset: 1480,
        more: false,
        identification: 7,
    };
    assert_eq!(parse(&octets).fragment, Some(later));
    assert!(parse(&octets).is_piece());
    assert!(parse(&packet("first_fragment")).is_piece());
    assert_eq!(
        refusal("two_fragment_headers"),
        Error::DuplicateFragment { offset: 48 }
    );
}

#[test]
fn refusals() {
    assert_eq!(refusal("seven_extensions"), Error::ChainTooLong);
    assert_eq!(
        refusal("hop_by_hop_late"),
        Error::HopByHopOutOfPlace { offset: 40 }
    );
    assert_eq!(
        refusal("alert_twice"),
        Error::DuplicateOption { offset: 46 }
    );
    assert_eq!(refusal("option_overrun"), Error::BadOption { offset: 42 });
    assert_eq!(
        refusal("extension_overrun"),
        Error::ExtensionLength { offset: 40 }
    );
    let unknown = Error::UnrecognizedOption {
        offset: 42,
        option: 0xde,
    };
    assert_eq!(refusal("unknown_refused"), unknown);
}

/// RFC 8200 section 4.2: the upper two bits of an unknown option say whether it may be skipped, and only 00 says so.
#[test]
fn unknown_options_are_skipped_only_where_their_type_says_so() {
    for (upper_bits, skipped) in [(0_u8, true), (1, false), (2, false), (3, false)] {
        let mut octets = packet("unknown_refused");
        octets[42] = upper_bits << 6 | 0x1e;
        assert_eq!(Packet::parse(&octets).is_ok(), skipped, "{upper_bits:02b}");
    }
}

#[test]
fn lengths() {
    let mut octets = packet("udp");
    let whole = octets.len();
    assert_eq!(
        Packet::parse(&octets[..whole - 1]),
        Err(Error::LengthMismatch {
            claimed: 11,
            available: 10
        })
    );
    assert_eq!(Packet::parse(&octets[..39]), Err(Error::Truncated));
    assert_eq!(Packet::parse(&[]), Err(Error::Truncated));
    // Link padding.
    octets.extend([0xaa; 9]);
    assert_eq!(parse(&octets).payload, &octets[40..whole]);
    octets[0] = 0x45;
    assert_eq!(Packet::parse(&octets), Err(Error::BadVersion(4)));
}

/// What an ICMPv6 error quotes may be cut anywhere behind the chain.
#[test]
fn quoted_packets_may_be_cut() {
    let octets = packet("chain");
    let cut = Packet::parse_quoted(&octets[..97]).unwrap();
    assert_eq!(cut.protocol, ipv6::NEXT_HEADER_TCP);
    assert_eq!(cut.payload, &octets[96..97]);
    assert_eq!(
        Packet::parse_quoted(&octets[..95]),
        Err(Error::ExtensionLength { offset: 72 })
    );
}

#[test]
fn header_needs_room_and_a_length_that_fits() {
    let write = |room: usize, length| ipv6::header(&mut vec![0; room], A, B, 6, 64, length);
    assert_eq!(write(39, 20), Err(Error::BufferTooSmall { needed: 40 }));
    assert_eq!(write(40, 65_536), Err(Error::PayloadTooLong(65_536)));
    assert_eq!(write(40, 65_535), Ok(()));
}

fn address(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

#[test]
fn what_can_be_anycast() {
    for (text, kind) in [
        ("::", AddressKind::Unspecified),
        ("::1", AddressKind::Loopback),
        ("ff02::1", AddressKind::Multicast),
        ("fe80::1", AddressKind::LinkLocal),
        ("febf::1", AddressKind::LinkLocal),
        ("::ffff:192.0.2.1", AddressKind::V4Mapped),
    ] {
        let refused = Err(Error::NotAnycast(kind));
        assert_eq!(ipv6::anycastable(address(text)), refused, "{text}");
        assert!(!ipv6::is_routable_unicast(address(text)), "{text}");
    }
    for text in ["2001:db8::1", "fd00::1", "fec0::1", "64:ff9b::192.0.2.1"] {
        assert_eq!(ipv6::anycastable(address(text)), Ok(()), "{text}");
        assert!(ipv6::is_routable_unicast(address(text)), "{text}");
    }
    // Deprecated IPv4-compatible.
    assert!(!ipv6::is_routable_unicast(address("::192.0.2.1")));
}

/// The example of RFC 4291 section 2.7.1.
#[test]
fn solicited_node() {
    let group = ipv6::solicited_node(address("4037::01:800:200E:8C6C"));
    assert_eq!(group, address("FF02::1:FF0E:8C6C"));
}
