//! The fixed header.

use core::net::Ipv6Addr;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::numbers::HEADER_LEN;
use crate::wire::Error;

/// The fixed header, RFC 8200 section 3.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Header {
    pub(super) version_class_flow: [u8; 4],
    pub(super) payload_length: U16,
    pub(super) next_header: u8,
    pub(super) hop_limit: u8,
    pub(super) source: [u8; 16],
    pub(super) destination: [u8; 16],
}

impl Header {
    /// Splits the header off, its version checked.
    pub(super) fn read(octets: &[u8]) -> Result<(&Self, &[u8]), Error> {
        let (header, rest) = Self::ref_from_prefix(octets).map_err(|_| Error::Truncated)?;
        let [first, ..] = header.version_class_flow;
        match first >> 4 {
            6 => Ok((header, rest)),
            version => Err(Error::BadVersion(version)),
        }
    }
}

/// Writes an IPv6 header, traffic class and flow label 0, to the front of `buffer`. `payload_len`
/// is in octets and counts extension headers.
pub fn header(
    buffer: &mut [u8],
    source: Ipv6Addr,
    destination: Ipv6Addr,
    next_header: u8,
    hop_limit: u8,
    payload_len: usize,
) -> Result<(), Error> {
    let length = u16::try_from(payload_len).map_err(|_| Error::PayloadTooLong(payload_len))?;
    let header = Header {
        version_class_flow: [0x60, 0, 0, 0],
        payload_length: U16::new(length),
        next_header,
        hop_limit,
        source: source.octets(),
        destination: destination.octets(),
    };
    header
        .write_to_prefix(buffer)
        .map_err(|_| Error::BufferTooSmall { needed: HEADER_LEN })
}
