//! The member leads: flows that came to it by B are its own, and with a binding they may go by C.
//!
//! One packet of such a flow leaves from C, the canary; all others go on from B until the client's come by C. A
//! correspondent that holds the binding sends them there from then on. Where something on the way drops packets
//! from C, a flow loses one packet now and then.

use anycast_common::abi::{
    counters::Counter,
    maps::{Client, FlowKey, MemberFlow, canary, stage},
};
use aya_ebpf::{helpers::bpf_ktime_get_coarse_ns, programs::TcContext};

use crate::{count::count, maps::CLIENTS};

/// Writes the care-of address to `care_of` when the packet of this flow, which comes by B, is to leave from there:
/// not 0 if so. A function of its own for the sake of the stack.
#[inline(never)]
pub(crate) fn canary(
    ctx: &TcContext,
    flow: *mut MemberFlow,
    key: &FlowKey,
    care_of: &mut [u8; 16],
) -> u32 {
    // SAFETY: entries stay mapped; their fields are plain integers, and packets that race write values of the same
    // moment.
    let flow = unsafe { &mut *flow };
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    if flow.stage != stage::GOES_ON
        || now < flow.settles_at
        || now < flow.asks_at
        || flow.is_closed()
    {
        return 0;
    }
    flow.asks_at = now + canary::AGAIN;
    let Some(client) = CLIENTS.get_ptr_mut(key.binding()) else {
        return 0;
    };
    // SAFETY: as above.
    let client = unsafe { &mut *client };
    if now >= client.lead_until {
        return 0;
    }
    // What is merged is many packets on the wire; there may be smaller ones.
    // SAFETY: the context lives as long as the program.
    let merged = unsafe { (*ctx.skb.skb).gso_segs };
    if merged > canary::MERGED && now + canary::PATIENCE < client.lead_until {
        return 0;
    }
    let binding = canary::binding(client.lead_until);
    if client.led_in != binding {
        renewed(client, binding, now);
    }
    if now < client.pause_until || (client.failures != 0 && client.tried != 0) {
        return 0;
    }
    // Where nothing from C comes through, many flows must not lose a packet each before the next binding tells.
    if client.worked == 0 && client.tried >= canary::UNPROVEN {
        return 0;
    }
    if flow.led_in != binding {
        flow.led_in = binding;
        flow.canaries = 0;
    }
    if flow.canaries >= canary::MOST {
        return 0;
    }
    flow.canaries += 1;
    flow.asks_at = now + canary::PACE;
    client.tried = client.tried.saturating_add(1);
    *care_of = client.care_of;
    count(Counter::MemberCanary);
    1
}

/// The first canary of another binding: those of the last one worked, or they say how long to wait.
#[inline(always)]
fn renewed(client: &mut Client, binding: u32, now: u64) {
    if client.tried != 0 && client.worked == 0 {
        let failures = client.failures + 1;
        client.failures = if failures > canary::DOUBLINGS {
            canary::DOUBLINGS
        } else {
            failures
        };
        client.pause_until = now + (canary::PAUSE << (client.failures & 15));
    }
    client.led_in = binding;
    client.tried = 0;
    client.worked = 0;
}
