//! The short way: for packets that neither belong to an address we track nor need a note for the rate limits, and for
//! packets of bound flows whose next hop was found a moment ago.
//!
//! It may always say that it does not know; `classify` then looks at everything. What it does say must
//! be what `classify` would have said.

use anycast_common::abi::{
    maps::{mixed, whose as role},
    roles::{CORRESPONDENT, MEMBER},
};
use aya_ebpf::bindings::xdp_action::XDP_PASS;

use crate::{
    hints::{in_scope, is_noted, ours, whose},
    packet::{Bytes, ETHERTYPE_IPV6, ETHERTYPE_QINQ, ETHERTYPE_VLAN, IPV6},
    transport::{HOP_BY_HOP, ICMPV6, TCP, TCP_RST, TCP_SYN, UDP},
};

// Where fields are in a frame without a VLAN tag or an extension header.
const ETHERTYPE: usize = 12;
const HEADER: usize = 14;
pub(crate) const LENGTH: usize = 18;
const NEXT_HEADER: usize = 20;
const SOURCE: usize = 22;
const DESTINATION: usize = 38;
const PORTS: usize = 54;
const TCP_FLAGS: usize = 67;
/// Octets of its headers, the shortest of the transport headers included.
pub(crate) const HEADERS: usize = 62;

/// The bits of the first word of an IPv6 header that are compared. Routes may depend on the traffic class and the flow
/// label, but not on ECN.
const COUNTS: u64 = u64::from_ne_bytes([0xff, 0xcf, 0xff, 0xff, 0, 0, 0xff, 0]);

/// A frame, perhaps of TCP or UDP, of which [`HEADERS`] octets are there.
///
/// Its fields are read where they are wanted: what is kept beyond a call of a helper has to be stored and loaded
/// as well.
#[derive(Clone, Copy)]
pub(crate) struct Head(pub *mut u8);

impl Head {
    /// When there are enough octets.
    #[inline(always)]
    pub(crate) fn of(ctx: &impl Bytes) -> Option<Self> {
        let head = Self(ctx.start() as *mut u8);
        head.reaches(ctx, HEADERS).then_some(head)
    }

    /// A field, wherever it lies: see [`crate::packet::Bytes::at`] about alignment.
    ///
    /// # Safety
    ///
    /// The field must lie within the octets that were checked.
    #[inline(always)]
    pub(crate) unsafe fn field<T>(self, offset: usize) -> *mut T {
        // SAFETY: by the caller.
        unsafe { self.0.add(offset).cast() }
    }

    #[inline(always)]
    pub(crate) fn source(self) -> [u64; 2] {
        self.address(SOURCE)
    }

    #[inline(always)]
    pub(crate) fn destination(self) -> [u64; 2] {
        self.address(DESTINATION)
    }

    #[inline(always)]
    pub(crate) fn protocol(self) -> u8 {
        // SAFETY: the bounds were checked.
        unsafe { *self.field(NEXT_HEADER) }
    }

    #[inline(always)]
    pub(crate) fn ethertype(self) -> u16 {
        // SAFETY: as above.
        unsafe { self.field::<u16>(ETHERTYPE).read_volatile() }
    }

    /// Its first eight octets.
    #[inline(always)]
    pub(crate) fn first(self) -> u64 {
        // SAFETY: as above.
        unsafe { *self.field(0) }
    }

    /// Traffic class without ECN, flow label and protocol.
    #[inline(always)]
    pub(crate) fn flow_header(self) -> u64 {
        // SAFETY: as above.
        unsafe { *self.field::<u64>(HEADER) & COUNTS }
    }

    /// Octets of the packet, of which its header tells.
    #[inline(always)]
    pub(crate) fn octets(self) -> u64 {
        // SAFETY: as above.
        let payload = unsafe { *self.field::<u16>(LENGTH) };
        u64::from(u16::from_be(payload)) + IPV6 as u64
    }

    /// Both ports, as they lie in memory.
    #[inline(always)]
    pub(crate) fn ports(self) -> u32 {
        // SAFETY: as above.
        unsafe { *self.field(PORTS) }
    }

    #[inline(always)]
    fn address(self, offset: usize) -> [u64; 2] {
        // SAFETY: as above.
        unsafe { [*self.field(offset), *self.field(offset + 8)] }
    }

