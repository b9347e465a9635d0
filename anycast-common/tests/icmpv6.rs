//! Recorded ICMPv6 packets: decoded, and encoded to the same octets.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use anycast_common::wire::icmpv6::{self, Message};
use anycast_common::wire::{Error, ipv6};
use common::{A, B, GATEWAY, packet, parse};

#[test]
fn errors_both_ways() {
    let hoti = packet("hoti");
    let big = packet("unreachable")[48..].to_vec();
    assert_eq!(big.len(), 1232);
    for (name, source, message_type, code, field, quoted) in [
        ("next_header", A, icmpv6::PARAMETER_PROBLEM, 1, 6, &hoti),
        (
            "unreachable",
            GATEWAY,
            icmpv6::DESTINATION_UNREACHABLE,
            3,
            0,
            &big,
        ),
        ("too_big", GATEWAY, icmpv6::PACKET_TOO_BIG, 0, 1300, &big),
    ] {
        let octets = packet(name);
        let expected = Message {
            message_type,
            code,
            field,
            quoted,
        };
        let message = Message::parse(&parse(&octets)).unwrap();
        assert_eq!(message, expected, "{name}");
        assert!(message.is_error());

        // What does not fit into the minimum MTU is left out.
        let invoking = [&quoted[..], &[0xee; 100]].concat();
        let invoking = if quoted.len() == 1232 {
            &invoking
        } else {
            quoted
        };
        let mut buffer = [0; icmpv6::MAX_ERROR_LEN];
        let length = icmpv6::error(&mut buffer, source, B, message_type, code, field, invoking);
        assert_eq!(buffer[..length.unwrap()], octets, "{name}");
    }
}

#[test]
fn the_quoted_packet_can_be_read() {
    let octets = packet("next_header");
    let message = Message::parse(&parse(&octets)).unwrap();
    let quoted = ipv6::Packet::parse_quoted(message.quoted).unwrap();
    assert_eq!((quoted.source, quoted.destination), (B, A));
    assert_eq!(quoted.protocol, ipv6::NEXT_HEADER_MOBILITY);
    assert_eq!(
        u32::try_from(quoted.protocol_offset).unwrap(),
        message.field
    );
}

#[test]
fn refusals() {
    let refusal = |name| Message::parse(&parse(&packet(name))).unwrap_err();
    assert_eq!(refusal("bad_checksum"), Error::BadChecksum);
    assert_eq!(refusal("udp"), Error::UnexpectedProtocol(17));
    let short = icmpv6::error(&mut [0; 87], A, B, 4, 1, 6, &[0; 40]);
    assert_eq!(short, Err(Error::BufferTooSmall { needed: 88 }));
}

/// RFC 4443 section 2.1: the high bit of the type is zero in errors only.
#[test]
fn an_echo_is_no_error() {
    let octets = packet("echo");
    let message = Message::parse(&parse(&octets)).unwrap();
    assert_eq!(message.message_type, icmpv6::ECHO_REQUEST);
    assert!(!message.is_error());
}
