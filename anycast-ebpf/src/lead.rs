//! The member leads: flows that clients opened at B are its own, and while there is a binding they may go by C.
//!
//! One packet of such a flow, the canary, leaves from C. All others leave from B until the client's packets come by C.
//! A correspondent that has the binding sends them to C from the canary on. Where something on the way drops packets
//! from C, a flow loses a packet now and then.

use anycast_common::abi::{
    counters::Counter,
    maps::{Client, FlowKey, MemberFlow, canary, stage},
};
use aya_ebpf::{helpers::bpf_ktime_get_coarse_ns, programs::TcContext};

use crate::{count::count, maps::CLIENTS};

/// Writes the care-of address to `care_of` if this packet, of a flow that comes by B, has to leave from C, and gives
/// whether it has to (not 0). It is a function of its own because a BPF stack is small.
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
    // A merged segment is many packets on the wire. Smaller ones may follow. SAFETY: the context lives as long as the
    // program.
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
    // Where no packet from C comes through, only a limited number of flows may lose a packet before the next binding.
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

/// Begins the canaries of another binding. If those of the last binding failed, they say how long to wait.
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
