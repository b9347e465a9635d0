//! Recorded Multicast Router Discovery: announcements encoded to the same octets, Solicitations judged.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use anycast_common::wire::Error;
use anycast_common::wire::discovery::{
    ADVERTISEMENT_LEN, Announcement, TERMINATION_LEN, solicitation,
};
use common::{ROUTER, packet, parse};

#[test]
fn announcements_are_what_others_make() {
    let advertisement = Announcement::Advertisement {
        interval: 20,
        query_interval: 125,
        robustness: 2,
    };
    for (name, announcement, expected) in [
        ("mrd_advertisement", advertisement, ADVERTISEMENT_LEN),
        (
            "mrd_termination",
            Announcement::Termination,
            TERMINATION_LEN,
        ),
    ] {
        let mut octets = [0xee; 100];
        let length = announcement.emit(ROUTER, &mut octets).unwrap();
        assert_eq!(length, expected, "{name}");
        assert_eq!(octets[..length], packet(name), "{name}");
        assert!(octets[length..].iter().all(|&octet| octet == 0xee));
        let short = announcement.emit(ROUTER, &mut octets[..length - 1]);
        assert_eq!(short, Err(Error::BufferTooSmall { needed: length }));
    }
}

#[test]
fn solicitations() {
    for (name, expected) in [
        ("mrd_solicitation", Ok(())),
        (
            "mrd_solicitation_global_source",
            Err(Error::SourceNotLinkLocal),
        ),
        ("mrd_solicitation_hop_limit_2", Err(Error::HopLimit(2))),
        ("mrd_solicitation_all_nodes", Err(Error::Destination)),
        ("mrd_solicitation_bad_checksum", Err(Error::BadChecksum)),
        ("mrd_advertisement", Err(Error::UnexpectedType(151))),
        ("report", Err(Error::UnexpectedType(131))),
        ("hoti", Err(Error::UnexpectedProtocol(135))),
    ] {
        assert_eq!(solicitation(&parse(&packet(name))), expected, "{name}");
    }
}
