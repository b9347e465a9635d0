//! Recorded mobility packets: decoded, encoded to the same octets, refused for the right reason.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::net::Ipv6Addr;

use anycast_common::wire::Error;
use anycast_common::wire::mobility::{
    BindingAck, BindingUpdate, Flags, Message, authenticated, error_status, set_authenticator,
    status,
};
use common::{A, B, C, packet, parse};
use hmac::{Hmac, KeyInit, Mac};
use sha1::{Digest, Sha1};

const COOKIE: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
const TOKEN: [u8; 8] = [0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8];

fn read(name: &str) -> Result<Message, Error> {
    Message::parse(&parse(&packet(name)))
}

/// First 96 bits of HMAC-SHA1 over care-of address, correspondent and what `authenticated` gives.
fn mac(name: &str, care_of: Ipv6Addr, correspondent: Ipv6Addr) -> [u8; 12] {
    let octets = packet(name);
    let key = Sha1::digest(b"home keygencare-of keygen");
    let mut mac = Hmac::<Sha1>::new_from_slice(&key).unwrap();
    mac.update(&care_of.octets());
    mac.update(&correspondent.octets());
    for chunk in authenticated(&parse(&octets)).unwrap().chunks {
        mac.update(chunk);
    }
    mac.finalize().into_bytes()[..12].try_into().unwrap()
}

fn test(nonce_index: u16) -> (u16, [u8; 8], [u8; 8]) {
    (nonce_index, COOKIE, TOKEN)
}

/// Every message, and who sends it to whom.
fn messages() -> Vec<(&'static str, Ipv6Addr, Ipv6Addr, Message)> {
    let (nonce_index, cookie, token) = test(7);
    let update = BindingUpdate {
        sequence: 0x1234,
        flags: Flags::ACKNOWLEDGE | Flags::EQUIVALENT,
        lifetime: 1,
        alternate_care_of: Some(C),
        nonce_indices: Some((7, 0xfffe)),
        authenticator: Some(mac("bu", C, A)),
    };
    let delete = BindingUpdate {
        sequence: 0x1235,
        lifetime: 0,
        alternate_care_of: None,
        nonce_indices: Some((7, 0)),
        authenticator: Some(mac("bu_delete", B, A)),
        ..update
    };
    let bare = BindingUpdate {
        sequence: 0xffff,
        flags: Flags::EQUIVALENT,
        lifetime: 1,
        ..BindingUpdate::default()
    };
    let every_flag = BindingUpdate {
        sequence: 1,
        flags: Flags(0xffff),
        lifetime: 0xffff,
        ..BindingUpdate::default()
    };
    let accepted = BindingAck {
        status: status::ACCEPTED,
        sequence: 0x1234,
        lifetime: 1,
        authenticator: Some(mac("ba_accepted", C, A)),
        ..BindingAck::default()
    };
    let out_of_window = BindingAck {
        status: status::SEQUENCE_OUT_OF_WINDOW,
        sequence: 0x1240,
        ..BindingAck::default()
    };
    let advice = BindingAck {
        sequence: 1,
        key_management: true,
        refresh_advice: Some(3),
        authenticator: Some(mac("ba_advice", C, A)),
        ..accepted
    };
    let hot = Message::HomeTest {
        nonce_index,
        cookie,
        token,
    };
    let cot = Message::CareOfTest {
        nonce_index: 0xfffe,
        cookie,
        token,
    };
    let unrecognized = Message::BindingError {
        status: error_status::UNRECOGNIZED_MH_TYPE,
        home_address: Ipv6Addr::UNSPECIFIED,
    };
    let unknown_binding = Message::BindingError {
        status: error_status::UNKNOWN_BINDING,
        home_address: B,
    };
    vec![
        ("brr", A, B, Message::BindingRefreshRequest),
        ("hoti", B, A, Message::HomeTestInit { cookie }),
        ("coti", C, A, Message::CareOfTestInit { cookie }),
        ("hot", A, B, hot),
        ("cot", A, C, cot),
        ("bu", B, A, Message::BindingUpdate(update)),
        ("bu_delete", B, A, Message::BindingUpdate(delete)),
        ("bu_bare", B, A, Message::BindingUpdate(bare)),
        ("bu_every_flag", B, A, Message::BindingUpdate(every_flag)),
        ("ba_accepted", A, B, Message::BindingAck(accepted)),
        ("ba_out_of_window", A, B, Message::BindingAck(out_of_window)),
        ("ba_advice", A, B, Message::BindingAck(advice)),
        ("be_unrecognized", A, B, unrecognized),
        ("be_unknown_binding", A, C, unknown_binding),
        ("unknown_type", A, B, Message::Unknown { mh_type: 99 }),
    ]
}

