//! The Mobility Header, its options, and where the authenticator stands.

use anycast_common::wire::{
    Error,
    ipv6::Packet,
    mobility::{MAX_PACKET_LEN, Message, authenticated, mh_type, set_authenticator},
};

use super::{ipv6::error_in_bounds, repair::repaired};

const MAC: [u8; 12] = *b"authenticity";

/// `octets` are a packet.
pub fn mobility(octets: &[u8]) {
    for octets in [octets, &repaired(octets)] {
        let Ok(packet) = Packet::parse(octets) else {
            assert!(set_authenticator(&mut octets.to_vec(), MAC).is_err());
            continue;
        };
        match Message::parse(&packet) {
            Ok(message) => {
                again(&packet, message);
                authorization(octets, &packet, message);
            }
            Err(error) => {
                assert!(error_in_bounds(error, octets), "{error:?}");
                assert_eq!(authenticated(&packet), Err(error));
            }
        }
    }
}

/// What is read can be written, padded to units of 8 octets, and is then read the same.
fn again(packet: &Packet<'_>, message: Message) {
    let mut buffer = [0; MAX_PACKET_LEN];
    let length = message
        .emit(packet.source, packet.destination, &mut buffer)
        .expect("room for it");
    let written = &buffer[..length];
    let read = Packet::parse(written).expect("a packet");
    assert_eq!(Message::parse(&read), Ok(message));
    assert_eq!((length - read.payload_offset) % 8, 0);
    assert_eq!(usize::from(read.payload[1]) * 8 + 8, read.payload.len());
    // No longer than what said the same.
    assert!(read.payload.len() <= packet.payload.len() + MAX_PADDING);
    if let Some(authenticator) = authenticator(&message) {
        assert!(written.ends_with(&authenticator));
    }
}

/// Alignment, which is not enforced on receipt, before each of three options at most, and the end.
const MAX_PADDING: usize = 3 * 7 + 7;

/// What the MAC covers and the MAC are the whole message; to set it changes it and the checksum.
fn authorization(octets: &[u8], packet: &Packet<'_>, message: Message) {
    let mut changed = octets.to_vec();
    let Some(authenticator) = authenticator(&message) else {
        assert_eq!(authenticated(packet), Err(Error::AuthorizationMissing));
        let refused = set_authenticator(&mut changed, MAC);
        assert_eq!(refused, Err(Error::AuthorizationMissing));
        assert_eq!(changed, octets);
        return;
    };
    let split = authenticated(packet).expect("it has one");
    assert_eq!(split.authenticator, authenticator);
    let covered = split.chunks.concat();
    let end = covered.len() + authenticator.len();
    assert_eq!(end, usize::from(packet.payload[1]) * 8 + 8);
    assert_eq!(covered[..4], packet.payload[..4]);
    assert_eq!(covered[4..6], [0; 2]);
    assert_eq!(covered[6..], packet.payload[6..covered.len()]);
    assert_eq!(packet.payload[covered.len()..end], authenticator);

    set_authenticator(&mut changed, MAC).expect("there is a place for it");
    let start = packet.payload_offset;
    let mut expected = octets.to_vec();
    expected[start + 4..start + 6].copy_from_slice(&changed[start + 4..start + 6]);
    expected[start + covered.len()..start + end].copy_from_slice(&MAC);
    assert_eq!(changed, expected);
    let packet = Packet::parse(&changed).expect("a packet still");
    let split = authenticated(&packet).expect("its checksum is right");
    assert_eq!(split.authenticator, MAC);
    assert_eq!(split.chunks.concat(), covered);
}

fn authenticator(message: &Message) -> Option<[u8; 12]> {
    match message {
        Message::BindingUpdate(update) => update.authenticator,
        Message::BindingAck(ack) => ack.authenticator,
        Message::Unknown { mh_type } => {
            assert!(*mh_type > mh_type::BINDING_ERROR);
            None
        }
        _ => None,
    }
}
