//! Keys and values of the maps. The maps themselves are declared in `anycast-ebpf/src/maps.rs`.

use core::mem::offset_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::flow_table::{Header, Set};

/// An IPv6 address in network order.
pub type Address = [u8; 16];

macro_rules! layout {
    ($($type:ident: $size:literal),* $(,)?) => {
        $(
            const _: () = assert!(size_of::<$type>() == $size && align_of::<$type>() <= 8);

            // SAFETY: `FromBytes` and `IntoBytes` below say that every bit pattern is a value and
            // that there is no padding.
            #[cfg(feature = "user")]
            unsafe impl aya::Pod for $type {}
        )*
    };
}
layout!(
    PolicyRule: 80, Refused: 64, Example: 16, NewSenders: 8, Sender: 32, FlowKey: 40, Flow: 56, BindingKey: 32, Binding: 32, CareOfKey: 32, CareOf: 24,
    LocalCareOf: 24, LocalAnycast: 8, MemberFlow: 40, Client: 8, FragmentKey: 40, Fragment: 32,
    Set: 1088, Header: 48, Rate: 16, Scope: 32, Hints: 65568, Noted: 32, CachedFlow: 64, CachedWay: 64,
);

/// A token bucket, which a map keeps as the time, in nanoseconds of `CLOCK_MONOTONIC_COARSE`, at
/// which it is full again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Rate {
    /// Nanoseconds in which a token grows.
    pub every: u64,
    /// Nanoseconds in which all tokens but one grow.
    pub depth: u64,
}

/// One ordered rule of the router's policy (draft host-anycast section 5): the first match wins, and a
/// Report that no rule matches is refused. The controller compiles them all for the map `POLICY`, see
/// [`Policy`](super::policy::Policy).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct PolicyRule {
    /// Source prefix, host bits zero.
    pub source: Address,
    /// Mask of `source`.
    pub source_mask: Address,
    /// Anycast prefix, host bits zero.
    pub anycast: Address,
    /// Mask of `anycast`.
    pub anycast_mask: Address,
    /// Interface index; 0 matches every interface.
    pub ifindex: u32,
    /// [`policy`] action.
    pub action: u8,
    /// 1 when `mac` must match, because a link-local source is easy to forge.
    pub match_mac: u8,
    /// Ethernet source address.
    pub mac: [u8; 6],
    /// Number of the rule, below [`DEFAULT_DENY`]: its place in the map `POLICY_HITS`.
    pub id: u32,
}

// What is said to be the default can be configured.

/// Default capacity of the maps `BINDINGS` and `CARE_OF`.
pub const BINDINGS: u32 = 131_072;
/// Default capacity of the maps `FLOWS`, see [`flow_table`](super::flow_table), and `MEMBER_FLOWS` (LRU).
pub const FLOWS: u32 = 262_144;
/// Default capacity of the map `CLIENTS` (LRU).
pub const CLIENTS: u32 = 131_072;
/// Default capacity of the map `FRAGMENTS` (LRU).
pub const FRAGMENTS: u32 = 16_384;
/// Capacity of the map `UNREACHABLE` (LRU): by C, when the controller was last told that it cannot be
/// reached.
pub const UNREACHABLE: u32 = 4096;
/// Capacity of the map `CLIENT_PREFIXES`.
pub const CLIENT_PREFIXES: u32 = 1024;
/// Capacity of the map `ANYCAST_PREFIXES`.
pub const ANYCAST_PREFIXES: u32 = 1024;
/// Places in each of the two rows of the map `SENT`.
pub const SENT_ROW: u32 = 1 << 18;
/// Places in each of the two rows of the map `BUCKETS`.
pub const BUCKETS_ROW: u32 = 1 << 16;
/// Capacity of the maps `LOCAL_ANYCAST` and `LOCAL_CARE_OF`.
pub const LOCAL_GROUPS: u32 = 4096;

/// Octets of [`Hints::addresses`], of which [`our_address`] says which is an address's. Those of the anycast
/// and care-of addresses that any map speaks of are 1, and none ever becomes 0 again: a packet without one
/// is nobody's here, one with it may be.
pub const OUR_ADDRESSES: u32 = 1 << 16;

/// An address as a number that looks random. `address` is the two halves as they lie in memory.
#[inline(always)]
#[must_use]
pub const fn mixed(address: [u64; 2]) -> u64 {
    let high = address[0].wrapping_mul(0x9e37_79b9_7f4a_7c15);
    // A product tells nothing of the last octets in its low bits, so they come first, too.
    let low = address[1].wrapping_add(address[1] >> 32);
    high.wrapping_add(low.wrapping_mul(0xc2b2_ae3d_27d4_eb4f))
}

