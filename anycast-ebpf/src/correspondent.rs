//! The correspondent: A -> B becomes A -> C for bound flows, and C -> A becomes B -> A.

use anycast_common::abi::{
    counters::Counter,
    event::kind,
    maps::{CareOfKey, Flow, side, unattended},
};
use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    btf_maps::lpm_trie::Key,
    helpers::bpf_ktime_get_coarse_ns,
};

use crate::{
    admission,
    classify::{Packet, Verdict},
    context::{Context, Hook},
    count::count,
    flow_table,
    forward::{Way, next_hop},
    maps::{ATTENDED, BINDINGS, CARE_OF, CLIENT_PREFIXES},
    packet::Upper,
    punt::punt,
    rewrite,
    transport::{TCP_RST, Transport},
};

/// A packet at an interface of a correspondent. A function of its own, because a BPF stack frame
/// has 512 octets for all roles of an interface together.
#[inline(never)]
pub(crate) fn ingress<C: Context>(packet: &Packet<'_, C>, protocol: u8, offset: usize) -> u32 {
    handle(packet, Upper { protocol, offset }).pack()
}

#[inline(always)]
fn handle<C: Context>(packet: &Packet<'_, C>, upper: Upper) -> Verdict {
    let Some(transport) = Transport::read(packet.ctx, upper) else {
        return Verdict::NotOurs;
    };
    // XDP has its short way. Elsewhere what a member sends would look for a binding of the member first.
    let change = if C::HOOK == Hook::Xdp {
        from_client(packet, &transport).or_else(|| to_client(packet, &transport))
    } else {
        to_client(packet, &transport).or_else(|| from_client(packet, &transport))
    };
    let Some(change) = change else {
        return Verdict::NotOurs;
    };
    let outward = change.side == side::DESTINATION;
    let (source, destination) = if outward {
        (&packet.source, &change.address)
    } else {
        (&change.address, &packet.destination)
    };
    let next_hop = next_hop(packet, &transport, source, destination);
    if next_hop.way.stops::<C>(outward) {
        return Verdict::Done(XDP_PASS);
    }
    // Many a flow has one packet, and a slot for it would be another's.
    if next_hop.way == Way::Program && !change.pinned_now {
        C::remember(packet, &transport, &change, &next_hop);
    }
    if outward {
        if !rewrite::destination(packet, &transport, &change.address, change.delta) {
            return Verdict::Done(XDP_PASS);
        }
        count(Counter::ToCareOf);
    } else {
        if !rewrite::source(packet, &transport, &change.address, change.delta) {
            return Verdict::Done(XDP_PASS);
        }
        count(Counter::FromCareOf);
    }
    Verdict::Done(C::send(packet, &next_hop))
}

/// What is to become of a packet.
pub(crate) struct Change {
    /// Which address gives way: one of [`side`].
    pub side: u8,
    /// To which.
    pub address: [u8; 16],
    /// What that does to a checksum (RFC 1624).
    pub delta: u16,
    /// The packet is the first of its flow.
    pub pinned_now: bool,
}

/// Home Test Init, Care-of Test Init, Binding Update and unknown types for our clients are
/// answered by the controller (RFC 6275 section 9); other types are for mobile nodes.
#[inline(never)]
pub(crate) fn mobility<C: Context>(packet: &Packet<'_, C>, offset: usize) -> u32 {
    for_client(packet, offset).pack()
}

#[inline(always)]
fn for_client<C: Context>(packet: &Packet<'_, C>, offset: usize) -> Verdict {
    // The controller's own, or a member's on this host.
    if C::HOOK == Hook::Egress {
        return Verdict::NotOurs;
    }
    let prefix = Key::new(128, packet.destination);
    if CLIENT_PREFIXES.get(&prefix).is_none() {
        count(Counter::MobilityNotOurs);
        return Verdict::NotOurs;
    }
    let mh_type = match packet.ctx.read::<[u8; 2]>(offset + 2) {
        Some([0 | 3 | 4 | 6 | 7, _]) => {
            count(Counter::MobilityOtherRole);
            return Verdict::NotOurs;
        }
        Some([mh_type, _]) => mh_type,
        None => 0,
    };
    if admission::message(packet, mh_type) && punt(packet, kind::MOBILITY) {
        count(Counter::MobilityPunted);
    }
    // The client does not know the protocol; its kernel would refuse the message.
    Verdict::Done(XDP_DROP)
}

