//! The member: A -> C becomes A -> B, and new clients of B are reported.

use anycast_common::abi::{
    counters::Counter,
    event::kind,
    maps::{BindingKey, Client, FlowKey, LocalCareOf, side},
};
use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    helpers::bpf_ktime_get_coarse_ns,
};

use crate::{
    admission,
    context::{Context, Packet, Verdict},
    count::count,
    global::global,
    maps::{CLIENTS, LOCAL_ANYCAST, LOCAL_CARE_OF, MEMBER_FLOWS},
    member_flow::{Facts, came, member_by_anycast, member_by_care_of, member_flow_opened},
    own,
    packet::{IPV6, on_stack},
    punt::{punt, punt_headers},
    rewrite,
    segment::Segment,
    traffic,
    transport::{ECHO_REPLY, ICMPV6, TCP, TCP_RST, Transport},
};

/// A client is not reported again within this time, whatever the controller makes of it.
const REPORT_HOLD: u64 = 1_000_000_000;

global! {
    /// A packet at an interface of a member.
    pub(crate) fn ingress(packet) -> u32;
    ingress_once or Verdict::NOT_OURS;
    member_ingress_xdp, member_ingress_in
}

#[inline(always)]
fn ingress_once<C: Context>(packet: &Packet<'_, C>) -> u32 {
    handle(packet).pack()
}

#[inline(always)]
fn handle<C: Context>(packet: &Packet<'_, C>) -> Verdict {
    let upper = packet.upper_header();
    let (ctx, parsed) = (packet.ctx, packet.parsed);
    let destination = on_stack(&packet.destination);
    if let Some(owner) = LOCAL_CARE_OF.get_ptr(&destination) {
        return match Transport::read(packet.ctx, upper) {
            Some(transport) => Verdict::Done(by_care_of(ctx, parsed, &raw const transport, owner)),
            None => Verdict::Done(XDP_PASS),
        };
    }
    // SAFETY: as above.
    if let Some(local) = unsafe { LOCAL_ANYCAST.get(&destination) }.copied() {
        traffic::count(local.account, side::DESTINATION, packet.octets());
        if let Some(transport) = Transport::read(packet.ctx, upper) {
            by_anycast(packet, &transport, local.report_clients != 0);
        }
        return Verdict::Done(XDP_PASS);
    }
    Verdict::NotOurs
}

global! {
    /// Messages of a handshake to one of our addresses, for the controller: Binding Refresh Request,
    /// Home Test, Care-of Test, Binding Acknowledgement, Binding Error.
    pub(crate) fn mobility(packet) -> u32;
    mobility_once or Verdict::NOT_OURS;
    member_mobility_xdp, member_mobility_in
}

#[inline(always)]
fn mobility_once<C: Context>(packet: &Packet<'_, C>) -> u32 {
    for_us(packet).pack()
}

#[inline(always)]
fn for_us<C: Context>(packet: &Packet<'_, C>) -> Verdict {
    let destination = on_stack(&packet.destination);
    if let Some(local) = LOCAL_ANYCAST.get_ptr(&destination) {
        // SAFETY: a plain integer.
        let account = unsafe { (*local).account };
        traffic::count(account, side::DESTINATION, packet.octets());
    } else if LOCAL_CARE_OF.get_ptr(&destination).is_none() {
        return Verdict::NotOurs;
    }
    let Some([0 | 3 | 4 | 6 | 7, _]) = packet.ctx.read::<[u8; 2]>(packet.upper_header().offset + 2)
    else {
        count(Counter::MobilityOtherRole);
        return Verdict::NotOurs;
    };
    if admission::answer() && punt(packet, kind::MOBILITY) {
        count(Counter::MobilityPunted);
    }
    // The kernel would answer it with a Parameter Problem.
    Verdict::Done(XDP_DROP)
}

global! {
    /// A packet to C.
    fn by_care_of(packet, transport: *const Transport, owner: *const LocalCareOf) -> u32;
    by_care_of_once or XDP_PASS;
    member_to_care_of_xdp, member_to_care_of_in
}

