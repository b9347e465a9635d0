//! Bindings and pinned flows of a correspondent.

use core::mem::offset_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{address::Address, cache::FLOW_CACHE_LIFE};

layout!(FlowKey: 40, Flow: 80, BindingKey: 32, Binding: 32, CareOfKey: 32, CareOf: 32);

/// A transport flow as the client names it. Maps `FLOWS` and `MEMBER_FLOWS`.
///
/// Protocols without ports use 0; ICMPv6 echo puts its identifier in `client_port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct FlowKey {
    /// The client, A.
    pub client: Address,
    /// The anycast address, B.
    pub anycast: Address,
    /// Port of the client, network order.
    pub client_port: [u8; 2],
    /// Port of the service, network order.
    pub service_port: [u8; 2],
    /// Upper-layer protocol.
    pub protocol: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

impl FlowKey {
    /// (A, B) of the flow, in place.
    #[inline(always)]
    #[must_use]
    pub const fn binding(&self) -> &BindingKey {
        const {
            assert!(
                offset_of!(Self, client) == offset_of!(BindingKey, client)
                    && offset_of!(Self, anycast) == offset_of!(BindingKey, anycast)
            );
        }
        // SAFETY: it begins with the same fields in the same places, and is larger.
        unsafe { &*core::ptr::from_ref(self).cast() }
    }
}

/// What ends a pin while no controller does, which would do it earlier.
pub mod unattended {
    /// The map `ATTENDED` has one value: when a controller last said that it lives. So long after it is
    /// taken for dead, in nanoseconds.
    pub const AFTER: u64 = 120_000_000_000;
    /// A client that sends for so many ticks without an answer is sent elsewhere.
    pub const PATIENCE: u32 = 256;
    /// Unless it was silent itself for so long: longer than TCP's longest retransmission timer (120 s).
    pub const PAUSE: u64 = 150_000_000_000;

    /// Time in units of 2^30 nanoseconds, a little more than a second.
    #[must_use]
    #[inline(always)]
    pub const fn tick(nanoseconds: u64) -> u32 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it wraps, and differences are taken"
        )]
        let tick = (nanoseconds >> 30) as u32;
        tick
    }
}

/// What ends the trial of a flow that is bound: until C answers what its client sends by C, nobody knows whether it
/// can.
pub mod trial {
    /// A client that still sends so many nanoseconds after its first packet by C has no answer. Its third SYN comes
    /// three seconds after the first (RFC 6298 section 5.7), and finds it over.
    pub const PATIENCE: u64 = 2_900_000_000;
    /// The same for a flow that was answered before C reset it as a host does that does not know the connection. The
    /// programs of its member may be back by then; TCP tries again 2.8 and 6 seconds after the first time (RFC 6298).
    pub const DOUBT: u64 = 5_900_000_000;
    /// How far beyond the client's last segment an acknowledgement of C may be: what the client had sent by B, before
    /// it sent something again by C. Of acknowledgements that somebody guesses, a 4096th is within.
    pub const AHEAD: u32 = 1 << 20;
    /// A member says of each segment that it does not know the connection. What the client had sent by C before the
    /// first of these resets opened the flow again comes back within so many nanoseconds.
    pub const LATE: u64 = 1_000_000_000;
    /// An open TCP flow is remembered for so many [ticks](super::unattended::tick) after its last SYN.
    pub const OPEN_TCP: u32 = 64;
    /// Another for so many after its last packet: five minutes.
    pub const OPEN_OTHER: u32 = 280;
    /// Failures that each CPU tells the controller in a second, and as many at once; of a client and a care-of address
    /// one, after four.
    pub const TOLD: u64 = 200;
}

/// Values of [`Flow::state`].
pub mod state {
    /// The flow goes to B: no member is bound to it, or another than those that are.
    pub const OPEN: u8 = 0;
    /// Its first packet went to C by a live binding.
    pub const BOUND_FIRST: u8 = 1;
    /// Its member, at C, began to send from C when it was open.
    pub const BOUND_LED: u8 = 2;
    /// C answered, and has reset it since as a host does that does not know the connection. It is on trial once more.
    pub const BOUND_DOUBTED: u8 = 3;
    /// A member opened it from C, so it is none of B's: it stays as it is.
    pub const OWN: u8 = 4;