/// Place of an address in [`Hints::addresses`], by [`mixed`].
#[inline(always)]
#[must_use]
#[allow(clippy::cast_possible_truncation, reason = "16 bits remain")]
pub const fn our_address(mixed: u64) -> u32 {
    (mixed >> 48) as u32
}

/// Entries of the map `FLOW_CACHE` for each CPU. A flow has four to choose from: two pairs.
pub const FLOW_CACHE: u32 = 1 << 16;
/// Entries of the map `WAYS` for each CPU. A way has two to choose from, side by side.
pub const WAYS: u32 = 1 << 13;
/// What is in the maps `FLOW_CACHE` and `WAYS` and in [`Noted`] holds for so many nanoseconds at most, as a power of
/// two. What the map `FLOWS` says of times is exact to as many.
pub const FLOW_CACHE_LIFE: u32 = 28;
/// How many clients are [`Noted`].
pub const NOTED: u32 = 4096;

/// What all prefixes of clients, and of anycast addresses, have in common in their first 64 bits, as
/// they lie in memory. Zero masks exclude nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Scope {
    /// Of the map `CLIENT_PREFIXES`.
    pub client: u64,
    /// Which bits of `client` count.
    pub client_mask: u64,
    /// Of the map `ANYCAST_PREFIXES`.
    pub anycast: u64,
    /// Which bits of `anycast` count.
    pub anycast_mask: u64,
}

/// By what the programs tell soon that a packet needs no thought. Written by the controller alone, and
/// read by every packet, so it is a section of the object: its address is a constant of the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Hints {
    /// Whose packets the map `SENT` notes.
    pub scope: Scope,
    /// See [`OUR_ADDRESSES`].
    pub addresses: [u8; OUR_ADDRESSES as usize],
}

impl Hints {
    /// Section of the object, and name of its map.
    pub const SECTION: &str = ".data.hints";
}

/// Section of a `u64`, and name of its map: a change of it ends all that is cached. Counted in steps of [`AGE`]. By
/// itself, since it changes with every route and every pin that ends.
pub const AGE_SECTION: &str = ".data.age";

/// What a stamp counts above the time in jiffies, which do not come so far in 30 years.
pub const AGE: u64 = 1 << 40;

/// A source about which the map `SENT` has nothing more to learn for a while. All CPUs share these in a
/// section of the object; what two of them write at once is nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Noted {
    /// The source address.
    pub source: [u64; 2],
    /// When it was noted, see [`CachedFlow::stamp`], and the source [`mixed`], added up.
    pub stamp: u64,
    /// Zero.
    pub reserved: u64,
}

/// A pinned flow in one direction: by what its packets are known. One line of a processor's cache. Map
/// `FLOW_CACHE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct CachedFlow {
    /// Addresses of its packets, before one is rewritten.
    pub source: [u64; 2],
    /// The other one.
    pub destination: [u64; 2],
    /// The first octets of the IPv6 header, without ECN, length and hop limit: traffic class and flow label, on
    /// which routes may depend, and the protocol.
    pub header: u64,
    /// Both ports, as they lie in memory.
    pub ports: u32,
    /// Interface by which they come.
    pub ingress: u32,
    /// When the entry was made, in jiffies, and [`AGE`] as it was then.
    pub stamp: u64,
    /// Place of its [`CachedWay`] in the map `WAYS`.
    pub way: u32,
    /// Zero.
    pub reserved: u32,
}

/// What becomes of the packets of flows, and by which next hop they go. Flows to one member by one next hop
/// share it. Map `WAYS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct CachedWay {
    /// The new address.
    pub address: [u64; 2],
    /// Ethernet addresses of the next hop and of the interface.
    pub ethernet: [u32; 3],
    /// Interface by which they go.
    pub ifindex: u32,
    /// [`place`] of the address that gives way.
    pub place: u32,
    /// Octets of the largest IPv6 packet that goes there.
    pub mtu: u16,
    /// What the new address does to a checksum.
    pub delta: u16,
    /// When a flow was last told to use it, see [`CachedFlow::stamp`]: no flow that does is younger.
    pub stamp: u64,
    /// Zero.
    pub reserved: [u64; 2],
}

/// Rules of a policy, with the default deny as the last, and capacity of the map `POLICY_HITS`.
pub const POLICY_RULES: u32 = 256;
/// Place in the map `POLICY_HITS` of what no rule matched. A per-CPU `u64` for each rule counts
/// what it decided.
pub const DEFAULT_DENY: u32 = POLICY_RULES - 1;

/// Reports and Dones that the map `REFUSED` holds for each CPU.
pub const REFUSED: u32 = 4096;

