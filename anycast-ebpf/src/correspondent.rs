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
    disowned::steer_disowned,
    first_packet::steer_new,
    flow_cache,
    forward::is_unrouted,
    from_client::steer_from_client,
    from_member::steer_to_client,
    global::global,
    hints,
    maps::CLIENT_PREFIXES,
    next_hop::{NextHop, Way},
    packet::IPV6,
    punt::punt,
    question::Question,
    rewrite, shared_hop,
    skb_short::keep_passing,
    steer::{self, answer},
    traffic,
    transport::{TCP, TCP_FIN, TCP_SYN, Transport},
    trial,
};

global! {
    /// A packet at an interface of a correspondent.
    pub(crate) fn ingress(packet) -> u32;
    ingress_once or Verdict::NOT_OURS;
    correspondent_ingress_xdp, correspondent_ingress_in, correspondent_ingress_out
}

#[inline(always)]
fn ingress_once<C: Context>(packet: &Packet<'_, C>) -> u32 {
    handle(packet).pack()
}

#[inline(always)]
fn handle<C: Context>(packet: &Packet<'_, C>) -> Verdict {
    let Some(transport) = Transport::read(packet.ctx, packet.upper_header()) else {
        return Verdict::NotOurs;
    };
    let mut change = match change::<C>(packet, &transport) {
        Ok(change) => change,
        Err(verdict) => return verdict,
    };
    Verdict::Done(deliver(
        packet.ctx,
        packet.parsed,
        &raw const transport,
        &raw mut change,
    ))
}

global! {
    /// Changes the packet and sends it, if there is a way.
    fn deliver(packet, transport: *const Transport, change: *mut Change) -> u32;
    deliver_once or XDP_PASS;
    correspondent_deliver_xdp, correspondent_deliver_in, correspondent_deliver_out
}

#[inline(always)]
fn deliver_once<C: Context>(
    packet: &Packet<'_, C>,
    transport: *const Transport,
    change: *mut Change,
) -> u32 {
    // SAFETY: both are there, which the verifier cannot know.
    let (Some(transport), Some(change)) = (unsafe { (transport.as_ref(), change.as_mut()) }) else {
        return XDP_PASS;
    };
    let outward = change.side == side::DESTINATION;
    let next_hop = if C::HOOK == Hook::Ingress && !outward {
        change.account = traffic::account(&change.address, &packet.parsed.source);
        // The kernel answers what it cannot forward, and its errors are translated on the way out.
        NextHop {
            mtu: u16::MAX,
            ..NextHop::by(Way::Kernel)
        }
    } else {
        shared_hop::next_hop(packet, transport, change)
    };
    if next_hop.way.stops(outward) {
        return XDP_PASS;
    }
    // Many flows have a single packet. A slot of the cache for such a flow would be taken from another one.
    if next_hop.mtu != 0 && change.stamp != 0 {
        flow_cache::remember(packet, transport, change, &next_hop);
    }
    if outward {
        if !rewrite::destination(packet, transport, &change.address, change.delta) {
            return XDP_PASS;
        }
        count(Counter::ToCareOf);
    } else {
        if !rewrite::source(packet, transport, &change.address, change.delta) {
            return XDP_PASS;
        }
        count(Counter::FromCareOf);
    }
    traffic::count(change.account, change.side, packet.octets());
    C::send(packet, &next_hop)
}

/// What the flow of the packet makes of it.
#[inline(always)]
fn change<C: Context>(packet: &Packet<'_, C>, transport: &Transport) -> Result<Change, Verdict> {
    let Some(question) = Question::about(transport, &packet.source, &packet.destination) else {
        return Err(Verdict::NotOurs);
    };
    numbers(packet, transport, question);
    let stamp = hints::stamp();
    // At XDP most packets of members take the short way and do not come here, so a packet is first taken for a
    // client's. At other hooks it is first taken for a member's, which spares that packet a lookup of a binding.
    let forwarded = packet.ctx.is_forwarded();
    let mut outward = C::HOOK == Hook::Xdp || forwarded;
    if !outward {
        question.turn();
    }
    let mut answer = ask(question, outward);
    let other = match C::HOOK {
        Hook::Xdp => true,
        // A client's packet is changed on its way out, where filters have seen it as the client sent it. One that
        // the kernel cannot route has no way out, and is changed here.
        Hook::Ingress => is_unrouted(packet.ctx, packet.parsed, transport) != 0,
        // A member's packet that is forwarded was changed on its way in.
        Hook::Egress => !forwarded,
    };
    // A client's reset to C is not seen behind the filters: it goes to C already.
    let disowns = C::HOOK == Hook::Ingress && steer::is_bare_reset(question);
    if answer == answer::UNKNOWN && (other || disowns) {
        outward = !outward;
        question.turn();
        answer = if other {
            ask(question, outward)
        } else {
            // SAFETY: the question is there.
            unsafe { steer_disowned(question, 1) }
        };
    }
    let passes = match C::HOOK {
        Hook::Ingress => answer == answer::UNKNOWN && !other && !disowns,
        // The first datagram of a flow is none of an open one yet.
        _ => answer == answer::OPEN || answer == answer::UNKNOWN && question.is_tcp(),
    };
    if passes {
        keep_passing(packet.ctx, packet.parsed, &raw const *transport, stamp);
    }
    let (side, address) = if outward {
        (side::DESTINATION, question.address)
    } else {
        (side::SOURCE, question.key.anycast)
    };
    match answer {
        answer::REWRITE | answer::REWRITE_ONCE => Ok(Change {
            side,
            address,
            delta: question.delta,
            reserved: 0,
            account: 0,
            stamp: if answer == answer::REWRITE { stamp } else { 0 },
        }),
        answer::HELD => {
            count(Counter::FlowResetHeld);
            Err(Verdict::Done(XDP_DROP))
        }
        answer::ELSEWHERE => {
            let why = Counter::FlowAnsweredElsewhere;
            // SAFETY: the question is there.
            unsafe { trial::trial_failed(question, why as u32) };
            Err(Verdict::NotOurs)
        }
        answer::UNANSWERED | answer::RESET => {
            let reset = answer == answer::RESET;
            let why = if reset {
                Counter::FlowTrialReset
            } else {
                Counter::FlowTrialUnanswered
            };
            // SAFETY: the question is there.
            unsafe { trial::trial_failed(question, why as u32) };
            Err(if reset {
                Verdict::Done(XDP_DROP)
            } else {
                Verdict::NotOurs
            })
        }
        _ => Err(Verdict::NotOurs),
    }
}

