//! Worked examples of RFC 1071 and RFC 1624, recorded packets, and the incremental update against
//! recomputation.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use anycast_common::wire::checksum::{Sum, apply, delta, pseudo_header, transport, udp, verify};
use anycast_common::wire::ipv6::{NEXT_HEADER_TCP, NEXT_HEADER_UDP};
use common::{A, B, C, packet, parse};
use proptest::prelude::*;

/// A number of a worked example as the crate keeps it, in memory order.
fn memory(number: u16) -> u16 {
    number.to_be()
}

#[test]
fn rfc_1071_section_3_example() {
    let octets = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(Sum::new().include(&octets).fold(), memory(0xddf2));
    let chunked = Sum::new().include(&octets[..3]).include(&octets[3..4]);
    let chunked = chunked.include(&[]).include(&octets[4..7]);
    assert_eq!(chunked.include(&octets[7..]).fold(), memory(0xddf2));
}

/// `m = 0x5555` becomes `m' = 0x3285` where the rest sums to 0xCD7A. Equation 2 of the superseded
/// RFC 1141 would give 0xffff.
#[test]
fn rfc_1624_section_4_example() {
    let (mut old, mut new) = ([0; 16], [0; 16]);
    old[6..8].copy_from_slice(&[0x55, 0x55]);
    new[6..8].copy_from_slice(&[0x32, 0x85]);
    assert_eq!(apply(memory(0xdd2f), delta(&old, &new)), 0);
}

#[test]
fn recorded_transport_checksums() {
    for (name, protocol, field) in [
        ("tcp", NEXT_HEADER_TCP, 16),
        ("udp", NEXT_HEADER_UDP, 6),
        ("ah", NEXT_HEADER_UDP, 6),
    ] {
        let octets = packet(name);
        let packet = parse(&octets);
        let (source, destination) = (packet.source.octets(), packet.destination.octets());
        assert!(verify(&source, &destination, protocol, packet.payload));

        let mut zeroed = packet.payload.to_vec();
        zeroed[field..field + 2].fill(0);
        assert!(!verify(&source, &destination, protocol, &zeroed));
        let sum = transport(&source, &destination, protocol, &zeroed);
        assert_eq!(sum.to_ne_bytes(), packet.payload[field..field + 2]);
    }
}

#[test]
fn udp_zero_becomes_all_ones() {
    assert_eq!(udp(0), 0xffff);
    assert_eq!(udp(0xffff), 0xffff);
    assert_eq!(udp(0x1234), 0x1234);
}

/// A payload whose checksum is exactly zero: incremental and full agree on 0x0000, and UDP sends
/// 0xffff, from which the way back works too.
#[test]
fn through_zero() {
    let (a, b, c) = (A.octets(), B.octets(), C.octets());
    let mut payload = [0u8; 16];
    let bend = transport(&a, &c, NEXT_HEADER_UDP, &payload);
    payload[..2].copy_from_slice(&bend.to_ne_bytes());
    assert_eq!(transport(&a, &c, NEXT_HEADER_UDP, &payload), 0);

    let before = transport(&a, &b, NEXT_HEADER_UDP, &payload);
    let after = apply(before, delta(&b, &c));
    assert_eq!(after, 0);
    assert_eq!(apply(udp(after), delta(&c, &b)), before);
}

/// Addresses whose words are often the two zeros of ones' complement.
fn address() -> impl Strategy<Value = [u8; 16]> {
    let word = prop_oneof![Just([0, 0]), Just([0xff, 0xff]), any::<[u8; 2]>()];
    prop::array::uniform8(word).prop_map(|words| words.concat().try_into().unwrap())
}

proptest! {
    #[test]
    fn incremental_is_recomputation(
        old in address(),
        new in address(),
        peer in address(),
        mut payload in prop::collection::vec(any::<u8>(), 2..80),
        protocol in any::<u8>(),
        zero in any::<bool>(),
    ) {
        if zero {
            // Bend the payload so that the new checksum is zero.
            payload[..2].fill(0);
            let bend = transport(&peer, &new, protocol, &payload).to_ne_bytes();
            payload[..2].copy_from_slice(&bend);
        }
        let full = |address| transport(&peer, address, protocol, &payload);
        prop_assert_eq!(apply(full(&old), delta(&old, &new)), full(&new));
        prop_assert_eq!(
            udp(apply(udp(full(&old)), delta(&old, &new))),
            udp(full(&new))
        );
    }

    #[test]
    fn chunks_do_not_matter(octets: Vec<u8>, cuts in prop::collection::vec(0usize..64, 0..6)) {
        let mut sum = Sum::new();
        let mut rest = &octets[..];
        for cut in cuts {
            let (chunk, tail) = rest.split_at(cut.min(rest.len()));
            sum = sum.include(chunk);
            rest = tail;
        }
        prop_assert_eq!(sum.include(rest).fold(), Sum::new().include(&octets).fold());
    }

    #[test]
    fn pseudo_header_is_its_octets(src: [u8; 16], dst: [u8; 16], length: u32, next: u8) {
        let mut octets = [src, dst].concat();
        octets.extend(length.to_be_bytes());
        octets.extend([0, 0, 0, next]);
        let sum = pseudo_header(&src, &dst, length, next);
        prop_assert_eq!(sum.fold(), Sum::new().include(&octets).fold());
    }
}
