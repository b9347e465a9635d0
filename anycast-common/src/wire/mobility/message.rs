//! The messages and their fixed parts.

use core::net::Ipv6Addr;

use super::option::Options;
use super::update::{BindingAck, BindingUpdate, Flags};
use super::{HOP_LIMIT, MAX_PACKET_LEN, mh_type};
use crate::wire::bytes::Writer;
use crate::wire::ipv6::{NEXT_HEADER_MOBILITY, NEXT_HEADER_NO_NEXT};
use crate::wire::{Error, checksum, ipv6};

/// Where the Header Len octet stands in the Mobility Header.
const HEADER_LEN_FIELD: usize = 1;
/// Where the checksum stands in the Mobility Header.
pub(super) const CHECKSUM: usize = 4;
/// What stands for the checksum in the MAC.
static ZERO: [u8; 2] = [0; 2];
/// The K bit of a Binding Acknowledgement.
const KEY_MANAGEMENT: u8 = 0x80;
/// The routing header of RFC 6275 section 6.4.
const TYPE_2_ROUTING: u8 = 2;

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
    /// The MH Type.
    #[must_use]
    pub const fn mh_type(&self) -> u8 {
        match *self {
            Self::BindingRefreshRequest => mh_type::BINDING_REFRESH_REQUEST,
            Self::HomeTestInit { .. } => mh_type::HOME_TEST_INIT,
            Self::CareOfTestInit { .. } => mh_type::CARE_OF_TEST_INIT,
            Self::HomeTest { .. } => mh_type::HOME_TEST,
            Self::CareOfTest { .. } => mh_type::CARE_OF_TEST,
            Self::BindingUpdate(_) => mh_type::BINDING_UPDATE,
            Self::BindingAck(_) => mh_type::BINDING_ACK,
            Self::BindingError { .. } => mh_type::BINDING_ERROR,
            Self::Unknown { mh_type } => mh_type,
        }
    }

    /// Reads a mobility message with the checks of RFC 6275 section 9.2, in its order: checksum,
    /// MH Type (an unknown one is [`Message::Unknown`]), Payload Proto, Header Len; then the
    /// options.
    ///
    /// A Home Address option is accepted with a Binding Update only (and with an unknown type, so
    /// that the Binding Error can name it); the home address of the update is then
    /// [`ipv6::Packet::checksum_source`]. Whether addresses are routable is the caller's to ask.
    pub fn parse(packet: &ipv6::Packet<'_>) -> Result<Self, Error> {
        let octets = frame(packet)?;
        if let Some(TYPE_2_ROUTING) = packet.routing_type {
            return Err(Error::RoutingHeader(TYPE_2_ROUTING));
        }
        let source = packet.checksum_source().octets();
        let destination = packet.destination.octets();
        if !checksum::verify(&source, &destination, NEXT_HEADER_MOBILITY, octets) {
            return Err(Error::BadChecksum);
        }
        let &[payload_proto, _, mh_type, _, _, _, ref data @ ..] = octets else {
            return Err(Error::Truncated);
        };
        if mh_type > mh_type::BINDING_ERROR {
            return Ok(Self::Unknown { mh_type });
        }
        if payload_proto != NEXT_HEADER_NO_NEXT {
            return Err(Error::PayloadProto {
                offset: packet.payload_offset,
                value: payload_proto,
            });
        }
        if packet.home_address.is_some() && mh_type != mh_type::BINDING_UPDATE {
            return Err(Error::HomeAddressOption);
        }
        let (message, area) = Self::read(mh_type, data).ok_or(Error::HeaderLength {
            offset: packet.payload_offset + HEADER_LEN_FIELD,
        })?;
        let offset = packet.payload_offset + octets.len() - area.len();
        Ok(message.with(Options::read(mh_type, area, offset)?))
    }

    /// Reads the fixed part; the rest of `data` is the options. None when `data` is too short.
    fn read(mh_type: u8, data: &[u8]) -> Option<(Self, &[u8])> {
        let (&[a, b], rest) = data.split_first_chunk()?;
        let word = u16::from_be_bytes([a, b]);
        let message = match mh_type {
            mh_type::BINDING_REFRESH_REQUEST => (Self::BindingRefreshRequest, rest),
            mh_type::HOME_TEST_INIT | mh_type::CARE_OF_TEST_INIT => {
                let (&cookie, rest) = rest.split_first_chunk()?;
                if mh_type == mh_type::HOME_TEST_INIT {
                    (Self::HomeTestInit { cookie }, rest)
                } else {
                    (Self::CareOfTestInit { cookie }, rest)
                }
            }
            mh_type::HOME_TEST | mh_type::CARE_OF_TEST => {
                let (&cookie, rest) = rest.split_first_chunk()?;
                let (&token, rest) = rest.split_first_chunk()?;
                let nonce_index = word;
                let message = if mh_type == mh_type::HOME_TEST {
                    Self::HomeTest {
                        nonce_index,
                        cookie,
                        token,
                    }
                } else {
                    Self::CareOfTest {
                        nonce_index,
                        cookie,
                        token,
                    }
                };
                (message, rest)
            }
            mh_type::BINDING_UPDATE => {
                let (&[c, d, e, f], rest) = rest.split_first_chunk()?;
                let update = BindingUpdate {
                    sequence: word,
                    flags: Flags(u16::from_be_bytes([c, d])),
                    lifetime: u16::from_be_bytes([e, f]),
                    ..BindingUpdate::default()
                };
                (Self::BindingUpdate(update), rest)
            }
            mh_type::BINDING_ACK => {
                let (&[c, d, e, f], rest) = rest.split_first_chunk()?;
                let ack = BindingAck {
                    status: a,
                    key_management: b & KEY_MANAGEMENT != 0,
                    sequence: u16::from_be_bytes([c, d]),
                    lifetime: u16::from_be_bytes([e, f]),
                    ..BindingAck::default()
                };
                (Self::BindingAck(ack), rest)
            }
            mh_type::BINDING_ERROR => {
                let (&home, rest) = rest.split_first_chunk()?;
                let home_address = Ipv6Addr::from_octets(home);
                let status = a;
                (
                    Self::BindingError {
                        status,
                        home_address,
                    },
                    rest,
                )
            }
            mh_type => (Self::Unknown { mh_type }, rest),
        };
        Some(message)
    }

    /// Adds what the options carried.
    fn with(mut self, options: Options) -> Self {
        match &mut self {
            Self::BindingUpdate(update) => {
                update.alternate_care_of = options.alternate_care_of;
                update.nonce_indices = options.nonce_indices;
                update.authenticator = options.authenticator;
            }
            Self::BindingAck(ack) => {
                ack.refresh_advice = options.refresh_advice;
                ack.authenticator = options.authenticator;
            }
            _ => {}
        }
        self
    }

    /// The options that the message carries.
    fn options(&self) -> Options {
        match *self {
            Self::BindingUpdate(update) => Options {
                alternate_care_of: update.alternate_care_of,
                nonce_indices: update.nonce_indices,
                authenticator: update.authenticator,
                refresh_advice: None,
            },
            Self::BindingAck(ack) => Options {
                refresh_advice: ack.refresh_advice,
                authenticator: ack.authenticator,
                ..Options::default()
            },
            _ => Options::default(),
        }
    }

    /// The authenticator that the message carries.
    pub(super) fn authenticator(&self) -> Option<[u8; 12]> {
        self.options().authenticator
    }

    /// Writes the complete IPv6 packet, checksum set. Gives its length, at most
    /// [`super::MAX_PACKET_LEN`].
    ///
    /// [`Message::Unknown`] is written as a bare header, and refused as
    /// [`Error::UnexpectedType`] with a type that is known.
    pub fn emit(
        &self,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        buffer: &mut [u8],
    ) -> Result<usize, Error> {
        self.place(source, destination, buffer, |_| Ok(()))
    }

    /// Writes a message that ends in Binding Authorization Data, like [`Message::emit`], with the authenticator that
    /// `mac` makes of what it [covers](super::Authenticated::chunks). Whatever the message has in its place is ignored.
    pub fn emit_authenticated(
        &self,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        buffer: &mut [u8],
        mac: impl FnOnce(&[&[u8]; 3]) -> [u8; 12],
    ) -> Result<usize, Error> {
        if self.authenticator().is_none() {
            return Err(Error::AuthorizationMissing);
        }
        self.place(source, destination, buffer, |octets| {
            let authenticator = mac(&chunks(octets)?);
            *octets.last_chunk_mut().ok_or(Error::AuthorizationMissing)? = authenticator;
            Ok(())
        })
    }

    /// Writes the packet, its Mobility Header completed by `finish` before the checksum is set.
    fn place(
        &self,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        buffer: &mut [u8],
        finish: impl FnOnce(&mut [u8]) -> Result<(), Error>,
    ) -> Result<usize, Error> {
        let mut scratch = [0; MAX_PACKET_LEN - ipv6::HEADER_LEN];
        let octets = self.write(&mut scratch)?;
        finish(octets)?;
        let length = ipv6::HEADER_LEN + octets.len();
        let mut writer = Writer::new(buffer, length)?;
        writer.ipv6(
            source,
            destination,
            NEXT_HEADER_MOBILITY,
            HOP_LIMIT,
            octets.len(),
        )?;
        writer.put(octets)?;
        let start = ipv6::HEADER_LEN;
        writer.checksum(source, destination, NEXT_HEADER_MOBILITY, start, CHECKSUM)?;
        Ok(length)
    }

    /// Writes the Mobility Header, checksum zero. Gives the part of `scratch` that it fills.
    fn write<'a>(&self, scratch: &'a mut [u8]) -> Result<&'a mut [u8], Error> {
        let needed = scratch.len();
        let mut writer = Writer::new(scratch, needed)?;
        writer.put(&[NEXT_HEADER_NO_NEXT, 0, self.mh_type(), 0, 0, 0])?;
        match *self {
            Self::BindingRefreshRequest => writer.put(&[0; 2])?,
            Self::HomeTestInit { cookie } | Self::CareOfTestInit { cookie } => {
                writer.put(&[0; 2])?;
                writer.put(&cookie)?;
            }
            Self::HomeTest {
                nonce_index,
                cookie,
                token,
            }
            | Self::CareOfTest {
                nonce_index,
                cookie,
                token,
            } => {
                writer.put(&nonce_index.to_be_bytes())?;
                writer.put(&cookie)?;
                writer.put(&token)?;
            }
            Self::BindingUpdate(update) => {
                writer.put(&update.sequence.to_be_bytes())?;
                writer.put(&update.flags.0.to_be_bytes())?;
                writer.put(&update.lifetime.to_be_bytes())?;
            }
            Self::BindingAck(ack) => {
                let flags = if ack.key_management {
                    KEY_MANAGEMENT
                } else {
                    0
                };
                writer.put(&[ack.status, flags])?;
                writer.put(&ack.sequence.to_be_bytes())?;
                writer.put(&ack.lifetime.to_be_bytes())?;
            }
            Self::BindingError {
                status,
                home_address,
            } => {
                writer.put(&[status, 0])?;
                writer.put(&home_address.octets())?;
            }
            Self::Unknown { mh_type } if mh_type <= mh_type::BINDING_ERROR => {
                return Err(Error::UnexpectedType(mh_type));
            }
            Self::Unknown { .. } => writer.put(&[0; 2])?,
        }
        self.options().write(&mut writer)?;
        let length = writer.position();
        let units = u8::try_from(length / 8).map_err(|_| Error::PayloadTooLong(length))?;
        if let Some(field) = scratch.get_mut(HEADER_LEN_FIELD) {
            *field = units.saturating_sub(1);
        }
        scratch
            .get_mut(..length)
            .ok_or(Error::BufferTooSmall { needed: length })
    }
}