/// The numbers of a TCP segment.
#[inline(always)]
fn numbers<C: Context>(packet: &Packet<'_, C>, transport: &Transport, question: &mut Question) {
    if transport.protocol != TCP {
        return;
    }
    // Without the black box the compiler drops these bounds checks, because those of the whole header include them. The
    // verifier does not know that they do.
    let start = transport.checksum - 16;
    let Some([sequence, acknowledged, rest]) = packet
        .ctx
        .read::<[u32; 3]>(core::hint::black_box(start + 4))
    else {
        return;
    };
    // SAFETY: the header lies within the packet, which is as it came.
    let payload = u32::from(u16::from_be(unsafe { (*packet.ipv6).payload_length }));
    let before = (start - packet.layout.ipv6 - IPV6) as u32;
    let header = (u32::from_be(rest) >> 28) * 4;
    let flags = u32::from(transport.flags);
    let counted = (flags & u32::from(TCP_SYN)) / u32::from(TCP_SYN) + (flags & u32::from(TCP_FIN));
    question.sequence = u32::from_be(sequence);
    question.acknowledged = u32::from_be(acknowledged);
    question.next = question
        .sequence
        .wrapping_add(payload)
        .wrapping_sub(before + header)
        .wrapping_add(counted);
}

/// As a packet of a client, or of a member.
#[inline(always)]
fn ask(question: &mut Question, outward: bool) -> u32 {
    // SAFETY: the question is there.
    unsafe {
        if outward {
            let answer = steer_from_client(question);
            if answer != answer::NEW {
                return answer;
            }
            steer_new(question)
        } else {
            steer_to_client(question)
        }
    }
}

global! {
    /// Home and Care-of Test Inits for our clients are answered here, or by the controller like Binding Updates and
    /// unknown types (RFC 6275 section 9); other types are for mobile nodes.
    pub(crate) fn mobility(packet) -> u32;
    mobility_once or Verdict::NOT_OURS;
    correspondent_mobility_xdp, correspondent_mobility_in
}

#[inline(always)]
fn mobility_once<C: Context>(packet: &Packet<'_, C>) -> u32 {
    for_client(packet).pack()
}

#[inline(always)]
fn for_client<C: Context>(packet: &Packet<'_, C>) -> Verdict {
    let prefix = Key::new(128, packet.destination);
    if CLIENT_PREFIXES.get(&prefix).is_none() {
        count(Counter::MobilityNotOurs);
        return Verdict::NotOurs;
    }
    let mh_type = match packet.ctx.read::<[u8; 2]>(packet.upper_header().offset + 2) {
        Some([0 | 3 | 4 | 6 | 7, _]) => {
            count(Counter::MobilityOtherRole);
            return Verdict::NotOurs;
        }
        Some([mh_type, _]) => mh_type,
        None => 0,
    };
    if !admission::message(packet, mh_type) {
        return Verdict::Done(XDP_DROP);
    }
    if matches!(mh_type, 1 | 2) {
        let answered = crate::answer::answer(packet.ctx, packet.parsed, u32::from(mh_type));
        if let Verdict::Done(action) = Verdict::unpack(answered) {
            return Verdict::Done(action);
        }
        if !admission::test_init() {
            return Verdict::Done(XDP_DROP);
        }
    }
    if punt(packet, kind::MOBILITY) {
        count(Counter::MobilityPunted);
    }
    // The client does not know the protocol; its kernel would refuse the message.
    Verdict::Done(XDP_DROP)
}
