//! Counts packets and octets by anycast and care-of address.

use core::ptr;

use anycast_common::abi::{
    counters::short,
    maps::{Account, Traffic, side},
};

use crate::maps::{ACCOUNTS, TRAFFIC};

/// The account of the packets of (B, C): that of all others, 0, where the controller has given it none. Both addresses
/// lie where eight octets may be read at once, as in all structures of the maps and in `Parsed`: copies would take more
/// of the stack than there is.
#[inline(always)]
pub(crate) fn account(anycast: &[u8; 16], care_of: &[u8; 16]) -> u32 {
    let (anycast, care_of) = (ptr::from_ref(anycast), ptr::from_ref(care_of));
    // SAFETY: both addresses are there, and aligned.
    unsafe { traffic_account(anycast.cast(), care_of.cast()) }
}

/// A function of its own, and followed once, for the sake of the stack. It is given words, for octets would be read one
/// by one.
///
/// # Safety
///
/// Both addresses must be there.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn traffic_account(
    anycast: *const [u64; 2],
    care_of: *const [u64; 2],
) -> u32 {
    // SAFETY: by the caller; the verifier cannot know that they are there.
    let (Some(anycast), Some(care_of)) = (unsafe { (anycast.as_ref(), care_of.as_ref()) }) else {
        return 0;
    };
    let pair = [*anycast, *care_of];
    const {
        assert!(size_of::<Account>() == size_of::<[[u64; 2]; 2]>());
    }
    // SAFETY: it is of the same octets, and the entry is a plain integer.
    unsafe { ACCOUNTS.get(&*(&raw const pair).cast::<Account>()) }
        .copied()
        .unwrap_or(0)
}

/// Counts a packet of so many octets, which goes to the member when the destination of it is what changes, and else to
/// the client.
#[inline(always)]
pub(crate) fn count(account: u32, side: u8, octets: u64) {
    add(account, side == side::DESTINATION, octets, |traffic| {
        if side == side::DESTINATION {
            &raw mut traffic.to_member.packets
        } else {
            &raw mut traffic.to_client.packets
        }
    });
}

/// The same of a packet that goes the short way, which of them is one of [`short`].
#[inline(always)]
pub(crate) fn count_short(account: u32, way: usize, octets: u64) {
    let to_member = matches!(way, short::TO_CARE_OF | short::TO_CARE_OF_BY_KERNEL);
    add(account, to_member, octets, |traffic| {
        &raw mut traffic.short[way]
    });
}

#[inline(always)]
fn add(account: u32, to_member: bool, octets: u64, packets: impl FnOnce(&mut Traffic) -> *mut u64) {
    let Some(traffic) = TRAFFIC.get_ptr_mut(account) else {
        return;
    };
    // SAFETY: the slot belongs to this CPU, and XDP and TCX programs are not preempted by another of ours on it.
    unsafe {
        *packets(&mut *traffic) += 1;
        if to_member {
            (*traffic).to_member.octets += octets;
        } else {
            (*traffic).to_client.octets += octets;
        }
    }
}