/// A -> B: to the member that the flow is pinned to, or that the client is bound to, which pins it.
#[inline(always)]
fn from_client<C: Context>(packet: &Packet<'_, C>, transport: &Transport) -> Option<Change> {
    let key = transport.flow_from_client(&packet.source, &packet.destination);
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    let side = side::DESTINATION;
    if let Some(pinned) = flow_table::find(&key) {
        let flow = pinned.flow();
        // A SYN opens a new flow on the ports of an old one: the binding decides anew.
        if transport.opens() {
            count(Counter::FlowRestarted);
        // SAFETY: the memory of a slot stays mapped; its fields are plain integers, and racing
        // writers store times of the same moment. A slot that is evicted just now may hold another flow: its
        // times are touched, or it is taken for closed.
        } else if unsafe { is_abandoned(flow, now) } {
            count(Counter::FlowAbandoned);
        } else {
            // SAFETY: as above.
            unsafe {
                (*flow).last_out = now;
                if transport.closes() {
                    (*flow).client_closed = 1;
                }
                pinned.heard(now, (*flow).last_in != 0);
            }
            return Some(Change {
                side,
                address: pinned.care_of,
                delta: pinned.delta,
                pinned_now: false,
            });
        }
        // SAFETY: the key is there.
        unsafe { flow_table::end_flow(&raw const key) };
    }
    // SAFETY: the controller replaces bindings whole, and the copy is made at once.
    let live = unsafe { BINDINGS.get(key.binding()) }
        .copied()
        .filter(|binding| now < binding.expires);
    let Some(binding) = live else {
        admission::expect_messages(packet);
        return None;
    };
    // Nothing follows a reset, so it is not worth a pin; it must not go elsewhere than the flow.
    if transport.flags & TCP_RST != 0 {
        return None;
    }
    flow_table::pin(&key, &binding, now);
    Some(Change {
        side,
        address: binding.care_of,
        delta: binding.delta,
        pinned_now: true,
    })
}

/// Whether the client has been trying for long without an answer, and there is no controller to judge
/// it. Its member may be dead, and nobody else would send it elsewhere.
#[inline(always)]
unsafe fn is_abandoned(flow: *mut Flow, now: u64) -> bool {
    let tick = unattended::tick(now);
    // SAFETY: the caller's entry.
    unsafe {
        let last_out = (*flow).last_out;
        if last_out <= (*flow).last_in || now.wrapping_sub(last_out) > unattended::PAUSE {
            (*flow).asked_at = tick;
            return false;
        }
        tick.wrapping_sub((*flow).asked_at) > unattended::PATIENCE && is_unattended(now)
    }
}

#[inline(always)]
fn is_unattended(now: u64) -> bool {
    // SAFETY: one integer.
    ATTENDED
        .get(0)
        .is_none_or(|attended| now > attended.saturating_add(unattended::AFTER))
}

/// C -> A: from B, when the flow is pinned to C.
#[inline(always)]
fn to_client<C: Context>(packet: &Packet<'_, C>, transport: &Transport) -> Option<Change> {
    let pair = CareOfKey {
        client: packet.destination,
        care_of: packet.source,
    };
    // SAFETY: the controller replaces entries whole, and the copy is made at once.
    let owner = unsafe { CARE_OF.get(&pair) }.copied()?;
    let key = transport.flow_to_client(&packet.destination, &owner.anycast);
    let pinned = flow_table::find(&key).filter(|pinned| pinned.care_of == packet.source)?;
    let flow = pinned.flow();
    // SAFETY: as in `from_client`.
    unsafe {
        let now = bpf_ktime_get_coarse_ns();
        (*flow).last_in = now;
        if transport.closes() {
            (*flow).member_closed = 1;
        }
        pinned.answered(now);
    }
    Some(Change {
        side: side::SOURCE,
        address: owner.anycast,
        delta: owner.delta,
        pinned_now: false,
    })
}
