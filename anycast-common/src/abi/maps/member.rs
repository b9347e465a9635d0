//! What a member serves, to whom, and how its flows reach it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::address::Address;

layout!(LocalCareOf: 24, LocalAnycast: 8, MemberFlow: 40, Client: 8);

/// A dedicated unicast address of this member, keyed by C. Map `LOCAL_CARE_OF`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct LocalCareOf {
    /// The anycast address it stands for, B.
    pub anycast: Address,
    /// Checksum delta C -> B.
    pub delta: u16,
    /// Zero.
    pub reserved: [u8; 6],
}

/// An anycast address that this member serves, keyed by B. Map `LOCAL_ANYCAST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct LocalAnycast {
    /// 1: new clients are reported to the controller; 0: draining, they are not.
    pub report_clients: u32,
    /// Zero.
    pub reserved: u32,
}

/// How a flow reaches this member. Map `MEMBER_FLOWS` (LRU).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct MemberFlow {
    /// The care-of address by which it came, C.
    pub care_of: Address,
    /// Last packet from the client by C.
    pub last_in: u64,
    /// The flow went back to B: until this time it stays there, and bare TCP resets that come by
    /// C are not believed, since segments that were under way from C may have caused them.
    pub settles_at: u64,
    /// Checksum delta B -> C.
    pub delta: u16,
    /// 1: answers leave from B; 0: from C.
    pub by_anycast: u8,
    /// 1: the client sent FIN, or one of both RST. Octets of their own, which two CPUs can write at
    /// once.
    pub client_closed: u8,
    /// 1: the member sent FIN, or one of both RST.
    pub member_closed: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// What the member knows of a client of one of its anycast addresses. Map `CLIENTS` (LRU).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Client {
    /// Packets of this client to B are not reported before this time: a handshake is under way, a
    /// binding stands, or the client cannot bind.
    pub quiet_until: u64,
}
