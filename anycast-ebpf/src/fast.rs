//! The short way for packets that need no thought: those that are nobody's here, and those of pinned
//! flows whose next hop was found a moment ago.
//!
//! It may always say that it does not know; `classify` then looks at everything. What it does say must
//! be what `classify` would have said.

use anycast_common::abi::{
    maps::{self, our_address},
    roles::{CORRESPONDENT, MEMBER},
};
use aya_ebpf::{bindings::xdp_action::XDP_PASS, programs::XdpContext};

use crate::{
    flow_cache,
    maps::{NOTED, OUR_ADDRESSES, SCOPE},
    mld::HOP_BY_HOP,
    packet::{ETHERTYPE_IPV6, ETHERTYPE_QINQ, ETHERTYPE_VLAN},
    sketch,
    transport::{ICMPV6, TCP, UDP},
};

// Where fields are in a frame without a VLAN tag or an extension header.
const ETHERTYPE: usize = 12;
const NEXT_HEADER: usize = 20;
const SOURCE: usize = 22;
const DESTINATION: usize = 38;
/// Octets of its headers, the shortest of the transport headers included.
const HEADERS: usize = 62;

/// The first words of a frame of TCP or UDP.
pub(crate) struct Head {
    /// The frame, of which [`HEADERS`] octets are there.
    pub frame: *mut u8,
    pub protocol: u8,
    pub source: [u64; 2],
    pub destination: [u64; 2],
}

impl Head {
    /// A field, wherever it lies: see [`crate::packet::Bytes::at`] about alignment.
    ///
    /// # Safety
    ///
    /// The field must lie within the octets that were checked.
    #[inline(always)]
    pub(crate) unsafe fn field<T>(&self, offset: usize) -> *mut T {
        // SAFETY: by the caller.
        unsafe { self.frame.add(offset).cast() }
    }
}

/// The XDP action, when the short way leads to one.
#[inline(always)]
pub(crate) fn fast<const ROLES: u8>(ctx: &XdpContext) -> Option<u32> {
    let frame = ctx.data() as *mut u8;
    if ctx.data() + HEADERS > ctx.data_end() {
        return None;
    }
    // SAFETY: the bounds of this field and the next are checked.
    let ethertype = unsafe { *frame.add(ETHERTYPE).cast::<u16>() };
    if ethertype != ETHERTYPE_IPV6 {
        let tagged = ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_QINQ;
        return if tagged { None } else { Some(XDP_PASS) };
    }
    // SAFETY: as above.
    let protocol = unsafe { *frame.add(NEXT_HEADER) };
    if ROLES & (MEMBER | CORRESPONDENT) == 0 {
        // MLD is all that is for a router.
        let mld = protocol == HOP_BY_HOP || protocol == ICMPV6;
        return if mld { None } else { Some(XDP_PASS) };
    }
    if protocol != TCP && protocol != UDP {
        return None;
    }
    // SAFETY: as above.
    let head = unsafe {
        Head {
            frame,
            protocol,
            source: address(frame, SOURCE),
            destination: address(frame, DESTINATION),
        }
    };
    let to_us = is_ours(head.destination);
    if ROLES & CORRESPONDENT == 0 {
        return if to_us { None } else { Some(XDP_PASS) };
    }
    if to_us || is_ours(head.source) {
        return flow_cache::send(ctx, &head);
    }
    if is_to_be_noted(&head) {
        None
    } else {
        Some(XDP_PASS)
    }
}

/// Whether any map may speak of the address.
#[inline(always)]
fn is_ours(address: [u64; 2]) -> bool {
    let (word, bit) = our_address(address);
    OUR_ADDRESSES.get(word).is_none_or(|bits| bits & bit != 0)
}

/// Whether it may be a client's packet to an anycast address, and the first in a while.
#[inline(always)]
fn is_to_be_noted(head: &Head) -> bool {
    let Some(scope) = SCOPE.get(0) else {
        return true;
    };
    let from_client = (head.source[0] ^ scope.client) & scope.client_mask == 0;
    let to_anycast = (head.destination[0] ^ scope.anycast) & scope.anycast_mask == 0;
    if !(from_client && to_anycast) {
        return false;
    }
    let Some(noted) = NOTED.get_ptr(noted_place(head.source)) else {
        return true;
    };
    // SAFETY: the slot belongs to this CPU, see `count`.
    unsafe { (*noted).source != head.source || (*noted).tick != sketch::tick() }
}

/// Notes that this source needs no more attention until the next tick.
#[inline(always)]
pub(crate) fn noted(source: [u64; 2]) {
    if let Some(noted) = NOTED.get_ptr_mut(noted_place(source)) {
        // SAFETY: the slot belongs to this CPU, see `count`.
        unsafe {
            (*noted).source = source;
            (*noted).tick = sketch::tick();
        }
    }
}

#[inline(always)]
fn noted_place(source: [u64; 2]) -> u32 {
    let mixed = (source[0] ^ source[1]).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as u32 & (maps::NOTED - 1)
}

/// # Safety
///
/// The address must lie within the octets that were checked.
#[inline(always)]
unsafe fn address(frame: *mut u8, offset: usize) -> [u64; 2] {
    // SAFETY: by the caller; about alignment see `crate::packet::Bytes::at`.
    unsafe {
        [
            *frame.add(offset).cast::<u64>(),
            *frame.add(offset + 8).cast::<u64>(),
        ]
    }
}