/// A Report or Done that the policy refuses, to the last octet that matters: its checksum was right.
/// Map `REFUSED`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Refused {
    /// Ethernet source and type.
    pub ethernet: u64,
    /// Link-local source.
    pub source: [u64; 2],
    /// The MLD message.
    pub message: [u64; 3],
    /// The timer tick, in jiffies, in which such refusals were known to need no example, and [`AGE`] for each
    /// policy until then, this one included.
    pub stamp: u64,
    /// Interface by which it came.
    pub ifindex: u32,
    /// Number of the rule.
    pub rule: u16,
    /// The counter of such refusals.
    pub reason: u16,
}

/// Examples of one reason for refusals. Map `EXAMPLES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Example {
    /// When the token bucket is full again.
    pub full: u64,
    /// The timer tick, in jiffies, in which it was last found empty: it is so until the next.
    pub empty_in: u64,
}

/// Whose bucket for new senders. Map `NEW_SENDERS_FULL` (LRU); the value is as in `SENDERS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct NewSenders {
    /// Number of the rule that allows them.
    pub rule: u32,
    /// Interface index.
    pub ifindex: u32,
}

/// Who sent a Report or Done. Map `SENDERS` (LRU); the value is the time, in nanoseconds of
/// `CLOCK_MONOTONIC_COARSE`, at which the sender's token bucket is full again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Sender {
    /// Link-local source.
    pub source: Address,
    /// Interface index.
    pub ifindex: u32,
    /// Ethernet source.
    pub mac: [u8; 6],
    /// Zero.
    pub reserved: [u8; 6],
}

/// Indices of the map `WHOLE`: a token bucket of each CPU for all events of a kind.
pub mod whole {
    /// Test Inits.
    pub const TEST_INITS: u32 = 0;
    /// Binding Updates.
    pub const UPDATES: u32 = 1;
    /// Added to these when the client sent a packet of late.
    pub const SOLICITED: u32 = 2;
    /// New clients of a member.
    pub const NEW_CLIENTS: u32 = 4;
    /// Answers to a member's messages.
    pub const ANSWERS: u32 = 5;
    /// ICMPv6 errors about them.
    pub const ERRORS: u32 = 6;
    /// MLD Queries.
    pub const QUERIES: u32 = 7;
    /// How many there are.
    pub const ALL: u32 = 8;
}

/// Values of [`PolicyRule::action`].
pub mod policy {
    /// The Report goes to the controller.
    pub const ALLOW: u8 = 1;
    /// The Report is dropped and counted.
    pub const DENY: u8 = 2;
}

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

/// A flow pinned to a care-of address at the correspondent. Map `FLOWS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Flow {
    /// The member's unicast address, C.
    pub care_of: Address,
    /// When the flow was pinned.
    pub pinned_at: u64,
    /// Last packet from the client.
    pub last_out: u64,
    /// Last packet from the member; 0 when none came yet.
    pub last_in: u64,
    /// Checksum delta B -> C (RFC 1624), see `wire::checksum::delta`.
    pub delta: u16,
    /// 1: the client sent FIN or RST. Octets of their own, which two CPUs can write at once.
    pub client_closed: u8,
    /// 1: the member sent FIN or RST.
    pub member_closed: u8,
    /// When the client began to send what is not answered yet, see [`unattended::tick`].
    pub asked_at: u32,
    /// When an ICMPv6 error about a packet of the flow said that C cannot be reached; 0 when none did.
    pub unreachable_at: u64,
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

/// Value of the map `CARE_OF`. It stands while a binding or a pinned flow uses the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct CareOf {
    /// The anycast address, B.
    pub anycast: Address,
    /// Checksum delta C -> B.
    pub delta: u16,
    /// Zero.
    pub reserved: [u8; 6],
}

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

/// The fragments of one packet (RFC 8200 section 4.5). Map `FRAGMENTS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct FragmentKey {
    /// Source address, before it is rewritten.
    pub source: Address,
    /// Destination address, before it is rewritten.
    pub destination: Address,
    /// Identification, network order.
    pub identification: u32,
    /// Next Header of the Fragment header.
    pub protocol: u8,
    /// 1: the source is the one that they got. So ICMPv6 errors quote them, and the note's address is the one
    /// that they had.
    pub quoted: u8,
    /// Zero.
    pub reserved: [u8; 2],
}

/// What became of the first fragment, for the others to follow. Map `FRAGMENTS` (LRU).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Fragment {
    /// The address that it got.
    pub address: Address,
    /// When.
    pub noted_at: u64,
    /// [`place`] of the address.
    pub place: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

/// Values of [`Fragment::place`].
pub mod place {
    /// No address changed.
    pub const NONE: u8 = 0;
    /// The source.
    pub const SOURCE: u8 = 1;
    /// The destination.
    pub const DESTINATION: u8 = 2;
}