/// The authenticators too: Python computed the recorded ones, [`mac`] the expected ones.
#[test]
fn both_ways() {
    for (name, source, destination, message) in messages() {
        assert_eq!(read(name), Ok(message), "{name}");
        let octets = packet(name);
        let mut buffer = [0xee; 100];
        let length = message.emit(source, destination, &mut buffer).unwrap();
        assert_eq!(buffer[..length], octets, "{name}");
        assert!(buffer[length..].iter().all(|&octet| octet == 0xee));
    }
}

#[test]
fn small_buffers() {
    for (name, source, destination, message) in messages() {
        let needed = packet(name).len();
        for room in 0..needed {
            let result = message.emit(source, destination, &mut vec![0; room]);
            assert_eq!(result, Err(Error::BufferTooSmall { needed }), "{name}");
        }
    }
}

fn read_update(name: &str) -> BindingUpdate {
    match read(name) {
        Ok(Message::BindingUpdate(update)) => update,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn accepted_though_not_as_we_write_it() {
    let update = read_update("bu_nonces_first");
    assert_eq!(update.alternate_care_of, Some(C));
    assert_eq!(update.nonce_indices, Some((1, 2)));
    assert_eq!(update.authenticator.unwrap()[11], 5);

    let update = read_update("bu_unknown_option");
    assert_eq!(update.alternate_care_of, Some(C));

    let update = read_update("bu_unaligned");
    assert_eq!(update.alternate_care_of, Some(C));
    assert_eq!(update.nonce_indices, Some((1, 2)));

    // The checksum covers the home address in place of the source.
    let octets = packet("bu_home_address");
    let home = parse(&octets);
    assert_eq!((home.source, home.checksum_source()), (C, B));
    assert_eq!(read_update("bu_home_address").nonce_indices, Some((1, 2)));

    // A type 5 option means nothing in a Home Test Init.
    let hoti = Ok(Message::HomeTestInit { cookie: COOKIE });
    assert_eq!(read("hoti_option"), hoti);
    assert_eq!(read("hoti_trailing"), hoti);
}

#[test]
fn refusals() {
    for (name, reason) in [
        ("hoti_bad_checksum", Error::BadChecksum),
        (
            "hoti_payload_proto",
            Error::PayloadProto {
                offset: 40,
                value: 58,
            },
        ),
        ("hoti_home_address", Error::HomeAddressOption),
        ("hoti_routing", Error::RoutingHeader(2)),
        (
            "hoti_too_long",
            Error::LengthMismatch {
                claimed: 40,
                available: 16,
            },
        ),
        ("hot_short", Error::HeaderLength { offset: 41 }),
        ("bu_short", Error::HeaderLength { offset: 41 }),
        ("bu_option_overrun", Error::BadOption { offset: 52 }),
        ("bu_option_cut", Error::BadOption { offset: 55 }),
        ("bu_nonces_length", Error::BadOption { offset: 52 }),
        ("bu_nonces_twice", Error::DuplicateOption { offset: 58 }),
        ("bu_auth_not_last", Error::AfterAuthorization { offset: 72 }),
        ("bu_auth_padded", Error::AfterAuthorization { offset: 72 }),
        ("bu_auth_length", Error::BadOption { offset: 52 }),
        ("udp", Error::UnexpectedProtocol(17)),
    ] {
        assert_eq!(read(name), Err(reason), "{name}");
    }
    let known = Message::Unknown { mh_type: 7 };
    assert_eq!(
        known.emit(A, B, &mut [0; 96]),
        Err(Error::UnexpectedType(7))
    );
}

/// A sender emits with a zero authenticator, computes, and patches: that gives the recorded octets.
#[test]
fn authenticator_is_patched_in() {
    for name in ["bu", "bu_delete", "ba_accepted", "ba_advice"] {
        let octets = packet(name);
        let recorded = authenticated(&parse(&octets)).unwrap().authenticator;
        let mut buffer = octets.clone();
        set_authenticator(&mut buffer, [0; 12]).unwrap();
        assert_ne!(buffer, octets);
        assert!(
            Message::parse(&parse(&buffer)).is_ok(),
            "checksum of {name}"
        );
        set_authenticator(&mut buffer, recorded).unwrap();
        assert_eq!(buffer, octets);
    }
    let octets = packet("bu_home_address");
    let mut buffer = octets.clone();
    set_authenticator(&mut buffer, [9; 12]).unwrap();
    assert!(Message::parse(&parse(&buffer)).is_ok());
}

#[test]
fn no_authenticator() {
    for name in ["bu_bare", "ba_out_of_window", "hoti", "hoti_option"] {
        let mut octets = packet(name);
        let missing = Error::AuthorizationMissing;
        assert_eq!(authenticated(&parse(&octets)), Err(missing), "{name}");
        assert_eq!(set_authenticator(&mut octets, [0; 12]), Err(missing));
    }
}

#[test]
fn flags_by_their_bits() {
    assert_eq!((Flags::ACKNOWLEDGE | Flags::EQUIVALENT).0, 0x8400);
    assert!(Flags(0x8400).contains(Flags::EQUIVALENT));
    assert!(!Flags(0x8400).contains(Flags::EQUIVALENT | Flags::HOME));
}
