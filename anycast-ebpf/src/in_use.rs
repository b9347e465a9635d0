//! The next hops that XDP sends to, for the controller to have them probed.

use anycast_common::abi::maps::{self, unattended};
use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;

use crate::{
    from_client::{is_unattended, was_attended},
    hints,
    sketch::words,
};

/// Notes that XDP sends to a next hop, about once a second for each, so that the controller has it probed. Gives
/// whether this packet is to be left to the kernel: while there is no controller, one in a while has to remind the
/// kernel of the neighbour, or it would be used for ever with an Ethernet address that it has no more.
#[inline(always)]
pub(crate) fn note(ifindex: u32, address: &[u8; 16]) -> bool {
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    let used = unattended::tick(now);
    let halves = words(address);
    let mixed = (halves[0] ^ u64::from(ifindex)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ halves[1].wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    let first = (mixed >> 40) as usize;
    let (one, other) = (hints::next_hop(first), hints::next_hop(first ^ 1));
    // SAFETY: both are aligned and there.
    let place = unsafe {
        let age =
            |slot: *mut maps::NextHop| used.wrapping_sub((&raw const (*slot).used).read_volatile());
        if is(other, ifindex, halves) || !is(one, ifindex, halves) && age(other) > age(one) {
            other
        } else {
            one
        }
    };
    // SAFETY: as above; whole words are written.
    unsafe {
        // It was noted, or there are two others that are used.
        if (&raw const (*place).used).read_volatile() == used {
            return false;
        }
        (&raw mut (*place).address)
            .cast::<[u64; 2]>()
            .write_volatile(halves);
        (&raw mut (*place).ifindex).write_volatile(ifindex);
        (&raw mut (*place).used).write_volatile(used);
    }
    was_attended() && is_unattended(now)
}

/// Whether the place has this next hop.
///
/// # Safety
///
/// The place is there.
#[inline(always)]
unsafe fn is(place: *mut maps::NextHop, ifindex: u32, halves: [u64; 2]) -> bool {
    // SAFETY: by the caller.
    let (address, its) = unsafe {
        (
            (&raw const (*place).address)
                .cast::<[u64; 2]>()
                .read_volatile(),
            (&raw const (*place).ifindex).read_volatile(),
        )
    };
    (address[0] ^ halves[0]) | (address[1] ^ halves[1]) | u64::from(its ^ ifindex) == 0
}