#[inline(always)]
fn by_care_of_once<C: Context>(
    packet: &Packet<'_, C>,
    transport: *const Transport,
    owner: *const LocalCareOf,
) -> u32 {
    // SAFETY: both are there, which the verifier cannot know. The controller replaces entries whole, and the copy is
    // made at once.
    let (Some(transport), Some(owner)) = (unsafe { (transport.as_ref(), owner.as_ref().copied()) })
    else {
        return XDP_PASS;
    };
    let key = transport.flow_from_client(&packet.source, &owner.anycast);
    let pointer = core::ptr::from_ref(transport);
    match note(packet.ctx, packet.parsed, pointer, &raw const key, 1) {
        came::UNKNOWN => {
            // Who has opened it: a client, unless the packet itself or a socket says otherwise.
            if !transport.opens() && own::opened_here(packet, transport) {
                count(Counter::MemberOwnFlow);
                return XDP_PASS;
            }
            // Without the entry the answers leave from B, and the correspondent takes both.
            // SAFETY: both are there.
            unsafe { member_flow_opened(&raw const key, &raw const packet.parsed.destination) };
        }
        came::RESET => {
            unbound(key.binding());
            return XDP_DROP;
        }
        came::RESET_AGAIN => return XDP_DROP,
        came::OVER => led(key.binding()),
        _ => {}
    }
    if rewrite::destination(packet, transport, &owner.anycast, owner.delta) {
        count(Counter::MemberIn);
        traffic::count(owner.account, side::DESTINATION, packet.octets());
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
pub(crate) fn unbound(pair: &BindingKey) {
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
    let (ctx, parsed) = (packet.ctx, packet.parsed);
    let key = transport.flow_from_client(&packet.source, &packet.destination);
    let pointer = core::ptr::from_ref(transport);
    let unknown = note(ctx, parsed, pointer, &raw const key, 0) == came::UNKNOWN;
    let opens = unknown && is_first(transport);
    let resets = transport.protocol == TCP && transport.flags & TCP_RST != 0;
    let known = if report && !resets {
        reported(packet.ctx, packet.parsed) != 0
    } else {
        opens && CLIENTS.get_ptr(key.binding()).is_some()
    };
    // Clients that do not exist take no room in the table: how many are known is limited.
    if opens && known {
        // Without the entry the flow goes by plain anycast to its end.
        // SAFETY: the key is there.
        unsafe { member_flow_opened(&raw const key, core::ptr::null()) };
    }
}

global! {
    /// Notes what of the packet concerns its flow: one of [`came`]. `to_care_of` is 0 for a packet to B.
    fn note(packet, transport: *const Transport, key: *const FlowKey, to_care_of: u32) -> u32;
    note_once or came::UNKNOWN;
    member_note_xdp, member_note_in
}

#[inline(always)]
fn note_once<C: Context>(
    packet: &Packet<'_, C>,
    transport: *const Transport,
    key: *const FlowKey,
    to_care_of: u32,
) -> u32 {
    // SAFETY: both are there, which the verifier cannot know.
    let (Some(transport), Some(key)) = (unsafe { (transport.as_ref(), key.as_ref()) }) else {
        return came::UNKNOWN;
    };
    let Some(flow) = MEMBER_FLOWS.get_ptr_mut(&on_stack(key)) else {
        return came::UNKNOWN;
    };
    // SAFETY: no arguments.
    let facts = facts(packet, transport, unsafe { bpf_ktime_get_coarse_ns() });
    // SAFETY: both are there.
    unsafe {
        if to_care_of != 0 {
            return member_by_care_of(flow, &facts);
        }
        member_by_anycast(flow, &facts);
    }
    came::AS_EVER
}

/// Whether it can be the first packet of a flow that the client opens. Of TCP, only a SYN says so; an echo reply
/// answers.
#[inline(always)]
fn is_first(transport: &Transport) -> bool {
    match transport.protocol {
        TCP => transport.opens(),
        ICMPV6 => transport.echo != ECHO_REPLY,
        _ => true,
    }
}

global! {
    /// Tells the controller of a client, unless it knows. Not 0: the client is noted.
    fn reported(packet) -> u32;
    reported_once or 0;
    member_reported_xdp, member_reported_in
}

#[inline(always)]
fn reported_once<C: Context>(packet: &Packet<'_, C>) -> u32 {
    let pair = BindingKey {
        client: packet.source,
        anycast: packet.destination,
    };
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    u32::from(is_reported(packet, &pair, now))
}

#[inline(always)]
fn is_reported<C: Context>(packet: &Packet<'_, C>, pair: &BindingKey, now: u64) -> bool {
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
