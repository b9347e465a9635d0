//! Recorded Neighbor Discovery: Solicitations decoded, an Advertisement encoded to the same octets.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::net::Ipv6Addr;

use anycast_common::wire::Error;
use anycast_common::wire::neighbor::{ADVERTISEMENT_LEN, Advertisement, Solicitation};
use common::{B, MEMBER, ROUTER, packet, parse};

#[test]
fn solicitations() {
    let asked = |source, multicast| {
        Ok(Solicitation {
            source,
            target: B,
            multicast,
        })
    };
    let rows = [
        ("ns_multicast", asked(ROUTER, true)),
        ("ns_probe", asked(ROUTER, false)),
        ("ns_detection", asked(Ipv6Addr::UNSPECIFIED, true)),
        ("ns_detection_named", Err(Error::Destination)),
        ("ns_forwarded", Err(Error::HopLimit(254))),
        ("ns_empty_option", Err(Error::BadOption { offset: 64 })),
        ("na_anycast", Err(Error::UnexpectedType(136))),
        ("echo", Err(Error::UnexpectedType(128))),
        ("hoti", Err(Error::UnexpectedProtocol(135))),
    ];
    for (name, expected) in rows {
        let octets = packet(name);
        assert_eq!(Solicitation::parse(&parse(&octets)), expected, "{name}");
    }
}

/// RFC 4861 section 7.1.1: who asks from the unspecified address asks the solicited-node address.
#[test]
fn duplicate_address_detection_asks_the_solicited_node_address() {
    let mut octets = packet("ns_detection");
    // Another multicast address with the same checksum: two words of it change places.
    for at in 32..34 {
        octets.swap(at, at + 2);
    }
    assert_eq!(
        Solicitation::parse(&parse(&octets)),
        Err(Error::Destination)
    );
}

#[test]
fn an_advertisement_is_what_others_make() {
    let advertisement = Advertisement {
        target: B,
        mac: [2, 0, 0, 0, 0x20, 0x11],
    };
    let mut octets = [0; ADVERTISEMENT_LEN];
    let length = advertisement.emit(MEMBER, ROUTER, &mut octets).unwrap();
    assert_eq!(octets[..length], packet("na_anycast"));
    let short = advertisement.emit(MEMBER, ROUTER, &mut octets[1..]);
    assert!(matches!(short, Err(Error::BufferTooSmall { .. })));
}
