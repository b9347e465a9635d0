//! Recorded MLD packets: decoded, encoded to the same octets, refused for the right reason.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::net::Ipv6Addr;
use std::time::Duration;

use anycast_common::wire::ipv6::{ALL_NODES, ALL_ROUTERS, solicited_node};
use anycast_common::wire::mld::{self, Message, Query, RouterAlert, Version};
use anycast_common::wire::{AddressKind, Error};
use common::{B, GROUP, MEMBER, ROUTER, packet, parse};

fn read(name: &str) -> Result<Message, Error> {
    Message::parse(&parse(&packet(name)), RouterAlert::Required)
}

fn query(millis: u64, address: Ipv6Addr, version: Version) -> Message {
    Message::Query(Query {
        max_response_delay: Duration::from_millis(millis),
        address,
        version,
    })
}

const fn v2(suppress: bool, robustness: u8, seconds: u64) -> Version {
    Version::V2 {
        suppress,
        robustness,
        interval: Duration::from_secs(seconds),
    }
}

#[test]
fn both_ways() {
    let general = Ipv6Addr::UNSPECIFIED;
    let report = Message::Report { address: B };
    let done = Message::Done { address: B };
    for (name, source, destination, message) in [
        ("report", MEMBER, ALL_ROUTERS, report),
        ("done", MEMBER, ALL_ROUTERS, done),
        (
            "query_general",
            ROUTER,
            ALL_NODES,
            query(10_000, general, Version::V1),
        ),
        (
            "query_specific",
            ROUTER,
            solicited_node(B),
            query(0, B, Version::V1),
        ),
        (
            "query_group",
            ROUTER,
            GROUP,
            query(1000, GROUP, Version::V1),
        ),
        (
            "query_v2_general",
            ROUTER,
            ALL_NODES,
            query(10_000, general, v2(false, 2, 125)),
        ),
        (
            "query_v2_float",
            ROUTER,
            ALL_NODES,
            query(54_752, general, v2(true, 7, 448)),
        ),
        (
            "query_v2_longest",
            ROUTER,
            ALL_NODES,
            query(8_387_584, general, v2(false, 0, 31_744)),
        ),
    ] {
        assert_eq!(read(name), Ok(message), "{name}");
        let octets = packet(name);
        let mut buffer = [0xee; 100];
        let length = message.emit(source, destination, &mut buffer).unwrap();
        assert_eq!(buffer[..length], octets, "{name}");
        assert!(buffer[length..].iter().all(|&octet| octet == 0xee));
    }
    assert_eq!(packet("report").len(), mld::PACKET_LEN);
    assert_eq!(packet("query_v2_general").len(), mld::V2_PACKET_LEN);
}

#[test]
fn accepted_though_not_as_we_write_it() {
    let report = Ok(Message::Report { address: B });
    assert_eq!(read("report_trailing"), report);
    assert_eq!(
        read("query_v2_sources"),
        Ok(query(1000, GROUP, v2(false, 2, 125)))
    );
}

#[test]
fn refusals() {
    use AddressKind::{LinkLocal, Loopback, Unspecified, V4Mapped};
    for (name, reason) in [
        ("report_multicast", Error::Multicast),
        ("done_multicast", Error::Multicast),
        ("report_multicast_unspecified_source", Error::Multicast),
        ("report_global_source", Error::SourceNotLinkLocal),
        ("query_unspecified_source", Error::SourceNotLinkLocal),
        ("report_hop_limit_2", Error::HopLimit(2)),
        ("report_no_alert", Error::RouterAlertMissing),
        ("report_alert_1", Error::RouterAlertMissing),
        ("report_all_nodes", Error::Destination),
        ("report_bad_checksum", Error::BadChecksum),
        ("report_unspecified", Error::NotAnycast(Unspecified)),
        ("report_loopback", Error::NotAnycast(Loopback)),
        ("report_link_local", Error::NotAnycast(LinkLocal)),
        ("report_v4_mapped", Error::NotAnycast(V4Mapped)),
        (
            "query_v2_sources_cut",
            Error::LengthMismatch {
                claimed: 48,
                available: 32,
            },
        ),
        ("query_26_octets", Error::BadLength(26)),
        ("report_v2", Error::UnexpectedType(143)),
        ("echo", Error::UnexpectedType(128)),
        ("hoti", Error::UnexpectedProtocol(135)),
    ] {
        assert_eq!(read(name), Err(reason), "{name}");
    }
}

#[test]
fn router_alert_can_be_waived() {
    for name in ["report_no_alert", "report_alert_1"] {
        let octets = packet(name);
        let message = Message::parse(&parse(&octets), RouterAlert::Optional);
        assert_eq!(message, Ok(Message::Report { address: B }), "{name}");
    }
}

#[test]
fn short_message() {
    let mut octets = packet("report");
    octets.truncate(71);
    octets[5] = 31;
    let message = Message::parse(&parse(&octets), RouterAlert::Required);
    assert_eq!(message, Err(Error::Truncated));
}

/// Values that no code expresses are rounded down, never up: a listener must not answer late.
#[test]
fn codes_round_down_and_saturate() {
    let through = |delay: u64, seconds: u64, version: fn(u64) -> Version| {
        let mut buffer = [0; 76];
        let message = query(delay, Ipv6Addr::UNSPECIFIED, version(seconds));
        let length = message.emit(ROUTER, ALL_NODES, &mut buffer).unwrap();
        let packet = parse(&buffer[..length]);
        let Ok(Message::Query(query)) = Message::parse(&packet, RouterAlert::Required) else {
            panic!("not a query");
        };
        let interval = match query.version {
            Version::V1 => 0,
            Version::V2 { interval, .. } => interval.as_secs(),
        };
        (query.max_response_delay.as_millis(), interval)
    };
    let second: fn(u64) -> Version = |seconds| v2(false, 2, seconds);
    assert_eq!(through(32_767, 127, second), (32_767, 127));
    assert_eq!(through(32_768, 128, second), (32_768, 128));
    assert_eq!(through(32_775, 135, second), (32_768, 128));
    assert_eq!(through(32_776, 136, second), (32_776, 136));
    // The highest exponent has all its mantissas.
    assert_eq!(through(4_194_304, 16_384, second), (4_194_304, 16_384));
    assert_eq!(through(u64::MAX, u64::MAX, second), (8_387_584, 31_744));
    assert_eq!(through(70_000, 0, |_| Version::V1), (65_535, 0));
}

#[test]
fn small_buffers() {
    let message = Message::Report { address: B };
    for room in 0..72 {
        let result = message.emit(MEMBER, ALL_ROUTERS, &mut vec![0; room]);
        assert_eq!(result, Err(Error::BufferTooSmall { needed: 72 }));
    }
}
