//! The short way for packets that need no thought: those that are nobody's here, and those of pinned
//! flows whose next hop was found a moment ago.
//!
//! It may always say that it does not know; `classify` then looks at everything. What it does say must
//! be what `classify` would have said.

use anycast_common::abi::{
    maps,
    roles::{CORRESPONDENT, MEMBER},
};
use aya_ebpf::{
    bindings::xdp_action::XDP_PASS, helpers::bpf_get_smp_processor_id, programs::XdpContext,
};

use crate::{
    flow_cache,
    hints::{holds, in_scope, is_ours, stamp},
    maps::NOTED,
    mld::HOP_BY_HOP,
    packet::{ETHERTYPE_IPV6, ETHERTYPE_QINQ, ETHERTYPE_VLAN},
    transport::{ICMPV6, TCP, UDP},
};

// Where fields are in a frame without a VLAN tag or an extension header.
const ETHERTYPE: usize = 12;
const NEXT_HEADER: usize = 20;
const SOURCE: usize = 22;
const DESTINATION: usize = 38;
/// Octets of its headers, the shortest of the transport headers included.
const HEADERS: usize = 62;

/// A frame, perhaps of TCP or UDP, of which [`HEADERS`] octets are there.
///
/// Its fields are read where they are wanted: what is kept beyond a call of a helper has to be stored and loaded
/// as well.
#[derive(Clone, Copy)]
pub(crate) struct Head(*mut u8);

impl Head {
    /// When there are enough octets.
    #[inline(always)]
    pub(crate) fn of(ctx: &XdpContext) -> Option<Self> {
        let head = Self(ctx.data() as *mut u8);
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
    fn address(self, offset: usize) -> [u64; 2] {
        // SAFETY: as above.
        unsafe { [*self.field(offset), *self.field(offset + 8)] }
    }

    /// Where it ends.
    #[inline(always)]
    pub(crate) fn reaches(self, ctx: &XdpContext, end: usize) -> bool {
        self.0 as usize + end <= ctx.data_end()
    }
}

/// The XDP action, when the short way leads to one.
#[inline(always)]
pub(crate) fn fast<const ROLES: u8>(ctx: &XdpContext) -> Option<u32> {
    let head = Head::of(ctx)?;
    // SAFETY: the bounds of this field and the next are checked.
    let ethertype = unsafe { *head.field::<u16>(ETHERTYPE) };
    if ethertype != ETHERTYPE_IPV6 {
        let tagged = ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_QINQ;
        return if tagged { None } else { Some(XDP_PASS) };
    }
    let protocol = head.protocol();
    if ROLES & (MEMBER | CORRESPONDENT) == 0 {
        // MLD is all that is for a router.
        let mld = protocol == HOP_BY_HOP || protocol == ICMPV6;
        return if mld { None } else { Some(XDP_PASS) };
    }
    if protocol != TCP && protocol != UDP {
        return None;
    }
    let to_us = is_ours(head.destination());
    if ROLES & CORRESPONDENT == 0 {
        return if to_us { None } else { Some(XDP_PASS) };
    }
    if to_us {
        return flow_cache::send(ctx, head);
    }
    // It may be a client's packet to an anycast address, and the first in a while.
    let to_be_noted = in_scope(head.source()[0], head.destination()[0]);
    if to_be_noted && is_noted(head) {
        return Some(XDP_PASS);
    }
    if is_ours(head.source()) {
        return flow_cache::send(ctx, head);
    }
    if to_be_noted { None } else { Some(XDP_PASS) }
}

/// Whether this source needs no attention for now.
#[inline(always)]
fn is_noted(head: Head) -> bool {
    let Some(noted) = NOTED.get(noted_place(head.source())) else {
        return false;
    };
    let source = head.source();
    let difference = (noted.source[0] ^ source[0]) | (noted.source[1] ^ source[1]);
    difference == 0 && holds(noted.stamp, stamp())
}

/// Notes that this source needs no more attention for now, unless its packets might be a member's.
#[inline(always)]
pub(crate) fn noted(source: [u64; 2]) {
    // Before it is asked, so that what the controller says meanwhile ends it.
    let stamp = stamp();
    if is_ours(source) {
        return;
    }
    if let Some(noted) = NOTED.get_ptr_mut(noted_place(source)) {
        // SAFETY: the slot belongs to this CPU, see `count`.
        unsafe {
            (*noted).source = source;
            (*noted).stamp = stamp;
        }
    }
}

/// Its place among those of this CPU.
#[inline(always)]
fn noted_place(source: [u64; 2]) -> u32 {
    let mixed = (source[0] ^ source[1]).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let place = (mixed >> 32) as u32 & (maps::NOTED - 1);
    // SAFETY: no arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    cpu * maps::NOTED + place
}
