//! The correspondent: A -> B becomes A -> C for bound flows, and C -> A becomes B -> A.

use anycast_common::abi::{
    counters::Counter,
    event::kind,
    maps::{BindingKey, CareOfKey, Flow, FlowKey, flow},
};
use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    btf_maps::lpm_trie::Key,
    helpers::bpf_ktime_get_coarse_ns,
};

use crate::{
    classify::{Packet, Verdict},
    count::count,
    forward::{NextHop, next_hop, send},
    maps::{BINDINGS, CARE_OF, CLIENT_PREFIXES, FLOWS},
    packet::{Bytes, Upper},
    punt::punt,
    rewrite,
    transport::{MOBILITY, TCP_RST, Transport},
};

/// A packet at an interface of a correspondent. A function of its own, because a BPF stack frame
/// has 512 octets for all roles of an interface together.
#[inline(never)]
pub(crate) fn ingress(packet: &Packet<'_>, protocol: u8, offset: usize) -> u32 {
    handle(packet, Upper { protocol, offset }).pack()
}

#[inline(always)]
fn handle(packet: &Packet<'_>, upper: Upper) -> Verdict {
    if upper.protocol == MOBILITY {
        return mobility(packet, upper);
    }
    let Some(transport) = Transport::read(packet.ctx, upper) else {
        return Verdict::NotOurs;
    };
    match from_client(packet, &transport) {
        Verdict::NotOurs => to_client(packet, &transport),
        done @ Verdict::Done(_) => done,
    }
}

/// Whether a binding of (A, B) stands, for packets that cannot be rewritten.
#[inline(always)]
pub(crate) fn is_bound(packet: &Packet<'_>) -> bool {
    let key = BindingKey {
        client: packet.source,
        anycast: packet.destination,
    };
    BINDINGS.get_ptr(&key).is_some()
}

/// Home Test Init, Care-of Test Init, Binding Update and unknown types for our clients are
/// answered by the controller (RFC 6275 section 9); other types are for mobile nodes.
#[inline(always)]
fn mobility(packet: &Packet<'_>, upper: Upper) -> Verdict {
    let prefix = Key::new(128, packet.destination);
    if CLIENT_PREFIXES.get(&prefix).is_none() {
        count(Counter::MobilityNotOurs);
        return Verdict::NotOurs;
    }
    if let Some([0 | 3 | 4 | 6 | 7, _]) = packet.ctx.read::<[u8; 2]>(upper.offset + 2) {
        count(Counter::MobilityOtherRole);
        return Verdict::NotOurs;
    }
    if punt(packet, kind::MOBILITY) {
        count(Counter::MobilityPunted);
    }
    // The client does not know the protocol; its kernel would refuse the message.
    Verdict::Done(XDP_DROP)
}

#[inline(always)]
fn from_client(packet: &Packet<'_>, transport: &Transport) -> Verdict {
    let key = transport.flow_from_client(&packet.source, &packet.destination);
    // SAFETY: no instruction of an XDP program.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    if let Some(pinned) = FLOWS.get_ptr_mut(&key) {
        // A SYN opens a new flow on the ports of an old one: the binding decides anew.
        if !transport.opens() {
            // SAFETY: the entry outlives the program (RCU); its fields are plain integers, and
            // racing writers store times of the same moment.
            let (care_of, delta) = unsafe {
                (*pinned).last_out = now;
                if transport.closes() {
                    (*pinned).flags |= flow::CLIENT_CLOSED;
                }
                ((*pinned).care_of, (*pinned).delta)
            };
            return to_care_of(packet, transport, &care_of, delta);
        }
        count(Counter::FlowRestarted);
        let _ = FLOWS.remove(&key);
    }
    let binding = BindingKey {
        client: packet.source,
        anycast: packet.destination,
    };
    // SAFETY: the controller replaces bindings whole, and the copy is made at once.
    let Some(binding) = (unsafe { BINDINGS.get(&binding) }).copied() else {
        return Verdict::NotOurs;
    };
    // Nothing follows a reset, so it is not worth a pin; it must not go elsewhere than the flow.
    if now >= binding.expires || transport.flags & TCP_RST != 0 {
        return Verdict::NotOurs;
    }
    if !pin(&key, &binding.care_of, binding.delta, now) {
        return Verdict::NotOurs;
    }
    to_care_of(packet, transport, &binding.care_of, binding.delta)
}

#[inline(always)]
fn pin(key: &FlowKey, care_of: &[u8; 16], delta: u16, now: u64) -> bool {
    let pinned = Flow {
        care_of: *care_of,
        pinned_at: now,
        last_out: now,
        last_in: 0,
        delta,
        flags: 0,
        reserved: [0; 13],
    };
    if FLOWS.insert(key, &pinned, 0).is_err() {
        count(Counter::FlowPinFailed);
        return false;
    }
    count(Counter::FlowPinned);
    true
}

#[inline(always)]
fn to_care_of(
    packet: &Packet<'_>,
    transport: &Transport,
    care_of: &[u8; 16],
    delta: u16,
) -> Verdict {
    let next_hop = next_hop(packet, transport, &packet.source, care_of);
    if let NextHop::Refused = next_hop {
        return Verdict::Done(XDP_PASS);
    }
    rewrite::destination(packet, transport, care_of, delta);
    count(Counter::ToCareOf);
    Verdict::Done(send(packet, &next_hop))
}

#[inline(always)]
fn to_client(packet: &Packet<'_>, transport: &Transport) -> Verdict {
    let pair = CareOfKey {
        client: packet.destination,
        care_of: packet.source,
    };
    // SAFETY: the controller replaces entries whole, and the copy is made at once.
    let Some(owner) = (unsafe { CARE_OF.get(&pair) }).copied() else {
        return Verdict::NotOurs;
    };
    let key = transport.flow_to_client(&packet.destination, &owner.anycast);
    let Some(pinned) = FLOWS.get_ptr_mut(&key) else {
        return Verdict::NotOurs;
    };
    // SAFETY: as in `from_client`.
    unsafe {
        if (*pinned).care_of != packet.source {
            return Verdict::NotOurs;
        }
        (*pinned).last_in = bpf_ktime_get_coarse_ns();
        if transport.closes() {
            (*pinned).flags |= flow::MEMBER_CLOSED;
        }
    }
    let next_hop = next_hop(packet, transport, &owner.anycast, &packet.destination);
    if let NextHop::Refused = next_hop {
        return Verdict::Done(XDP_PASS);
    }
    rewrite::source(packet, transport, &owner.anycast, owner.delta);
    count(Counter::FromCareOf);
    Verdict::Done(send(packet, &next_hop))
}
