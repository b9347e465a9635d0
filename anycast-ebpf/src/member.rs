//! The member: A -> C becomes A -> B, and new clients of B are reported.

use anycast_common::abi::{
    counters::Counter,
    event::kind,
    maps::{BindingKey, Client, FlowKey, LocalCareOf, MemberFlow},
};
use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    helpers::bpf_ktime_get_coarse_ns,
};

use crate::{
    admission,
    context::{Context, Packet, Verdict},
    count::count,
    maps::{CLIENTS, LOCAL_ANYCAST, LOCAL_CARE_OF, MEMBER_FLOWS},
    member_flow::{Facts, came, member_by_anycast, member_by_care_of, opened},
    own,
    packet::{IPV6, Upper},
    punt::{punt, punt_headers},
    rewrite,
    segment::Segment,
    transport::{ICMPV6, TCP, TCP_RST, Transport},
};

/// A client is not reported again within this time, whatever the controller makes of it.
const REPORT_HOLD: u64 = 1_000_000_000;

/// A packet at an interface of a member. A function of its own, because a BPF stack frame has 512
/// octets for all roles of an interface together.
#[inline(never)]
pub(crate) fn ingress<C: Context>(packet: &Packet<'_, C>, protocol: u8, offset: usize) -> u32 {
    handle(packet, Upper { protocol, offset }).pack()
}

#[inline(always)]
fn handle<C: Context>(packet: &Packet<'_, C>, upper: Upper) -> Verdict {
    // SAFETY: the controller replaces entries whole, and the copy is made at once.
    if let Some(owner) = unsafe { LOCAL_CARE_OF.get(&packet.destination) }.copied() {
        return match Transport::read(packet.ctx, upper) {
            Some(transport) => Verdict::Done(by_care_of(packet, &transport, &owner)),
            None => Verdict::Done(XDP_PASS),
        };
    }
    // SAFETY: as above.
    if let Some(local) = unsafe { LOCAL_ANYCAST.get(&packet.destination) }.copied() {
        if let Some(transport) = Transport::read(packet.ctx, upper) {
            by_anycast(packet, &transport, local.report_clients != 0);
        }
        return Verdict::Done(XDP_PASS);
    }
    Verdict::NotOurs
}

/// Messages of a handshake to one of our addresses, for the controller: Binding Refresh Request,
/// Home Test, Care-of Test, Binding Acknowledgement, Binding Error.
#[inline(never)]
pub(crate) fn mobility<C: Context>(packet: &Packet<'_, C>, offset: usize) -> u32 {
    for_us(packet, offset).pack()
}

#[inline(always)]
fn for_us<C: Context>(packet: &Packet<'_, C>, offset: usize) -> Verdict {
    if LOCAL_CARE_OF.get_ptr(&packet.destination).is_none()
        && LOCAL_ANYCAST.get_ptr(&packet.destination).is_none()
    {
        return Verdict::NotOurs;
    }
    let Some([0 | 3 | 4 | 6 | 7, _]) = packet.ctx.read::<[u8; 2]>(offset + 2) else {
        count(Counter::MobilityOtherRole);
        return Verdict::NotOurs;
    };
    if admission::answer() && punt(packet, kind::MOBILITY) {
        count(Counter::MobilityPunted);
    }
    // The kernel would answer it with a Parameter Problem.
    Verdict::Done(XDP_DROP)
}

#[inline(always)]
fn by_care_of<C: Context>(
    packet: &Packet<'_, C>,
    transport: &Transport,
    owner: &LocalCareOf,
) -> u32 {
    let key = transport.flow_from_client(&packet.source, &owner.anycast);
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    if let Some(flow) = MEMBER_FLOWS.get_ptr_mut(&key) {
        let facts = facts(packet, transport, now);
        // SAFETY: both are there.
        match unsafe { member_by_care_of(flow, &facts) } {
            came::RESET => {
                unbound(key.binding());
                return XDP_DROP;
            }
            came::RESET_AGAIN => return XDP_DROP,
            came::OVER => led(key.binding()),
            _ => {}
        }
    } else {
        // Who has opened it: a client, unless the packet itself or a socket says otherwise.
        if !transport.opens() && own::opened_here(packet, transport) != 0 {
            count(Counter::MemberOwnFlow);
            return XDP_PASS;
        }
        let flow = MemberFlow {
            care_of: packet.destination,
            by_anycast: 0,
            ..opened(now)
        };
        // Without the entry the answers leave from B, and the correspondent takes both.
        let _ = MEMBER_FLOWS.insert(&key, &flow, 0);
    }
    if rewrite::destination(packet, transport, &owner.anycast, owner.delta) {
        count(Counter::MemberIn);
    }
    XDP_PASS
}

