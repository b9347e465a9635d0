//! Every message survives emit and parse; nothing panics; nothing beyond Payload Length is read.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::net::Ipv6Addr;
use std::sync::LazyLock;
use std::time::Duration;

use anycast_common::wire::{checksum, icmpv6, ipv6, mld, mobility, neighbor};
use common::{FIXTURES, packets, parse};
use proptest::prelude::*;
use proptest::sample::Index;

static RECORDED: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let all = FIXTURES.iter().flat_map(|file| packets(file));
    all.map(|(_, octets)| octets).collect()
});

fn address() -> impl Strategy<Value = Ipv6Addr> {
    any::<[u8; 16]>().prop_map(Ipv6Addr::from)
}

fn link_local() -> impl Strategy<Value = Ipv6Addr> {
    any::<u64>().prop_map(|id| Ipv6Addr::from(0xfe80 << 112 | u128::from(id)))
}

fn anycastable() -> impl Strategy<Value = Ipv6Addr> {
    address().prop_filter("anycastable", |&a| ipv6::anycastable(a).is_ok())
}

fn mld_message() -> impl Strategy<Value = mld::Message> {
    let report = anycastable().prop_map(|address| mld::Message::Report { address });
    let done = anycastable().prop_map(|address| mld::Message::Done { address });
    let queried = prop_oneof![Just(Ipv6Addr::UNSPECIFIED), anycastable()];
    let v1 = any::<u16>().prop_map(|delay| (u64::from(delay), mld::Version::V1));
    // Delays and intervals below the floating-point range are exact.
    let v2 = (0u64..32_768, any::<bool>(), 0u8..8, 0u64..128).prop_map(
        |(delay, suppress, robustness, seconds)| {
            let interval = Duration::from_secs(seconds);
            let version = mld::Version::V2 {
                suppress,
                robustness,
                interval,
            };
            (delay, version)
        },
    );
    let query = (queried, prop_oneof![v1, v2]).prop_map(|(address, (delay, version))| {
        mld::Message::Query(mld::Query {
            max_response_delay: Duration::from_millis(delay),
            address,
            version,
        })
    });
    prop_oneof![report, done, query]
}

prop_compose! {
    fn update()(
        sequence: u16,
        flags: u16,
        lifetime: u16,
        alternate_care_of in prop::option::of(address()),
        nonce_indices: Option<(u16, u16)>,
        authenticator: Option<[u8; 12]>,
    ) -> mobility::BindingUpdate {
        mobility::BindingUpdate {
            sequence,
            flags: mobility::Flags(flags),
            lifetime,
            alternate_care_of,
            nonce_indices,
            authenticator,
        }
    }
}

prop_compose! {
    fn ack()(
        status: u8,
        key_management: bool,
        sequence: u16,
        lifetime: u16,
        authenticator: Option<[u8; 12]>,
        refresh_advice: Option<u16>,
    ) -> mobility::BindingAck {
        mobility::BindingAck {
            status,
            key_management,
            sequence,
            lifetime,
            authenticator,
            refresh_advice,
        }
    }
}

fn mobility_message() -> impl Strategy<Value = mobility::Message> {
    use mobility::Message;
    let test = any::<(u16, [u8; 8], [u8; 8])>();
    prop_oneof![
        Just(Message::BindingRefreshRequest),
        any::<[u8; 8]>().prop_map(|cookie| Message::HomeTestInit { cookie }),
        any::<[u8; 8]>().prop_map(|cookie| Message::CareOfTestInit { cookie }),
        test.prop_map(|(nonce_index, cookie, token)| Message::HomeTest {
            nonce_index,
            cookie,
            token
        }),
        test.prop_map(|(nonce_index, cookie, token)| Message::CareOfTest {
            nonce_index,
            cookie,
            token
        }),
        update().prop_map(Message::BindingUpdate),
        ack().prop_map(Message::BindingAck),
        (any::<u8>(), address()).prop_map(|(status, home_address)| Message::BindingError {
            status,
            home_address
        }),
        (8u8..).prop_map(|mh_type| Message::Unknown { mh_type }),
    ]
}

