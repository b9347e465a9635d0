//! The walk over the extension header chain (RFC 8200 section 4).

use core::net::Ipv6Addr;

use super::{
    header::Header,
    numbers::{
        MAX_EXTENSIONS, NEXT_HEADER_AUTHENTICATION, NEXT_HEADER_DEST_OPTIONS, NEXT_HEADER_FRAGMENT,
        NEXT_HEADER_HOP_BY_HOP, NEXT_HEADER_ROUTING,
    },
    packet::{FIRST_NEXT_HEADER, Fragment, Packet},
};
use crate::wire::Error;

const PAD1: u8 = 0;
const PADN: u8 = 1;
const ROUTER_ALERT: u8 = 5;
const HOME_ADDRESS: u8 = 201;

/// Walks from the IPv6 header to the upper layer.
pub(super) fn walk<'a>(header: &Header, octets: &'a [u8]) -> Result<Packet<'a>, Error> {
    let mut packet = Packet::bare(
        Ipv6Addr::from_octets(header.source),
        Ipv6Addr::from_octets(header.destination),
        header.hop_limit,
        header.next_header,
        octets,
    );
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(packet.protocol) {
            return Ok(packet);
        }
        packet = step(packet)?;
        if packet.fragment.is_some_and(|fragment| fragment.offset != 0) {
            // The rest of the chain stands in the first fragment.
            return Ok(packet);
        }
    }
    if is_extension(packet.protocol) {
        return Err(Error::ChainTooLong);
    }
    Ok(packet)
}

/// ESP is none: what stands behind it cannot be read.
const fn is_extension(protocol: u8) -> bool {
    matches!(
        protocol,
        NEXT_HEADER_HOP_BY_HOP
            | NEXT_HEADER_ROUTING
            | NEXT_HEADER_FRAGMENT
            | NEXT_HEADER_AUTHENTICATION
            | NEXT_HEADER_DEST_OPTIONS
    )
}

/// Takes one extension header off the front of the payload.
fn step(mut packet: Packet<'_>) -> Result<Packet<'_>, Error> {
    let offset = packet.payload_offset;
    let too_long = Error::ExtensionLength { offset };
    let &[next, length, ..] = packet.payload else {
        return Err(too_long);
    };
    let length = usize::from(length);
    let length = match packet.protocol {
        NEXT_HEADER_FRAGMENT => 8,
        // RFC 4302 section 2.2: units of 4 octets, minus 2.
        NEXT_HEADER_AUTHENTICATION => (length + 2) * 4,
        _ => (length + 1) * 8,
    };
    let (body, rest) = packet.payload.split_at_checked(length).ok_or(too_long)?;
    match packet.protocol {
        NEXT_HEADER_HOP_BY_HOP if packet.protocol_offset != FIRST_NEXT_HEADER => {
            return Err(Error::HopByHopOutOfPlace {
                offset: packet.protocol_offset,
            });
        }
        NEXT_HEADER_HOP_BY_HOP | NEXT_HEADER_DEST_OPTIONS => options(&mut packet, body)?,
        NEXT_HEADER_ROUTING => packet.routing_type = body.get(2).copied(),
        // A second one could make a piece look whole.
        NEXT_HEADER_FRAGMENT if packet.fragment.is_some() => {
            return Err(Error::DuplicateFragment { offset });
        }
        NEXT_HEADER_FRAGMENT => packet.fragment = fragment(body),
        _ => {}
    }
    packet.protocol_offset = offset;
    packet.payload_offset = offset + length;
    packet.protocol = next;
    packet.payload = rest;
    Ok(packet)
}

fn fragment(body: &[u8]) -> Option<Fragment> {
    let &[_, _, high, low, a, b, c, d] = body else {
        return None;
    };
    let word = u16::from_be_bytes([high, low]);
    Some(Fragment {
        // The field counts units of 8 octets in its upper 13 bits.
        offset: word & !7,
        more: word & 1 == 1,
        identification: u32::from_be_bytes([a, b, c, d]),
    })
}

/// Reads the options of the Hop-by-Hop or Destination Options header that `packet` stands at.
fn options(packet: &mut Packet<'_>, body: &[u8]) -> Result<(), Error> {
    let mut at = 2;
    while let Some(&option) = body.get(at) {
        let offset = packet.payload_offset + at;
        if option == PAD1 {
            at += 1;
            continue;
        }
        let bad = Error::BadOption { offset };
        let length = usize::from(*body.get(at + 1).ok_or(bad)?);
        let data = body.get(at + 2..at + 2 + length).ok_or(bad)?;
        match (packet.protocol, option) {
            (_, PADN) => {}
            (NEXT_HEADER_HOP_BY_HOP, ROUTER_ALERT) => {
                let value = <[u8; 2]>::try_from(data).map_err(|_| bad)?;
                once(&mut packet.router_alert, u16::from_be_bytes(value), offset)?;
            }
            (NEXT_HEADER_DEST_OPTIONS, HOME_ADDRESS) => {
                let value = <[u8; 16]>::try_from(data).map_err(|_| bad)?;
                let address = Ipv6Addr::from_octets(value);
                once(&mut packet.home_address, address, offset)?;
            }
            // The upper two bits say what to do with an unknown option: only 00 is to skip it.
            (_, option) if option >> 6 != 0 => {
                return Err(Error::UnrecognizedOption { offset, option });
            }
            _ => {}
        }
        at += 2 + length;
    }
    Ok(())
}

/// Keeps the value of an option that may stand once.
fn once<T>(slot: &mut Option<T>, value: T, offset: usize) -> Result<(), Error> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::DuplicateOption { offset }),
    }
}
