//! The member: A -> C becomes A -> B, and new clients of B are reported.

use anycast_common::abi::{
    counters::Counter,
    event::kind,
    maps::{BindingKey, Client, LocalCareOf, MemberFlow},
};
use anycast_common::wire::checksum;
use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    helpers::bpf_ktime_get_coarse_ns,
};

use crate::{
    admission,
    classify::{Packet, Verdict},
    context::Context,
    count::count,
    maps::{CLIENTS, LOCAL_ANYCAST, LOCAL_CARE_OF, MEMBER_FLOWS},
    packet::Upper,
    punt::{punt, punt_headers},
    rewrite,
    transport::{TCP, TCP_ACK, TCP_RST, Transport},
};

/// A client is not reported again within this time, whatever the controller makes of it.
const REPORT_HOLD: u64 = 1_000_000_000;
/// How long a flow that went back to B stays there at least: a few retransmissions of TCP.
const SETTLE: u64 = 3_000_000_000;

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
        // SAFETY: the memory of an entry stays mapped; its fields are plain integers, and racing
        // packets of one flow write values of the same moment.
        unsafe {
            if is_bare_reset(transport) && holds_reset(flow, now) {
                count(Counter::MemberResetHeld);
                return XDP_DROP;
            }
            (*flow).last_in = now;
            if transport.opens() {
                // A new connection on the ports of an old one.
                (*flow).client_closed = 0;
                (*flow).member_closed = 0;
            }
            if transport.closes() {
                (*flow).client_closed = 1;
                if resets(transport) != 0 {
                    (*flow).member_closed = 1;
                }
            }
            if now >= (*flow).settles_at {
                (*flow).by_anycast = 0;
            }
            // Another C of the same B, after the client was bound anew.
            if (*flow).care_of != packet.destination {
                (*flow).care_of = packet.destination;
                (*flow).delta = checksum::delta(&owner.anycast, &packet.destination);
            }
        }
    } else {
        let flow = MemberFlow {
            care_of: packet.destination,
            last_in: now,
            settles_at: 0,
            delta: checksum::delta(&owner.anycast, &packet.destination),
            by_anycast: 0,
            client_closed: u8::from(transport.closes()),
            member_closed: resets(transport),
            reserved: [0; 3],
        };
        // Without the entry the answers leave from B, and the correspondent takes both.
        let _ = MEMBER_FLOWS.insert(&key, &flow, 0);
    }
    if rewrite::destination(packet, transport, &owner.anycast, owner.delta) {
        count(Counter::MemberIn);
    }
    XDP_PASS
}

/// 1 for a reset: it ends both directions.
#[inline(always)]
pub(crate) fn resets(transport: &Transport) -> u8 {
    u8::from(transport.protocol == TCP && transport.flags & TCP_RST != 0)
}

/// A reset without ACK answers a segment that no socket wanted (RFC 9293 3.10.7.1).
#[inline(always)]
fn is_bare_reset(transport: &Transport) -> bool {
    transport.protocol == TCP && transport.flags & (TCP_RST | TCP_ACK) == TCP_RST
}

/// Whether a bare reset by C is to be held back.
///
/// A correspondent that lost its pins lets segments from C through to the client, which resets
/// them although the connection lives, under B. The first such reset moves the flow to B. A client
/// that is really gone resets what it gets from there too, and is believed once the flow settled.
#[inline(always)]
unsafe fn holds_reset(flow: *mut MemberFlow, now: u64) -> bool {
    // SAFETY: the caller's entry.
    unsafe {
        if (*flow).by_anycast == 0 {
            return_to_anycast(flow, now);
        }
        now < (*flow).settles_at
    }
}

#[inline(always)]
unsafe fn return_to_anycast(flow: *mut MemberFlow, now: u64) {
    // SAFETY: the caller's entry.
    unsafe {
        (*flow).by_anycast = 1;
        (*flow).settles_at = now + SETTLE;
    }
    count(Counter::MemberFlowReturned);
}

#[inline(always)]
fn by_anycast<C: Context>(packet: &Packet<'_, C>, transport: &Transport, report: bool) {
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    let key = transport.flow_from_client(&packet.source, &packet.destination);
    if let Some(flow) = MEMBER_FLOWS.get_ptr_mut(&key) {
        // SAFETY: as in `by_care_of`.
        unsafe {
            if (*flow).by_anycast == 0 {
                return_to_anycast(flow, now);
            }
        }
    }
    if !report || transport.flags & TCP_RST != 0 {
        return;
    }
    let key = BindingKey {
        client: packet.source,
        anycast: packet.destination,
    };
    // SAFETY: one integer.
    if let Some(client) = unsafe { CLIENTS.get(&key) }
        && now < client.quiet_until
    {
        return;
    }
    // A client that is refused is tried again with its next packet.
    if admission::new_client(packet) && punt_headers(packet, kind::NEW_CLIENT) {
        count(Counter::MemberNewClient);
        let held = Client {
            quiet_until: now + REPORT_HOLD,
        };
        let _ = CLIENTS.insert(&key, &held, 0);
    }
}