/// Shows octets to everything that reads octets.
fn exercise(octets: &[u8]) {
    for packet in [
        ipv6::Packet::parse(octets),
        ipv6::Packet::parse_quoted(octets),
    ] {
        let Ok(packet) = packet else { continue };
        assert!(packet.payload_offset + packet.payload.len() <= octets.len());
        assert_eq!(octets[packet.protocol_offset], packet.protocol);
        // A reader behind the checksum is reached only with a valid one, so give it one.
        let mut owned = packet.payload.to_vec();
        let field = if packet.protocol == ipv6::NEXT_HEADER_MOBILITY {
            4
        } else {
            2
        };
        if owned.len() >= field + 2 {
            owned[field..field + 2].fill(0);
            let source = packet.checksum_source().octets();
            let destination = packet.destination.octets();
            let sum = checksum::transport(&source, &destination, packet.protocol, &owned);
            owned[field..field + 2].copy_from_slice(&sum.to_ne_bytes());
        }
        let repaired = ipv6::Packet {
            payload: &owned,
            ..packet
        };
        for packet in [packet, repaired] {
            let _ = mld::Message::parse(&packet, mld::RouterAlert::Optional);
            let _ = mobility::Message::parse(&packet);
            let _ = mobility::authenticated(&packet);
            let _ = neighbor::Solicitation::parse(&packet);
            let _ = icmpv6::Message::parse(&packet).map(|message| {
                let _ = ipv6::Packet::parse_quoted(message.quoted);
            });
        }
    }
    let _ = mobility::set_authenticator(&mut octets.to_vec(), [0; 12]);
    let _ = icmpv6::error(&mut [0; 1280], common::A, common::B, 4, 0, 0, octets);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn mld_round_trip(message in mld_message(), source in link_local()) {
        let mut buffer = [0; mld::V2_PACKET_LEN];
        let length = message.emit(source, ipv6::ALL_ROUTERS, &mut buffer).unwrap();
        let packet = parse(&buffer[..length]);
        prop_assert_eq!(packet.router_alert, Some(0));
        let parsed = mld::Message::parse(&packet, mld::RouterAlert::Required);
        prop_assert_eq!(parsed, Ok(message));
    }

    #[test]
    fn mobility_round_trip(
        message in mobility_message(),
        source in address(),
        destination in address(),
        mac: [u8; 12],
    ) {
        let mut buffer = [0; mobility::MAX_PACKET_LEN];
        let length = message.emit(source, destination, &mut buffer).unwrap();
        prop_assert_eq!(length % 8, 0);
        let octets = &mut buffer[..length];
        prop_assert_eq!(mobility::Message::parse(&parse(octets)), Ok(message));

        if mobility::set_authenticator(octets, mac).is_ok() {
            let packet = parse(octets);
            let split = mobility::authenticated(&packet).unwrap();
            prop_assert_eq!(split.authenticator, mac);
            let mut data = packet.payload[..length - 52].to_vec();
            data[4..6].fill(0);
            prop_assert_eq!(split.chunks.concat(), data);
        }
    }

    #[test]
    fn icmpv6_round_trip(
        (message_type, code, field) in any::<(u8, u8, u32)>(),
        source in address(),
        destination in address(),
        invoking in prop::collection::vec(any::<u8>(), 0..1500),
    ) {
        let mut buffer = [0; icmpv6::MAX_ERROR_LEN];
        let length = icmpv6::error(
            &mut buffer, source, destination, message_type, code, field, &invoking,
        ).unwrap();
        let expected = icmpv6::Message {
            message_type,
            code,
            field,
            quoted: &invoking[..invoking.len().min(1232)],
        };
        prop_assert_eq!(icmpv6::Message::parse(&parse(&buffer[..length])), Ok(expected));
    }

    #[test]
    fn arbitrary_octets(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        exercise(&octets);
    }

    /// Random payloads behind a header that leads somewhere.
    #[test]
    fn arbitrary_chains(
        next in prop::sample::select(&[0u8, 43, 44, 51, 58, 60, 135][..]),
        payload in prop::collection::vec(
            prop_oneof![any::<u8>(), 0u8..8, Just(60), Just(135), Just(58), Just(201)],
            0..160,
        ),
    ) {
        let mut octets = vec![0; 40];
        ipv6::header(&mut octets, common::A, common::B, next, 1, payload.len()).unwrap();
        octets.extend(payload);
        exercise(&octets);
    }

    #[test]
    fn mutated_packets(
        pick: Index,
        mutations in prop::collection::vec((any::<Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<Index>()),
    ) {
        let mut octets = pick.get(&RECORDED).clone();
        for (at, value) in mutations {
            *at.get_mut(&mut octets) = value;
        }
        if let Some(cut) = cut {
            octets.truncate(cut.index(octets.len()));
        }
        exercise(&octets);
    }

    /// What follows the packet in the frame changes nothing.
    #[test]
    fn link_padding_is_not_read(pick: Index, padding in prop::collection::vec(any::<u8>(), 1..32)) {
        let octets = pick.get(&RECORDED);
        let padded = [&octets[..], &padding[..]].concat();
        let (plain, padded) = (ipv6::Packet::parse(octets), ipv6::Packet::parse(&padded));
        prop_assert_eq!(plain, padded);
        if let (Ok(plain), Ok(padded)) = (plain, padded) {
            let strict = mld::RouterAlert::Required;
            prop_assert_eq!(mld::Message::parse(&plain, strict), mld::Message::parse(&padded, strict));
            prop_assert_eq!(mobility::Message::parse(&plain), mobility::Message::parse(&padded));
        }
    }
}