#[inline(always)]
fn facts<C: Context>(packet: &Packet<'_, C>, transport: &Transport, now: u64) -> Facts {
    Facts::new(
        &packet.destination,
        now,
        transport,
        segment(packet, transport),
    )
}

#[inline(always)]
fn segment<C: Context>(packet: &Packet<'_, C>, transport: &Transport) -> Option<Segment> {
    let header = packet.header()?;
    // SAFETY: the IPv6 header lies within the packet.
    let payload = unsafe { u16::from_be((*header).payload_length) };
    let end = packet.layout.ipv6 + IPV6 + usize::from(payload);
    Segment::read(packet.ctx, transport, end)
}

/// The correspondent does not know the binding: no more flows are led by it.
#[inline(always)]
fn unbound(pair: &BindingKey) {
    if let Some(client) = CLIENTS.get_ptr_mut(pair) {
        // SAFETY: the memory of an entry stays mapped; its fields are plain integers.
        unsafe { (*client).lead_until = 0 };
    }
}

/// A flow that was led has come over to C.
#[inline(always)]
fn led(pair: &BindingKey) {
    if let Some(client) = CLIENTS.get_ptr_mut(pair) {
        // SAFETY: as above.
        unsafe {
            (*client).worked = 1;
            (*client).failures = 0;
            (*client).pause_until = 0;
        }
    }
}

#[inline(always)]
fn by_anycast<C: Context>(packet: &Packet<'_, C>, transport: &Transport, report: bool) {
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    let key = transport.flow_from_client(&packet.source, &packet.destination);
    let mut opens = false;
    if let Some(flow) = MEMBER_FLOWS.get_ptr_mut(&key) {
        let facts = facts(packet, transport, now);
        // SAFETY: both are there.
        unsafe { member_by_anycast(flow, &facts) };
    } else {
        opens = is_first(packet, transport);
    }
    let resets = transport.protocol == TCP && transport.flags & TCP_RST != 0;
    let known = if report && !resets {
        reported(packet, key.binding(), now)
    } else {
        opens && CLIENTS.get_ptr(key.binding()).is_some()
    };
    // Clients that do not exist take no room in the table: how many are known is limited.
    if opens && known {
        note(&key, now);
    }
}

#[inline(always)]
fn note(key: &FlowKey, now: u64) {
    // Without the entry the flow goes by plain anycast to its end.
    let _ = MEMBER_FLOWS.insert(key, &opened(now), 0);
}

/// Whether it can be the first packet of a flow that the client opens. Of TCP, only a SYN says so; an echo reply
/// answers.
#[inline(always)]
fn is_first<C: Context>(packet: &Packet<'_, C>, transport: &Transport) -> bool {
    match transport.protocol {
        TCP => transport.opens(),
        ICMPV6 => !own::is_echo_reply(packet, transport),
        _ => true,
    }
}

/// Tells the controller of a client, unless it knows. Whether the client is noted.
#[inline(always)]
fn reported<C: Context>(packet: &Packet<'_, C>, pair: &BindingKey, now: u64) -> bool {
    let known = CLIENTS.get_ptr_mut(pair);
    if let Some(client) = known
        // SAFETY: the memory of an entry stays mapped; its fields are plain integers.
        && now < unsafe { (*client).quiet_until }
    {
        return true;
    }
    // A client that is refused is tried again with its next packet.
    if !admission::new_client(packet) || !punt_headers(packet, kind::NEW_CLIENT) {
        return known.is_some();
    }
    count(Counter::MemberNewClient);
    let quiet_until = now + REPORT_HOLD;
    if let Some(client) = known {
        // SAFETY: as above.
        unsafe { (*client).quiet_until = quiet_until };
        return true;
    }
    let client = Client {
        quiet_until,
        ..Client::UNKNOWN
    };
    CLIENTS.insert(pair, &client, 0).is_ok()
}
