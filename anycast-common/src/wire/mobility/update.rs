//! Binding Update and Binding Acknowledgement (RFC 6275 sections 6.1.7 and 6.1.8).

use core::net::Ipv6Addr;
use core::ops::BitOr;

/// Flag word of a Binding Update, bit for bit as received; ask with [`Flags::contains`], which
/// ignores the bits that it does not name.
///
/// The bits are named as the anycast return-routability draft draws them, `A|H|S|D|L|E`. RFC 6275
/// and RFC 3963 give other meanings to S, D, L and E when H is set; we never set H.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u16);

impl Flags {
    /// A: answer with a Binding Acknowledgement.
    pub const ACKNOWLEDGE: Self = Self(0x8000);
    /// H: home registration, never used here.
    pub const HOME: Self = Self(0x4000);
    /// S: single address.
    pub const SINGLE: Self = Self(0x2000);
    /// D: duplicate address detection.
    pub const DUPLICATE_DETECTION: Self = Self(0x1000);
    /// L: link-local address compatibility.
    pub const LINK_LOCAL: Self = Self(0x0800);
    /// E: a switch from an anycast address to an equivalent unicast address.
    pub const EQUIVALENT: Self = Self(0x0400);

    /// Whether every bit of `other` is set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A Binding Update.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BindingUpdate {
    /// Sequence number, compared modulo 2^16 (RFC 6275 section 9.5.1).
    pub sequence: u16,
    /// A, H and their neighbours.
    pub flags: Flags,
    /// Time in units of 4 seconds, except that 1 means 16 seconds when E is set; 0 deletes.
    pub lifetime: u16,
    /// Alternate Care-of Address option.
    pub alternate_care_of: Option<Ipv6Addr>,
    /// Nonce Indices option: home, care-of.
    pub nonce_indices: Option<(u16, u16)>,
    /// Binding Authorization Data option: first 96 bits of the MAC.
    pub authenticator: Option<[u8; 12]>,
}

/// A Binding Acknowledgement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BindingAck {
    /// One of [`status`]; below 128 the update was accepted.
    pub status: u8,
    /// K; a correspondent sends 0.
    pub key_management: bool,
    /// That of the update; with status 135 the last accepted one.
    pub sequence: u16,
    /// Granted time, unit as in [`BindingUpdate::lifetime`]; undefined when refused.
    pub lifetime: u16,
    /// Binding Authorization Data option.
    pub authenticator: Option<[u8; 12]>,
    /// Binding Refresh Advice option, units of 4 seconds.
    pub refresh_advice: Option<u16>,
}

/// Status values of a Binding Acknowledgement, RFC 6275 section 6.1.8.
pub mod status {
    /// Binding Update accepted.
    pub const ACCEPTED: u8 = 0;
    /// Reason unspecified.
    pub const UNSPECIFIED: u8 = 128;
    /// Administratively prohibited.
    pub const PROHIBITED: u8 = 129;
    /// Insufficient resources.
    pub const INSUFFICIENT_RESOURCES: u8 = 130;
    /// Home registration not supported.
    pub const HOME_REGISTRATION_NOT_SUPPORTED: u8 = 131;
    /// Sequence number out of window.
    pub const SEQUENCE_OUT_OF_WINDOW: u8 = 135;
    /// Expired home nonce index.
    pub const EXPIRED_HOME_NONCE: u8 = 136;
    /// Expired care-of nonce index.
    pub const EXPIRED_CARE_OF_NONCE: u8 = 137;
    /// Expired nonces.
    pub const EXPIRED_NONCES: u8 = 138;
    /// Registration type change disallowed.
    pub const TYPE_CHANGE: u8 = 139;
    /// Invalid care-of address.
    pub const INVALID_CARE_OF: u8 = 174;

    /// What a status says, in words; other than the above, whether it accepts or rejects.
    #[must_use]
    pub const fn name(status: u8) -> &'static str {
        match status {
            ACCEPTED => "accepted",
            UNSPECIFIED => "reason unspecified",
            PROHIBITED => "administratively prohibited",
            INSUFFICIENT_RESOURCES => "insufficient resources",
            HOME_REGISTRATION_NOT_SUPPORTED => "home registration not supported",
            SEQUENCE_OUT_OF_WINDOW => "sequence number out of window",
            EXPIRED_HOME_NONCE => "expired home nonce index",
            EXPIRED_CARE_OF_NONCE => "expired care-of nonce index",
            EXPIRED_NONCES => "expired nonces",
            TYPE_CHANGE => "registration type change disallowed",
            INVALID_CARE_OF => "invalid care-of address",
            1..UNSPECIFIED => "accepted, with a remark",
            _ => "rejected",
        }
    }
}
