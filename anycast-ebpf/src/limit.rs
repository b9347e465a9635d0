//! Token buckets. The time at which a bucket is full again says everything about it, and is all that is kept.
//!
//! Two CPUs that take a token of one sender at the same time may take the same one. A limit need not be exact, and a
//! lock would slow down every packet.

use anycast_common::abi::{
    counters::Counter,
    event::{REFUSAL_BURST, REFUSAL_EVERY},
    maps::{NewSenders, Rate, Sender, rates},
};
use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_ktime_get_coarse_ns};

use crate::{
    context::{Context, Packet},
    maps::{EXAMPLES, NEW_SENDERS_FULL, SENDERS},
    rates::given,
};

/// Checks that the sender of a Report or Done, which this rule allows, is within its rate. The error is the counter of
/// the refusal.
///
/// A sender that is not known yet has a full bucket of its own, but also needs a token of the bucket that all new
/// senders share. An attacker who invents senders is limited by that one.
#[inline(always)]
pub(crate) fn admits<C: Context>(
    packet: &Packet<'_, C>,
    mac: [u8; 6],
    rule: u32,
) -> Result<(), Counter> {
    let (rate, of_new) = (
        given::<{ rates::REPORTS }>(),
        given::<{ rates::NEW_SENDERS }>(),
    );
    if rate.every | of_new.every == 0 {
        return Ok(());
    }
    let ifindex = packet.ctx.ingress();
    let sender = Sender {
        source: packet.source,
        ifindex,
        mac,
        reserved: [0; 6],
    };
    let now = now();
    if let Some(full) = SENDERS.get_ptr_mut(&sender) {
        // SAFETY: entries of a map are aligned and live until the program ends.
        let full = unsafe { &mut *full };
        return if take(full, now, rate) {
            Ok(())
        } else {
            Err(Counter::MldRateLimited)
        };
    }
    if of_new.every != 0 && !admits_new(NewSenders { rule, ifindex }, now, of_new) {
        return Err(Counter::MldNewSenderLimited);
    }
    // When the map takes no entry, nobody is limited here. The controller has caps of its own.
    let _ = SENDERS.insert(&sender, &(now + rate.every), 0);
    Ok(())
}

#[inline(always)]
fn admits_new(whose: NewSenders, now: u64, rate: Rate) -> bool {
    if let Some(full) = NEW_SENDERS_FULL.get_ptr_mut(&whose) {
        // SAFETY: as in `admits`.
        let full = unsafe { &mut *full };
        return take(full, now, rate);
    }
    let _ = NEW_SENDERS_FULL.insert(&whose, &(now + rate.every), 0);
    true
}

/// Whether the controller is to see an example of this refusal.
#[inline(always)]
pub(crate) fn shows_example(reason: Counter) -> bool {
    let Some(example) = EXAMPLES.get_ptr_mut(reason as u32) else {
        return false;
    };
    // SAFETY: the slot belongs to this CPU, see `count`.
    let example = unsafe { &mut *example };
    // The bucket is read before the time. Until the next tick, an empty bucket stays empty.
    let tick = jiffies();
    let rate = Rate {
        every: REFUSAL_EVERY,
        depth: REFUSAL_EVERY * (REFUSAL_BURST - 1),
    };
    let shows = take(&mut example.full, now(), rate);
    if !shows {
        example.empty_in = tick;
    }
    shows
}

/// Whether [`shows_example`] is known to say no. The argument is the number of the counter, so that only that has to be
/// kept.
#[inline(always)]
pub(crate) fn has_no_example(reason: u32) -> bool {
    EXAMPLES.get_ptr(reason).is_some_and(|example| {
        // SAFETY: as in `shows_example`.
        unsafe { (*example).empty_in == jiffies() }
    })
}

/// The time in timer ticks. The verifier replaces the call by one load.
#[inline(always)]
pub(crate) fn jiffies() -> u64 {
    // SAFETY: the helper takes nothing.
    unsafe { bpf_jiffies64() }
}

#[inline(always)]
fn take(full: &mut u64, now: u64, rate: Rate) -> bool {
    settle(full, now, rate);
    let holds = holds(*full, now, rate);
    if holds {
        spend(full, now, rate);
    }
    holds
}

/// A bucket that another rate has left, and that would be full later than an empty one of this rate, has one token.
#[inline(always)]
pub(crate) fn settle(full: &mut u64, now: u64, rate: Rate) {
    let ahead = (*full).max(now) - now;
    if ahead > rate.depth && ahead - rate.depth > rate.every {
        *full = now + rate.depth;
    }
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

/// The time of the last timer tick, which is exact enough and takes a fifth of the time of an exact clock.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: the helper takes nothing.
    unsafe { bpf_ktime_get_coarse_ns() }
}
