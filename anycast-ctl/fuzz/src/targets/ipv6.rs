//! The IPv6 header and its chain, whole and cut short.

use anycast_common::wire::{
    Error,
    ipv6::{HEADER_LEN, Packet, anycastable, is_routable_unicast},
};

/// `octets` are a packet from its first octet, whole or as an ICMPv6 error quotes it.
pub fn ipv6(octets: &[u8]) {
    let whole = Packet::parse(octets);
    let quoted = Packet::parse_quoted(octets);
    match whole {
        // Only the whole one asks for all of its payload.
        Err(Error::LengthMismatch { claimed, available }) => {
            assert_eq!(available, octets.len() - HEADER_LEN);
            assert!(claimed > available);
        }
        _ => assert_eq!(whole, quoted, "the end is there, and all the same"),
    }
    match quoted {
        Ok(packet) => {
            in_bounds(&packet, octets);
            addresses(&packet);
            link_padding(octets, whole);
            cuts(octets, &packet);
        }
        Err(error) => assert!(error_in_bounds(error, octets), "{error:?}"),
    }
}

/// The payload is where it says to be, and the protocol is named where it says.
pub(super) fn in_bounds(packet: &Packet<'_>, octets: &[u8]) {
    let end = packet.payload_offset + packet.payload.len();
    assert_eq!(octets.get(packet.payload_offset..end), Some(packet.payload));
    assert_eq!(octets.get(packet.protocol_offset), Some(&packet.protocol));
    assert!(packet.protocol_offset < packet.payload_offset);
    let claimed = usize::from(u16::from_be_bytes([octets[4], octets[5]]));
    assert!(end <= HEADER_LEN + claimed, "read beyond Payload Length");
}

/// Whether the Pointer of a Parameter Problem about it would point into the packet.
pub(super) fn error_in_bounds(error: Error, octets: &[u8]) -> bool {
    match error {
        Error::BadOption { offset }
        | Error::DuplicateOption { offset }
        | Error::UnrecognizedOption { offset, .. }
        | Error::HopByHopOutOfPlace { offset }
        | Error::DuplicateFragment { offset }
        | Error::PayloadProto { offset, .. }
        | Error::HeaderLength { offset }
        | Error::AfterAuthorization { offset } => offset < octets.len(),
        // What should begin there may be missing altogether.
        Error::ExtensionLength { offset } => offset <= octets.len(),
        _ => true,
    }
}

/// What is routable can be anycast, not the other way round.
fn addresses(packet: &Packet<'_>) {
    for address in [packet.source, packet.destination] {
        assert!(!is_routable_unicast(address) || anycastable(address).is_ok());
    }
}

/// What follows the packet in its frame changes nothing.
fn link_padding(octets: &[u8], whole: Result<Packet<'_>, Error>) {
    if whole.is_ok() {
        let padded = [octets, &[0xa5; 3]].concat();
        assert_eq!(Packet::parse(&padded), whole);
    }
}

/// A quote that is cut says less, never something else.
fn cuts(octets: &[u8], full: &Packet<'_>) {
    for cut in 0..full.payload_offset + full.payload.len() {
        let Ok(packet) = Packet::parse_quoted(&octets[..cut]) else {
            assert!(cut < full.payload_offset, "the chain is there");
            continue;
        };
        assert!(full.payload.starts_with(packet.payload));
        let payload = full.payload;
        assert_eq!(Packet { payload, ..packet }, *full);
    }
}
