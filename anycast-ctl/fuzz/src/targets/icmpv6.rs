//! ICMPv6 errors, and the packets that they quote.

use std::net::Ipv6Addr;

use anycast_common::wire::{
    icmpv6::{
        self, HEADER_LEN, MAX_ERROR_LEN, Message, PARAMETER_PROBLEM, UNRECOGNIZED_NEXT_HEADER,
    },
    ipv6::{self, NEXT_HEADER_ICMPV6, Packet},
};

use super::{
    ipv6::{error_in_bounds, in_bounds},
    repair::repaired,
};

const SOURCE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1);
const ROOM: usize = MAX_ERROR_LEN - ipv6::HEADER_LEN - HEADER_LEN;

/// `octets` are a packet: an ICMPv6 message to read, and one to quote in an error.
pub fn icmpv6(octets: &[u8]) {
    answered(octets);
    for octets in [octets, &repaired(octets)] {
        let Ok(packet) = Packet::parse(octets) else {
            continue;
        };
        let Ok(message) = Message::parse(&packet) else {
            continue;
        };
        assert_eq!(packet.protocol, NEXT_HEADER_ICMPV6);
        assert_eq!(message.quoted, &packet.payload[HEADER_LEN..]);
        quote(message.quoted);
        again(&packet, message);
    }
}

/// A quoted packet may be cut anywhere.
fn quote(quoted: &[u8]) {
    match Packet::parse_quoted(quoted) {
        Ok(packet) => in_bounds(&packet, quoted),
        Err(error) => assert!(error_in_bounds(error, quoted), "{error:?}"),
    }
}

/// What is read can be written, and is then read the same.
fn again(packet: &Packet<'_>, message: Message<'_>) {
    let mut buffer = [0; MAX_ERROR_LEN];
    let length = icmpv6::error(
        &mut buffer,
        packet.source,
        packet.destination,
        message.message_type,
        message.code,
        message.field,
        message.quoted,
    )
    .expect("an error packet has room for its quote");
    let written = Packet::parse(&buffer[..length]).expect("a packet");
    let quoted = message.quoted.get(..ROOM).unwrap_or(message.quoted);
    let expected = Message { quoted, ..message };
    assert_eq!(Message::parse(&written), Ok(expected));
}

/// Anything can be quoted, and the quote is what was there.
fn answered(octets: &[u8]) {
    let mut buffer = [0; MAX_ERROR_LEN];
    let problem = (PARAMETER_PROBLEM, UNRECOGNIZED_NEXT_HEADER);
    let length = icmpv6::error(&mut buffer, SOURCE, SOURCE, problem.0, problem.1, 6, octets)
        .expect("an error packet has room for its quote");
    let packet = Packet::parse(&buffer[..length]).expect("a packet");
    let message = Message::parse(&packet).expect("a message");
    assert!(message.is_error());
    assert_eq!((message.message_type, message.code), problem);
    assert_eq!(message.field, 6);
    assert_eq!(message.quoted.len(), octets.len().min(ROOM));
    assert!(octets.starts_with(message.quoted));
    // What is cut off is the end: what stands before it reads the same.
    if let (Ok(full), Ok(cut)) = (
        Packet::parse_quoted(octets),
        Packet::parse_quoted(message.quoted),
    ) {
        let payload = full.payload;
        assert!(payload.starts_with(cut.payload));
        assert_eq!(Packet { payload, ..cut }, full);
    }
}