/// The Mobility Header of `packet`, as long as its Header Len says, and not checked further.
pub(super) fn frame<'a>(packet: &ipv6::Packet<'a>) -> Result<&'a [u8], Error> {
    if packet.protocol != NEXT_HEADER_MOBILITY {
        return Err(Error::UnexpectedProtocol(packet.protocol));
    }
    if packet.is_piece() {
        return Err(Error::Fragmented);
    }
    let &units = packet
        .payload
        .get(HEADER_LEN_FIELD)
        .ok_or(Error::Truncated)?;
    let claimed = (usize::from(units) + 1) * 8;
    packet.payload.get(..claimed).ok_or(Error::LengthMismatch {
        claimed,
        available: packet.payload.len(),
    })
}

/// What the MAC of a Mobility Header covers that ends in an authenticator.
pub(super) fn chunks(octets: &[u8]) -> Result<[&[u8]; 3], Error> {
    let (before, rest) = octets.split_at_checked(CHECKSUM).ok_or(Error::Truncated)?;
    let (_, rest) = rest.split_at_checked(ZERO.len()).ok_or(Error::Truncated)?;
    let (after, _) = rest
        .split_last_chunk::<12>()
        .ok_or(Error::AuthorizationMissing)?;
    Ok([before, &ZERO, after])
}
