//! Packet formats, as octets and as meaning.
//!
//! Parsers borrow a slice and give a checked value; emitters fill a caller's buffer with a complete
//! IPv6 packet and give its length. Neither allocates.
//!
//! # No-panic contract
//!
//! No function of this module panics, overflows or reads outside the given slice, whatever the
//! input: a malformed packet is a value of [`Error`], never an abort. Work is bounded by the length
//! of the input and, in the extension header chain, by [`ipv6::MAX_EXTENSIONS`]. The lints below
//! keep the contract at compile time, and `tests/properties.rs` tries it with arbitrary octets.
//!
//! # Offsets
//!
//! Every `offset` in an [`Error`] counts octets from the first octet of the IPv6 header, so it is
//! the Pointer of an ICMPv6 Parameter Problem (RFC 4443 section 3.4) as it stands.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable
)]

mod bytes;
pub mod checksum;
pub mod discovery;
pub mod icmpv6;
pub mod ipv6;
pub mod mld;
pub mod mobility;
pub mod neighbor;

/// Why octets are not the message that was asked for, or could not be written.
///
/// One variant per reason, so that each refusal can have its own counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Error {
    /// The octets end inside a fixed-size part: an IPv6 header or the body of a message.
    #[error("the packet ends before the fixed part of a header")]
    Truncated,
    /// The version field is not 6.
    #[error("IP version {0} is not 6")]
    BadVersion(u8),
    /// A length field claims more octets than there are.
    #[error("a length field claims {claimed} octets, {available} are there")]
    LengthMismatch {
        /// Octets that the field stands for.
        claimed: usize,
        /// Octets that are present.
        available: usize,
    },
    /// A message has a length that its type cannot have (an MLD Query of 25 to 27 octets,
    /// RFC 3810 section 8.1).
    #[error("a message of this type cannot be {0} octets long")]
    BadLength(usize),
    /// More than [`ipv6::MAX_EXTENSIONS`] extension headers before the upper layer.
    #[error("too many extension headers")]
    ChainTooLong,
    /// An extension header runs past the end of the payload.
    #[error("the extension header at {offset} runs past the payload")]
    ExtensionLength {
        /// First octet of that extension header.
        offset: usize,
    },
    /// An option runs past its header, or one that we know has a length that it cannot have.
    #[error("the option at {offset} has a bad length")]
    BadOption {
        /// The Option Type octet.
        offset: usize,
    },
    /// An option stands twice where it may stand once.
    #[error("the option at {offset} is there a second time")]
    DuplicateOption {
        /// The Option Type octet of the second one.
        offset: usize,
    },
    /// An IPv6 option that we do not know and whose type forbids to skip it (RFC 8200 section 4.2).
    /// Types 64 to 127 are dropped in silence; the others are answered with Parameter Problem code 2,
    /// types from 192 only when the destination is not multicast.
    #[error("option type {option} at {offset} is unknown and must not be skipped")]
    UnrecognizedOption {
        /// The Option Type octet.
        offset: usize,
        /// Its value.
        option: u8,
    },
    /// A Hop-by-Hop Options header that does not follow the IPv6 header immediately (RFC 8200
    /// section 4.1): answered with Parameter Problem code 1.
    #[error("a Hop-by-Hop Options header out of place, named at {offset}")]
    HopByHopOutOfPlace {
        /// The Next Header octet that names it.
        offset: usize,
    },
    /// A second Fragment header in one chain.
    #[error("a second Fragment header at {offset}")]
    DuplicateFragment {
        /// First octet of the second one.
        offset: usize,
    },
    /// A message that has to be whole is a fragment.
    #[error("the message is fragmented")]
    Fragmented,
    /// The upper-layer protocol is another one than the message's.
    #[error("upper-layer protocol {0} is another one")]
    UnexpectedProtocol(u8),
    /// An ICMPv6 or MH type that this parser does not serve, or that cannot be emitted.
    #[error("type {0} is another one")]
    UnexpectedType(u8),
    /// The checksum does not fit the octets and the pseudo-header.
    #[error("the checksum is wrong")]
    BadChecksum,
    /// MLD needs hop limit 1.
    #[error("hop limit {0} is not 1")]
    HopLimit(u8),
    /// MLD needs a link-local source.
    #[error("the source is not link-local")]
    SourceNotLinkLocal,
    /// An anycast Report or Done goes to FF02::2 and nowhere else.
    #[error("the destination is not all-routers")]
    Destination,
    /// MLD needs a Hop-by-Hop Options header with Router Alert, and there the value of MLD.
    #[error("Router Alert with the value of MLD is missing")]
    RouterAlertMissing,
    /// A Report or Done for a multicast group: it belongs to the kernel, not to us.
    #[error("the group is a multicast address")]
    Multicast,
    /// An address that cannot be anycast.
    #[error("{0} addresses cannot be anycast")]
    NotAnycast(AddressKind),
    /// The Payload Proto field of a Mobility Header is not 59. RFC 6275 section 9.2 answers with
    /// Parameter Problem code 0.
    #[error("Payload Proto {value} at {offset} is not 59")]
    PayloadProto {
        /// The Payload Proto octet.
        offset: usize,
        /// Its value.
        value: u8,
    },
    /// The Header Len field of a Mobility Header is less than its MH Type needs. RFC 6275
    /// section 9.2 answers with Parameter Problem code 0.
    #[error("Header Len at {offset} is too small for the MH Type")]
    HeaderLength {
        /// The Header Len octet.
        offset: usize,
    },
    /// A Home Address option with a mobility message that must not have one (RFC 6275 section 6.1).
    #[error("a Home Address option does not belong to this message")]
    HomeAddressOption,
    /// A type 2 routing header with a mobility message (RFC 6275 section 6.1).
    #[error("a routing header of type {0} does not belong to this message")]
    RoutingHeader(u8),
    /// Something follows the Binding Authorization Data option, which must be last and without
    /// trailing padding (RFC 6275 section 6.2.7).
    #[error("the octets at {offset} follow the authorization option")]
    AfterAuthorization {
        /// The first octet after the option.
        offset: usize,
    },
    /// An authenticator is asked of, or placed into, a message without Binding Authorization Data.
    #[error("there is no authorization option")]
    AuthorizationMissing,
    /// The caller's buffer cannot hold the packet.
    #[error("the buffer is too small: {needed} octets are needed")]
    BufferTooSmall {
        /// Octets that the packet needs.
        needed: usize,
    },
    /// A payload that no Payload Length field can express.
    #[error("a payload of {0} octets does not fit an IPv6 packet")]
    PayloadTooLong(usize),
}

/// What an address that cannot be anycast is instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressKind {
    /// `::`
    Unspecified,
    /// `::1`
    Loopback,
    /// `ff00::/8`
    Multicast,
    /// `fe80::/10`
    LinkLocal,
    /// `::ffff:0:0/96`
    V4Mapped,
}

impl core::fmt::Display for AddressKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "unspecified",
            Self::Loopback => "loopback",
            Self::Multicast => "multicast",
            Self::LinkLocal => "link-local",
            Self::V4Mapped => "IPv4-mapped",
        })
    }
}
