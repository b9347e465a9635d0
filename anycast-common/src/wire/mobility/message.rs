//! The messages and their fixed parts.

use core::net::Ipv6Addr;

use super::update::{BindingAck, BindingUpdate};
use crate::wire::{Error, ipv6};

/// A mobility message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// Please update your binding (type 0).
    BindingRefreshRequest,
    /// Asks for a home keygen token (type 1).
    HomeTestInit {
        /// Random value that the answer returns.
        cookie: [u8; 8],
    },
    /// Asks for a care-of keygen token (type 2).
    CareOfTestInit {
        /// Random value that the answer returns.
        cookie: [u8; 8],
    },
    /// Answers a Home Test Init (type 3).
    HomeTest {
        /// Which nonce the token was made with.
        nonce_index: u16,
        /// The cookie of the Init.
        cookie: [u8; 8],
        /// The home keygen token.
        token: [u8; 8],
    },
    /// Answers a Care-of Test Init (type 4).
    CareOfTest {
        /// Which nonce the token was made with.
        nonce_index: u16,
        /// The cookie of the Init.
        cookie: [u8; 8],
        /// The care-of keygen token.
        token: [u8; 8],
    },
    /// Asks for a binding (type 5).
    BindingUpdate(BindingUpdate),
    /// Answers a Binding Update (type 6).
    BindingAck(BindingAck),
    /// Something about mobility went wrong (type 7).
    BindingError {
        /// One of [`super::error_status`].
        status: u8,
        /// From the Home Address option of the invoking packet, else `::`.
        home_address: Ipv6Addr,
    },
    /// A type that we do not know: answered with a Binding Error (RFC 6275 section 9.2).
    Unknown {
        /// The MH Type.
        mh_type: u8,
    },
}

impl Message {
    /// Reads a mobility message with the checks of RFC 6275 section 9.2.
    pub fn parse(packet: &ipv6::Packet<'_>) -> Result<Self, Error> {
        let _ = packet;
        Err(Error::Truncated)
    }

    /// Writes the complete IPv6 packet, checksum set. Gives its length, at most
    /// [`super::MAX_PACKET_LEN`].
    pub fn emit(
        &self,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        buffer: &mut [u8],
    ) -> Result<usize, Error> {
        let _ = (source, destination, buffer);
        Err(Error::Truncated)
    }
}
