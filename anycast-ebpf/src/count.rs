//! Counters.

use anycast_common::abi::counters::Counter;

use crate::maps::COUNTERS;

/// Adds one to a counter of this CPU and gives its new value.
#[inline(always)]
pub(crate) fn count(counter: Counter) -> u64 {
    count_index(counter as u32)
}

/// The same by its number, which is what a BPF function can return.
#[inline(always)]
pub(crate) fn count_index(counter: u32) -> u64 {
    let Some(value) = COUNTERS.get_ptr_mut(counter) else {
        return 0;
    };
    // SAFETY: the slot belongs to this CPU, and XDP and TCX programs are not preempted by
    // another of ours on it.
    unsafe {
        *value += 1;
        *value
    }
}
