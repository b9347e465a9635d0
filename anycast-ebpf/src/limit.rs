//! Token buckets, each kept as the time at which it is full again: all there is to know about one.
//!
//! Two CPUs that take a token of a sender at once may take the same one. A limit need not be exact,
//! and a lock would cost everybody.

use anycast_common::abi::{
    counters::Counter,
    event::{REFUSAL_BURST, REFUSAL_EVERY},
    maps::{Rate, Sender},
};
use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;

use crate::{
    classify::Packet,
    context::Context,
    maps::{EXAMPLES, REPORTS, SENDERS},
};

/// Whether the sender of a Report or Done is within its rate.
#[inline(always)]
pub(crate) fn admits<C: Context>(packet: &Packet<'_, C>, mac: [u16; 3]) -> bool {
    let rate = REPORTS.load();
    if rate.every == 0 {
        return true;
    }
    let sender = Sender {
        source: packet.source,
        ifindex: packet.ctx.ingress(),
        // SAFETY: both are 6 plain bytes.
        mac: unsafe { core::mem::transmute::<[u16; 3], [u8; 6]>(mac) },
        reserved: [0; 6],
    };
    let now = now();
    if let Some(full) = SENDERS.get_ptr_mut(&sender) {
        // SAFETY: entries of a map are aligned and live until the program ends.
        let full = unsafe { &mut *full };
        return take(full, now, rate);
    }
    // A map that takes no entry limits nobody: the controller has its caps.
    let _ = SENDERS.insert(&sender, &(now + rate.every), 0);
    true
}

/// Whether the controller is to see an example of this refusal.
#[inline(always)]
pub(crate) fn shows_example(reason: Counter) -> bool {
    let Some(full) = EXAMPLES.get_ptr_mut(reason as u32) else {
        return false;
    };
    // SAFETY: the slot belongs to this CPU, see `count`.
    let full = unsafe { &mut *full };
    let rate = Rate {
        every: REFUSAL_EVERY,
        depth: REFUSAL_EVERY * (REFUSAL_BURST - 1),
    };
    take(full, now(), rate)
}

#[inline(always)]
fn take(full: &mut u64, now: u64, rate: Rate) -> bool {
    let holds = holds(*full, now, rate);
    if holds {
        spend(full, now, rate);
    }
    holds
}

/// Whether a bucket that is full at this time holds a token.
#[inline(always)]
pub(crate) fn holds(full: u64, now: u64, rate: Rate) -> bool {
    full.max(now) - now <= rate.depth
}

/// Takes a token.
#[inline(always)]
pub(crate) fn spend(full: &mut u64, now: u64, rate: Rate) {
    *full = (*full).max(now) + rate.every;
}

/// As of the last timer tick, which is exact enough and costs a fifth of the exact time.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: the helper takes nothing.
    unsafe { bpf_ktime_get_coarse_ns() }
}
