//! The correspondent: A -> B becomes A -> C for bound flows, and C -> A becomes B -> A.

use anycast_common::abi::{counters::Counter, event::kind, maps::side};
use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    btf_maps::lpm_trie::Key,
};

use crate::{
    admission,
    change::Change,
    context::{Context, Hook, Packet, Verdict},
    count::count,
    forward::next_hop,
    maps::CLIENT_PREFIXES,
    next_hop::Way,
    packet::Upper,
    punt::punt,
    rewrite,
    steer::{self, Question, answer},
    transport::Transport,
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
    let Some(change) = change::<C>(packet, &transport) else {
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
    if next_hop.way == Way::Program && change.lasts {
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

/// What the flow of the packet makes of it.
#[inline(always)]
fn change<C: Context>(packet: &Packet<'_, C>, transport: &Transport) -> Option<Change> {
    let mut question = Question::about(transport, &packet.source, &packet.destination);
    // XDP has its short way. Elsewhere what a member sends would look for a binding of the member first.
    let mut outward = C::HOOK == Hook::Xdp;
    if !outward {
        question.turn();
    }
    let mut answer = ask(&mut question, outward);
    if answer == answer::UNKNOWN {
        outward = !outward;
        question.turn();
        answer = ask(&mut question, outward);
    }
    if answer == answer::UNKNOWN {
        return None;
    }
    let (side, address) = if outward {
        (side::DESTINATION, question.address)
    } else {
        (side::SOURCE, question.key.anycast)
    };
    Some(Change {
        side,
        address,
        delta: question.delta,
        lasts: answer == answer::REWRITE,
    })
}

/// As a packet of a client, or of a member.
#[inline(always)]
fn ask(question: &mut Question, outward: bool) -> u32 {
    // SAFETY: the question is there.
    unsafe {
        if outward {
            steer::steer_from_client(question)
        } else {
            steer::steer_to_client(question)
        }
    }
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
