//! Flows whose trial failed: bound, and not answered by the member to which they were bound.

use anycast_common::abi::{
    counters::Counter,
    event::{HEADER, Header, TrialFailed, kind},
    maps::{FlowKey, Rate, trial, whole},
};
use aya_ebpf::helpers::bpf_ktime_get_ns;

use crate::{
    admission,
    count::{count, count_index},
    limit::now,
    maps::EVENTS,
    question::Question,
    sketch::{Bucket, words},
};

/// Of all flows, on each CPU.
const OF_ALL: Rate = Rate {
    every: 1_000_000_000 / trial::TOLD,
    depth: 1_000_000_000,
};
/// Of the flows of a client to a care-of address.
const OF_PAIR: Rate = Rate {
    every: 1_000_000_000,
    depth: 4_000_000_000,
};
/// Kind of keys in the sketch.
const PAIR: u64 = 3 << 8;

/// The flow of the question was bound to its address. A global function.
///
/// # Safety
///
/// The question must be there.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn trial_failed(question: *const Question, why: u32) -> u32 {
    if question.is_null() {
        return 0;
    }
    // SAFETY: by the caller.
    let Question { key, address, .. } = unsafe { &*question };
    count_index(why);
    if !may_tell(key, address) {
        return 0;
    }
    tell(key, address, why as u8)
}

#[inline(always)]
fn may_tell(key: &FlowKey, care_of: &[u8; 16]) -> bool {
    let (client, care_of) = (words(&key.client), words(care_of));
    let pair = [
        client[0] ^ care_of[1].rotate_left(32),
        client[1] ^ care_of[0].rotate_left(32),
    ];
    let now = now();
    let Some(pair) = Bucket::of(PAIR, pair) else {
        return true;
    };
    if !pair.holds(now, OF_PAIR) || !admission::whole(whole::TRIALS, OF_ALL) {
        return false;
    }
    pair.spend(now, OF_PAIR);
    true
}

/// A record of the ring.
#[repr(C)]
struct Record {
    header: Header,
    failed: TrialFailed,
}

#[inline(always)]
fn tell(key: &FlowKey, care_of: &[u8; 16], why: u8) -> u32 {
    const { assert!(size_of::<Record>() == HEADER + size_of::<TrialFailed>()) };
    let Some(mut entry) = EVENTS.reserve_untyped::<Record>(0) else {
        count(Counter::PuntRingFull);
        return 0;
    };
    let record = entry.as_mut_ptr().cast::<Record>();
    // SAFETY: the record has room for it.
    unsafe {
        (&raw mut (*record).header).write(Header {
            time: bpf_ktime_get_ns(),
            ifindex: 0,
            length: size_of::<TrialFailed>() as u16,
            kind: kind::TRIAL_FAILED,
            reason: why,
            mac: [0; 6],
            reserved2: [0; 2],
        });
        (&raw mut (*record).failed.flow).write(*key);
        (&raw mut (*record).failed.care_of).write(*care_of);
    }
    entry.submit(0);
    1
}
