//! The formulae against vectors that `vectors.py` made.

#![allow(clippy::unwrap_used, reason = "a test may abort")]

use std::net::Ipv6Addr;

use anycast_common::wire::{
    ipv6,
    mobility::{BindingAck, BindingUpdate, Flags, Message},
};
use proptest::prelude::*;
use rand::SeedableRng;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Vector {
    name: String,
    home: Ipv6Addr,
    care_of: Ipv6Addr,
    correspondent: Ipv6Addr,
    sequence: u16,
    home_index: u16,
    care_of_index: u16,
    kcn_home: String,
    kcn_care_of: String,
    nonce_home: String,
    nonce_care_of: String,
    home_token: String,
    care_of_token: String,
    kbm: String,
    kbm_deletion: String,
    update: Sealed,
    ack: Sealed,
    deletion: Sealed,
}

#[derive(Deserialize)]
struct Sealed {
    authenticator: String,
    packet: String,
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("vectors.json")).unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn octets<const N: usize>(text: &str) -> [u8; N] {
    hex(text).try_into().unwrap()
}

/// A packet of one Mobility Header, with the checksum that it should have.
pub(in crate::core) fn checksummed(mut octets: Vec<u8>) -> Vec<u8> {
    octets[44..46].fill(0);
    let sum: u32 = octets[8..]
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    let length = u32::try_from(octets.len() - 40).unwrap();
    let mut sum = sum + length + 135;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = !u16::try_from(sum).unwrap();
    octets[44..46].copy_from_slice(&sum.to_be_bytes());
    octets
}

impl Vector {
    fn tokens(&self) -> (KeygenToken, KeygenToken) {
        let home = home_keygen_token(
            &Kcn::from(octets(&self.kcn_home)),
            &Nonce::from(octets(&self.nonce_home)),
            self.home,
            self.correspondent,
        );
        let care_of = care_of_keygen_token(
            &Kcn::from(octets(&self.kcn_care_of)),
            &Nonce::from(octets(&self.nonce_care_of)),
            self.care_of,
            self.correspondent,
        );
        (home, care_of)
    }

