//! Token buckets, each kept as the time at which it is full again: all there is to know about one.
//!
//! Two CPUs that take a token of a sender at once may take the same one. A limit need not be exact,
//! and a lock would cost everybody.

use anycast_common::abi::{
    counters::Counter,
    event::{REFUSAL_BURST, REFUSAL_EVERY},
    maps::Sender,
};
use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;

use crate::{
    classify::Packet,
    maps::{EXAMPLES, MLD_TOKEN_DEPTH, MLD_TOKEN_EVERY, SENDERS},
};

/// Whether the sender of a Report or Done is within its rate.
#[inline(always)]
pub(crate) fn admits(packet: &Packet<'_>, mac: [u16; 3]) -> bool {
    let every = MLD_TOKEN_EVERY.load();
    if every == 0 {
        return true;
    }
    let sender = Sender {
        source: packet.source,
        ifindex: packet.ctx.ingress_ifindex() as u32,
        // SAFETY: both are 6 plain bytes.
        mac: unsafe { core::mem::transmute::<[u16; 3], [u8; 6]>(mac) },
        reserved: [0; 6],
    };
    let now = now();
    if let Some(full) = SENDERS.get_ptr_mut(&sender) {
        // SAFETY: entries of a map are aligned and live until the program ends.
        let full = unsafe { &mut *full };
        return take(full, now, every, MLD_TOKEN_DEPTH.load());
    }
    // A map that takes no entry limits nobody: the controller has its caps.
    let _ = SENDERS.insert(&sender, &(now + every), 0);
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
    take(
        full,
        now(),
        REFUSAL_EVERY,
        REFUSAL_EVERY * (REFUSAL_BURST - 1),
    )
}

#[inline(always)]
fn take(full: &mut u64, now: u64, every: u64, depth: u64) -> bool {
    let from = (*full).max(now);
    let holds = from - now <= depth;
    if holds {
        *full = from + every;
    }
    holds
}

/// As of the last timer tick, which is exact enough and costs a fifth of the exact time.
#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper takes nothing.
    unsafe { bpf_ktime_get_coarse_ns() }
}