    /// Whether no packet of the flow is changed.
    #[must_use]
    pub const fn is_open(state: u8) -> bool {
        matches!(state, OPEN | OWN)
    }
}

/// A flow that the correspondent remembers: bound to a care-of address, or open. Map `FLOWS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Flow {
    /// The member's unicast address, C; `::` when the flow is open, or a member's own.
    pub care_of: Address,
    /// When the flow became what it is.
    pub pinned_at: u64,
    /// Last packet from the client.
    pub last_out: u64,
    /// Last packet from the member; 0 when none came yet.
    pub last_in: u64,
    /// Checksum delta B -> C (RFC 1624), see `wire::checksum::delta`.
    pub delta: u16,
    /// Not 0: the client sent FIN, or one of both RST; 3 where the numbers were near those of the flow. Octets of their
    /// own, which two CPUs can write at once.
    pub client_closed: u8,
    /// 1: the member sent FIN or RST that is not believed by itself; 3: one that is. Both ends together end the flow.
    pub member_closed: u8,
    /// When the client began to send what is not answered yet, see [`unattended::tick`].
    pub asked_at: u32,
    /// When an ICMPv6 error about a packet of the flow said that C cannot be reached; 0 when none did.
    pub unreachable_at: u64,
    /// When the client first sent by C what is to be answered; 0 when it has not yet.
    pub tried_at: u64,
    /// TCP: the sequence number of the client's first segment by C.
    pub tried_sequence: u32,
    /// TCP: the sequence number after the last segment of the client that was looked at.
    pub client_next: u32,
    /// TCP: the sequence number after the last segment of the member that was looked at.
    pub member_next: u32,
    /// One of [`state`].
    pub state: u8,
    /// 1: C has answered something that the client sent by C. Until then the flow is on trial.
    pub answered: u8,
    /// 1: the client has sent by C.
    pub tried: u8,
    /// Zero.
    pub reserved: u8,
}

impl Flow {
    /// By so many nanoseconds its times may be older than its last packets: what a program finds in its cache, it
    /// does not look up in the map.
    pub const TIMES_LAG: u64 = 1 << FLOW_CACHE_LIFE;
}

/// (A, B). Maps `BINDINGS` and `CLIENTS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct BindingKey {
    /// The client, A.
    pub client: Address,
    /// The anycast address, B.
    pub anycast: Address,
}

/// A verified binding at the correspondent. Map `BINDINGS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Binding {
    /// The member's unicast address, C.
    pub care_of: Address,
    /// New flows use the binding before this time, and not from it on.
    pub expires: u64,
    /// Checksum delta B -> C.
    pub delta: u16,
    /// Zero.
    pub reserved: [u8; 6],
}

/// (A, C). Map `CARE_OF`: which anycast address a member's packet belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct CareOfKey {
    /// The client, A.
    pub client: Address,
    /// The member's unicast address, C.
    pub care_of: Address,
}

impl CareOfKey {
    /// That of a flow whose key has C instead of B, in place.
    #[inline(always)]
    #[must_use]
    pub const fn of(key: &FlowKey) -> &Self {
        const {
            assert!(
                offset_of!(FlowKey, client) == offset_of!(Self, client)
                    && offset_of!(FlowKey, anycast) == offset_of!(Self, care_of)
            );
        }
        // SAFETY: it begins with the same fields in the same places, and is larger.
        unsafe { &*core::ptr::from_ref(key).cast() }
    }
}

/// Value of the map `CARE_OF`. It stands while a binding or a bound flow uses the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct CareOf {
    /// The anycast address, B.
    pub anycast: Address,
    /// Until then (A, B, C) is a live binding, and the member binds flows of its own when it sends from C. After
    /// it, only flows that are bound already use the pair.
    pub expires: u64,
    /// Checksum delta C -> B.
    pub delta: u16,
    /// Zero.
    pub reserved: [u8; 6],
}
