//! Neighbor Solicitations, and their answer.

use anycast_common::wire::{
    icmpv6,
    ipv6::{self, Packet},
    neighbor::{ADVERTISEMENT, ADVERTISEMENT_LEN, Advertisement, HOP_LIMIT, Solicitation},
};

use super::{ipv6::error_in_bounds, repair::repaired};

/// `octets` are a packet.
pub fn neighbor(octets: &[u8]) {
    for octets in [octets, &repaired(octets)] {
        let Ok(packet) = Packet::parse(octets) else {
            continue;
        };
        match Solicitation::parse(&packet) {
            Ok(asked) => {
                believed(&packet, asked);
                answer(&packet, asked);
            }
            Err(error) => assert!(error_in_bounds(error, octets), "{error:?}"),
        }
    }
}

/// What a receiver relies on (RFC 4861 section 7.1.1).
fn believed(packet: &Packet<'_>, asked: Solicitation) {
    assert_eq!(packet.hop_limit, HOP_LIMIT);
    assert!(
        icmpv6::Message::parse(packet).is_ok(),
        "whole, and its checksum right"
    );
    assert_eq!(packet.payload[8..24], asked.target.octets());
    assert!(!asked.target.is_multicast());
    assert_eq!(asked.source, packet.source);
    assert_eq!(asked.multicast, packet.destination.is_multicast());
    let detection = asked.source.is_unspecified();
    assert!(!detection || packet.destination == ipv6::solicited_node(asked.target));
}

/// The answer is well formed, and no question.
fn answer(packet: &Packet<'_>, asked: Solicitation) {
    let mut buffer = [0; ADVERTISEMENT_LEN];
    let advertisement = Advertisement {
        target: asked.target,
        mac: [2, 0, 0, 0, 0, 1],
    };
    let length = advertisement
        .emit(asked.target, packet.source, &mut buffer)
        .expect("room for it");
    let answer = Packet::parse(&buffer[..length]).expect("a packet");
    let message = icmpv6::Message::parse(&answer).expect("its checksum is right");
    assert_eq!(message.message_type, ADVERTISEMENT);
    assert!(message.quoted.starts_with(&asked.target.octets()));
    assert!(Solicitation::parse(&answer).is_err());
}