    /// Each message with the key and the care-of address that its authenticator is made with.
    fn sealed(&self) -> [(&'static str, &Sealed, Kbm, Ipv6Addr); 3] {
        let (home, care_of) = self.tokens();
        let binding = || Kbm::binding(&home, &care_of);
        [
            ("update", &self.update, binding(), self.care_of),
            ("ack", &self.ack, binding(), self.care_of),
            ("deletion", &self.deletion, Kbm::deletion(&home), self.home),
        ]
    }
}

#[test]
fn tokens_are_those_of_the_vectors() {
    for vector in vectors() {
        let (home, care_of) = vector.tokens();
        assert_eq!(home.expose(), octets(&vector.home_token), "{}", vector.name);
        assert_eq!(
            care_of.expose(),
            octets(&vector.care_of_token),
            "{}",
            vector.name
        );
    }
}

#[test]
fn the_states_of_a_key_are_those_of_hmac() {
    // RFC 2104 section 2, block by block: what the states leave to be done.
    let message: [u8; 41] = std::array::from_fn(|index| index.to_le_bytes()[0]);
    let key = Kcn::from(std::array::from_fn(|index| 200 - index.to_le_bytes()[0]));
    let states = key.midstates();
    let last = |state: [u32; 5], message: &[u8]| {
        let mut block = [0; 64];
        block[..message.len()].copy_from_slice(message);
        block[message.len()] = 0x80;
        let bits = u64::try_from((64 + message.len()) * 8).unwrap();
        block[56..].copy_from_slice(&bits.to_be_bytes());
        let mut state = state;
        sha1::block_api::compress(&mut state, &[block]);
        state.map(u32::to_be_bytes).concat()
    };
    let mac = last(states.outer, &last(states.inner, &message));
    let [home, nonce] = [&message[..16], &message[16..24]];
    let octets = |octets: &[u8]| Ipv6Addr::from(<[u8; 16]>::try_from(octets).unwrap());
    let nonce = Nonce::from(<[u8; 8]>::try_from(nonce).unwrap());
    let mut message = message;
    message[24] = 0;
    let token = home_keygen_token(&key, &nonce, octets(home), octets(&message[25..]));
    let mac_of_token = last(states.outer, &last(states.inner, &message));
    assert_eq!(token.expose(), mac_of_token[..8]);
    assert_ne!(mac, mac_of_token);
}

#[test]
fn binding_management_keys_are_those_of_the_vectors() {
    // The key itself stays inside its type: two keys are the same when their authenticators are.
    let data: [&[u8]; 3] = [b"a", b"b", b"c"];
    for vector in vectors() {
        let (home, care_of) = vector.tokens();
        for (made, expected) in [
            (Kbm::binding(&home, &care_of), &vector.kbm),
            (Kbm::deletion(&home), &vector.kbm_deletion),
        ] {
            let expected = Kbm::from(octets(expected));
            assert_eq!(
                made.authenticator(vector.care_of, vector.correspondent, &data),
                expected.authenticator(vector.care_of, vector.correspondent, &data),
                "{}",
                vector.name
            );
        }
    }
}

#[test]
fn authenticators_of_the_vectors_verify() {
    for vector in vectors() {
        for (name, sealed, key, care_of) in vector.sealed() {
            let octets = hex(&sealed.packet);
            let packet = ipv6::Packet::parse(&octets).unwrap();
            assert!(
                verify(&key, care_of, vector.correspondent, &packet),
                "{}: {name}",
                vector.name
            );
        }
    }
}

#[test]
fn sealing_gives_the_packet_of_the_vectors() {
    for vector in vectors() {
        for (name, sealed, key, care_of) in vector.sealed() {
            let expected = hex(&sealed.packet);
            let mut packet = expected.clone();
            let authenticator = packet.len() - 12;
            packet[authenticator..].fill(0);
            packet = checksummed(packet);
            seal(&key, care_of, vector.correspondent, &mut packet).unwrap();
            assert_eq!(packet, expected, "{}: {name}", vector.name);
            assert_eq!(packet[authenticator..], hex(&sealed.authenticator));
        }
    }
}

#[test]
fn the_vectors_mean_what_they_say() {
    for vector in vectors() {
        let parse = |sealed: &Sealed| {
            let octets = hex(&sealed.packet);
            Message::parse(&ipv6::Packet::parse(&octets).unwrap()).unwrap()
        };
        let update = BindingUpdate {
            sequence: vector.sequence,
            flags: Flags::ACKNOWLEDGE | Flags::EQUIVALENT,
            lifetime: LIFETIME,
            alternate_care_of: Some(vector.care_of),
            nonce_indices: Some((vector.home_index, vector.care_of_index)),
            authenticator: Some(octets(&vector.update.authenticator)),
        };
        assert_eq!(parse(&vector.update), Message::BindingUpdate(update));
        let deletion = BindingUpdate {
            sequence: vector.sequence.wrapping_add(1),
            lifetime: 0,
            alternate_care_of: None,
            nonce_indices: Some((vector.home_index, 0)),
            authenticator: Some(octets(&vector.deletion.authenticator)),
            ..update
        };
        assert_eq!(parse(&vector.deletion), Message::BindingUpdate(deletion));
        let ack = BindingAck {
            sequence: vector.sequence,
            lifetime: LIFETIME,
            authenticator: Some(octets(&vector.ack.authenticator)),
            ..BindingAck::default()
        };
        assert_eq!(parse(&vector.ack), Message::BindingAck(ack));
    }
}

#[test]
fn any_other_bit_is_refused() {
    let vector = &vectors()[0];
    let (home, care_of) = vector.tokens();
    let key = Kbm::binding(&home, &care_of);
    let data: [&[u8]; 3] = [b"before", b"\0\0", b"after"];
    let good = key.authenticator(vector.care_of, vector.correspondent, &data);
    assert!(key.verify(vector.care_of, vector.correspondent, &data, &good));
    for bit in 0..96 {
        let mut bad = good;
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(!key.verify(vector.care_of, vector.correspondent, &data, &bad));
    }
    // Every input counts.
    assert!(!key.verify(vector.home, vector.correspondent, &data, &good));
    assert!(!key.verify(vector.care_of, vector.home, &data, &good));
    let other: [&[u8]; 3] = [b"before", b"\0\x01", b"after"];
    assert!(!key.verify(vector.care_of, vector.correspondent, &other, &good));
    assert!(!Kbm::deletion(&home).verify(vector.care_of, vector.correspondent, &data, &good));
}

#[test]
fn a_message_without_authorization_never_verifies() {
    let vector = &vectors()[0];
    let (home, _) = vector.tokens();
    let mut octets = [0; 128];
    let length = Message::BindingAck(BindingAck::default())
        .emit(vector.correspondent, vector.home, &mut octets)
        .unwrap();
    let packet = ipv6::Packet::parse(&octets[..length]).unwrap();
    assert!(!verify(
        &Kbm::deletion(&home),
        vector.home,
        vector.correspondent,
        &packet
    ));
}

#[test]
fn home_and_care_of_tokens_differ() {
    let (key, nonce) = (Kcn::from([7; 20]), Nonce::from([9; 8]));
    let (address, client) = (vectors()[0].home, vectors()[0].correspondent);
    assert_ne!(
        home_keygen_token(&key, &nonce, address, client).expose(),
        care_of_keygen_token(&key, &nonce, address, client).expose()
    );
}

#[test]
fn secrets_are_not_shown() {
    let mut rng = Generator::seed_from_u64(1);
    assert_eq!(format!("{:?}", Kcn::generate(&mut rng)), "Kcn(..)");
    assert_eq!(format!("{:?}", Nonce::generate(&mut rng)), "Nonce(..)");
    assert_eq!(
        format!("{:?}", KeygenToken::from([1; 8])),
        "KeygenToken(..)"
    );
    assert_eq!(format!("{:?}", Kbm::from([1; 20])), "Kbm(..)");
    assert_eq!(format!("{rng:?}"), "ChaCha20Rng { ... }");
}

#[test]
fn secrets_are_wiped() {
    fn when_dropped<T: zeroize::ZeroizeOnDrop>() {}
    when_dropped::<Kcn>();
    when_dropped::<Nonce>();
    when_dropped::<KeygenToken>();
    when_dropped::<Kbm>();
    when_dropped::<Generator>();
}

#[test]
fn sequence_numbers_compare_as_the_rfc_says() {
    // RFC 6275 section 9.5.1: "if the last received sequence number was 15, then messages with
    // sequence numbers 0 through 15, as well as 32783 through 65535, would be considered less than
    // or equal."
    for sequence in 0..=u16::MAX {
        let less_or_equal = sequence <= 15 || sequence >= 32783;
        assert_eq!(is_after(sequence, 15), !less_or_equal, "{sequence}");
    }
    for (sequence, last, after) in [
        (0, u16::MAX, true),
        (u16::MAX, 0, false),
        (0x7fff, 0, true),
        (0x8000, 0, false),
        (0x8000, 1, true),
        (5, 5, false),
    ] {
        assert_eq!(is_after(sequence, last), after, "{sequence} after {last}");
    }
}

proptest! {
    #[test]
    fn of_two_sequence_numbers_one_is_after_unless_opposite(left: u16, right: u16) {
        let opposite = left.wrapping_sub(right) == 0x8000;
        let both = is_after(left, right) && is_after(right, left);
        let none = !is_after(left, right) && !is_after(right, left);
        prop_assert!(!both);
        prop_assert_eq!(none, left == right || opposite);
    }
}
