//! What a member serves, to whom, and how its flows reach it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::address::Address;

layout!(LocalCareOf: 24, LocalAnycast: 8, MemberFlow: 64, Client: 48);

/// A dedicated unicast address of this member, keyed by C. Map `LOCAL_CARE_OF`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct LocalCareOf {
    /// The anycast address it stands for, B.
    pub anycast: Address,
    /// Index in the map `TRAFFIC` of what is counted of (B, C).
    pub account: u32,
    /// Checksum delta C -> B.
    pub delta: u16,
    /// Zero.
    pub reserved: [u8; 2],
}

/// An anycast address that this member serves, keyed by B. Map `LOCAL_ANYCAST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct LocalAnycast {
    /// 1: new clients are reported to the controller; 0: draining, they are not.
    pub report_clients: u32,
    /// Index in the map `TRAFFIC` of what is counted of its packets by plain anycast.
    pub account: u32,
}

/// A flow that a client opened at B or C, from its first packet on. Map `MEMBER_FLOWS` (LRU).
///
/// What this host sends from C by itself is noted in the same map, by a key that names C where others name B.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct MemberFlow {
    /// The care-of address by which it came last, C; zero while it has come by B alone.
    pub care_of: Address,
    /// Last packet from the client.
    pub last_in: u64,
    /// Until this time the flow stays as it is. After it went back to B, bare TCP resets that come by C are not
    /// believed so long, since segments that were under way from C may have caused them; after it went over to C,
    /// packets by B are taken for late ones.
    pub settles_at: u64,
    /// Whether the next packet may be a [`canary`] is not asked before this time.
    pub asks_at: u64,
    /// TCP: what this host has acknowledged last.
    pub acknowledged: u32,
    /// TCP: the end of what this host has sent.
    pub sent: u32,
    /// TCP: the end of what the client sends, if its FIN is true, see [`closed::ASKED`].
    pub client_end: u32,
    /// The [`canary::binding`] for which `canaries` counts.
    pub led_in: u32,
    /// 1: answers leave from B; 0: from C.
    pub by_anycast: u8,
    /// Union of [`closed`]: how the client has ended the connection. Octets of their own, which two CPUs can write
    /// at once.
    pub client_closed: u8,
    /// Union of [`closed`]: how the member has ended the connection.
    pub member_closed: u8,
    /// One of [`stage`].
    pub stage: u8,
    /// Packets that left from C while the flow came by B.
    pub canaries: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

impl MemberFlow {
    /// Whether both ends have ended the connection.
    #[inline(always)]
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        const CLOSED: u8 = closed::ENDED | closed::RESET;
        self.client_closed & CLOSED != 0 && self.member_closed & CLOSED != 0
    }
}

/// Values of [`MemberFlow::stage`].
pub mod stage {
    /// The client has sent something.
    pub const OPENED: u8 = 0;
    /// This host has answered.
    pub const ANSWERED: u8 = 1;
    /// The client went on after that; of TCP, the connection is established.
    pub const GOES_ON: u8 = 2;
    /// This host has opened it, not the client.
    pub const OWN: u8 = 3;
}

/// Bits of [`MemberFlow::client_closed`] and [`MemberFlow::member_closed`].
pub mod closed {
    /// A FIN, which of the client's counts when this host has acknowledged it.
    pub const ENDED: u8 = 1;
    /// A reset, which counts until either side goes on.
    pub const RESET: u8 = 2;
    /// The client sent a FIN that this host has not acknowledged yet.
    pub const ASKED: u8 = 4;
}

/// How a member tries whether a flow can go by C: packets that leave from there while the flow comes by B.
pub mod canary {
    /// Those of one flow for one binding.
    pub const MOST: u8 = 3;
    /// Those of all flows of a client for one binding, while none has worked.
    pub const UNPROVEN: u8 = 32;
    /// Nanoseconds between those of one flow.
    pub const PACE: u64 = 100_000_000;
    /// Nanoseconds until it is looked again for a binding, or for a packet that is no more than a few on the wire.
    pub const AGAIN: u64 = 5_000_000;
    /// Packets of the wire that one may be merged of.
    pub const MERGED: u32 = 2;
    /// Any may be one when the binding holds for no longer than this any more, in nanoseconds: 0.5 s after it was
    /// made.
    pub const PATIENCE: u64 = 15_500_000_000;
    /// When no flow of a client came over to C while it was bound, there is a pause of twice this time, in nanoseconds;
    /// and twice as long each time.
    pub const PAUSE: u64 = 8_000_000_000;
    /// How often it doubles: half an hour at most.
    pub const DOUBLINGS: u8 = 8;

    /// By what a binding that ends at this time, in nanoseconds, is known.
    #[inline(always)]
    #[must_use]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "it need only differ from the next"
    )]
    pub const fn binding(lead_until: u64) -> u32 {
        (lead_until >> 20) as u32
    }
}

/// What the member knows of a client of one of its anycast addresses. Map `CLIENTS` (LRU).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Client {
    /// Packets of this client to B are not reported before this time: a handshake is under way, a
    /// binding stands, or the client cannot bind.
    pub quiet_until: u64,
    /// Until this time the client is bound, and its flows may be led to `care_of`.
    pub lead_until: u64,
    /// No [`canary`] before this time.
    pub pause_until: u64,
    /// The care-of address that it is bound to, C.
    pub care_of: Address,
    /// The [`canary::binding`] for which `tried` and `worked` speak.
    pub led_in: u32,
    /// Bindings in a row for which no canary worked.
    pub failures: u8,
    /// How many canaries there were, 255 at most.
    pub tried: u8,
    /// 1: a flow came over to C.
    pub worked: u8,
    /// Zero.
    pub reserved: u8,
}

impl Client {
    /// Nothing is known of it.
    pub const UNKNOWN: Self = Self {
        quiet_until: 0,
        lead_until: 0,
        pause_until: 0,
        care_of: [0; 16],
        led_in: 0,
        failures: 0,
        tried: 0,
        worked: 0,
        reserved: 0,
    };
}