    /// Where it ends.
    #[inline(always)]
    pub(crate) fn reaches(self, ctx: &impl Bytes, end: usize) -> bool {
        self.0 as usize + end <= ctx.end()
    }
}

/// Not an XDP action: a short way does not know.
pub(crate) const UNDECIDED: u32 = u32::MAX;

/// Both addresses of a packet, of which each is given [`mixed`], as one number.
#[inline(always)]
pub(crate) fn both(source: u64, destination: u64) -> u64 {
    source ^ destination >> 8
}

/// What a frame is at first sight.
pub(crate) enum Sight {
    /// XDP action.
    Done(u32),
    /// Plain TCP or UDP, perhaps of a bound flow; see [`both`] about the addresses.
    Flow(u64),
    /// No tag, and neither TCP nor UDP.
    Other,
    Unknown,
}

/// What can be said of a frame without a call or a map.
#[inline(always)]
pub(crate) fn sight<const ROLES: u8>(ctx: &impl Bytes) -> Sight {
    let Some(head) = Head::of(ctx) else {
        return Sight::Unknown;
    };
    if head.ethertype() != ETHERTYPE_IPV6 {
        // Read again, so that the compiler does not look for tags before it looks for IPv6.
        let tagged = matches!(head.ethertype(), ETHERTYPE_VLAN | ETHERTYPE_QINQ);
        return if tagged {
            Sight::Unknown
        } else {
            Sight::Done(XDP_PASS)
        };
    }
    let protocol = head.protocol();
    if ROLES & (MEMBER | CORRESPONDENT) == 0 {
        // A router looks at nothing but MLD.
        let mld = protocol == HOP_BY_HOP || protocol == ICMPV6;
        return if mld {
            Sight::Other
        } else {
            Sight::Done(XDP_PASS)
        };
    }
    if protocol != TCP && protocol != UDP {
        return Sight::Other;
    }
    let destination = mixed(head.destination());
    if ROLES & CORRESPONDENT == 0 {
        return if ours(destination) != 0 {
            Sight::Unknown
        } else {
            Sight::Done(XDP_PASS)
        };
    }
    let source = mixed(head.source());
    if may_be_bound(ctx, head, ours(source), ours(destination)) {
        return Sight::Flow(both(source, destination));
    }
    // It may be a client's packet to an anycast address, and the first of a flow or the first in a while.
    if in_scope(head.source()[0], head.destination()[0])
        && !is_known(ctx, head, source, destination)
    {
        return Sight::Unknown;
    }
    Sight::Done(XDP_PASS)
}

/// Whether a packet of TCP or UDP may be one of a flow that is, or may be, bound. Of its addresses is given what they
/// may be. What an anycast address sends, or what comes to a care-of address, is none, unless it is a reset, which says
/// that somebody does not know the flow.
#[inline(always)]
pub(crate) fn may_be_bound(ctx: &impl Bytes, head: Head, source: u8, destination: u8) -> bool {
    let both = u32::from(destination) | u32::from(source) << SOURCES;
    if both == 0 {
        return false;
    }
    both & BOUND != 0 || is_reset(ctx, head)
}

const SOURCES: u32 = 8;
const BOUND: u32 =
    (role::ANYCAST | role::LOCAL) as u32 | ((role::CARE_OF | role::LOCAL) as u32) << SOURCES;

#[inline(always)]
fn is_reset(ctx: &impl Bytes, head: Head) -> bool {
    if head.protocol() != TCP {
        return false;
    }
    // SAFETY: the bounds are checked.
    !head.reaches(ctx, TCP_FLAGS + 1) || unsafe { *head.field::<u8>(TCP_FLAGS) } & TCP_RST != 0
}

/// Whether nothing is to be noted of the packet, whose addresses are given [`mixed`].
#[inline(always)]
pub(crate) fn is_known(ctx: &impl Bytes, head: Head, source: u64, destination: u64) -> bool {
    let protocol = head.protocol();
    if protocol == TCP {
        if !head.reaches(ctx, TCP_FLAGS + 1) {
            return false;
        }
        // SAFETY: the bounds were checked.
        let flags = unsafe { *head.field::<u8>(TCP_FLAGS) };
        if flags & TCP_SYN != 0 {
            return false;
        }
    }
    let whose = whose(source, destination, protocol, head.ports());
    is_noted(head.source(), whose)
}
