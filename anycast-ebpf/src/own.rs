//! Which flows to C are this host's own: C is an address like any other to its sockets.
//!
//! A flow to C belongs to B when a client opened it. Of one that has no note, a socket that is bound to C
//! itself says that it does not.

use anycast_common::abi::maps::{FlowKey, MemberFlow, stage};
use aya_ebpf::{
    bindings::{BPF_F_CURRENT_NETNS, bpf_sock_tuple},
    helpers::{bpf_ktime_get_coarse_ns, bpf_sk_lookup_udp, bpf_sk_release, bpf_skc_lookup_tcp},
};

use crate::{
    context::{Context, Packet},
    global::global,
    maps::MEMBER_FLOWS,
    member_flow::opened,
    packet::{octets, words},
    transport::{ECHO_REPLY, ICMPV6, TCP, Transport, UDP},
};

/// How long a note of a flow without connections holds after its last packet: as long as UDP's (RFC 4787 REQ-5).
const IDLE: u64 = 300_000_000_000;
/// `TCP_LISTEN` of `bpf_sock`'s states.
const LISTENS: u32 = 10;

/// Addresses and ports as `bpf_sock_tuple` has them, of IPv6.
#[repr(C)]
struct Tuple {
    source: [u32; 4],
    destination: [u32; 4],
    source_port: [u8; 2],
    destination_port: [u8; 2],
}

/// Whether this host has opened the flow of a packet to C, of which nothing is known.
#[inline(always)]
pub(crate) fn opened_here<C: Context>(packet: &Packet<'_, C>, transport: &Transport) -> bool {
    let (ctx, parsed, pointer) = (packet.ctx, packet.parsed, core::ptr::from_ref(transport));
    match transport.protocol {
        TCP => has_socket(ctx, parsed, pointer) != 0,
        UDP => has_note(ctx, parsed, pointer) != 0 || has_socket(ctx, parsed, pointer) != 0,
        ICMPV6 => transport.echo == ECHO_REPLY,
        _ => has_note(ctx, parsed, pointer) != 0,
    }
}

global! {
    /// Whether a socket of this host has opened it: not 0 if so.
    fn has_socket(packet, transport: *const Transport) -> u32;
    has_socket_once or 0;
    member_has_socket_xdp, member_has_socket_in
}

global! {
    /// Whether it answers what this host sent from C of late, by a socket that is not bound to it: not 0 if so.
    fn has_note(packet, transport: *const Transport) -> u32;
    has_note_once or 0;
    member_has_note_xdp, member_has_note_in
}

#[inline(always)]
fn has_socket_once<C: Context>(packet: &Packet<'_, C>, transport: *const Transport) -> u32 {
    // SAFETY: it is there, which the verifier cannot know.
    let transport = unsafe { transport.as_ref() };
    u32::from(transport.is_some_and(|transport| is_connected(packet, transport)))
}

#[inline(always)]
fn has_note_once<C: Context>(packet: &Packet<'_, C>, transport: *const Transport) -> u32 {
    // SAFETY: as above.
    let transport = unsafe { transport.as_ref() };
    u32::from(transport.is_some_and(|transport| is_noted(packet, transport)))
}

/// A socket that listens on C serves clients, and one that is not connected may; the packets of both are B's.
#[inline(always)]
fn is_connected<C: Context>(packet: &Packet<'_, C>, transport: &Transport) -> bool {
    let mut tuple = Tuple {
        source: words(&packet.source),
        destination: words(&packet.destination),
        source_port: transport.source_port,
        destination_port: transport.destination_port,
    };
    let (context, size) = (packet.ctx.as_ptr(), size_of::<Tuple>() as u32);
    let netns = BPF_F_CURRENT_NETNS as u64;
    let pointer: *mut bpf_sock_tuple = (&raw mut tuple).cast();
    // SAFETY: the context and the tuple live until the helper returns; the socket is read while it is held.
    unsafe {
        let socket = if transport.protocol == TCP {
            bpf_skc_lookup_tcp(context, pointer, size, netns, 0)
        } else {
            bpf_sk_lookup_udp(context, pointer, size, netns, 0)
        };
        if socket.is_null() {
            return false;
        }
        let bound = octets((*socket).src_ip6) == packet.destination;
        let connected = if transport.protocol == TCP {
            (*socket).state != LISTENS
        } else {
            (*socket).dst_port != 0
        };
        bpf_sk_release(socket.cast());
        bound && connected
    }
}

#[inline(always)]
fn is_noted<C: Context>(packet: &Packet<'_, C>, transport: &Transport) -> bool {
    let key = transport.flow_from_client(&packet.source, &packet.destination);
    let Some(flow) = MEMBER_FLOWS.get_ptr(&key) else {
        return false;
    };
    // SAFETY: the memory of an entry stays mapped; it is one integer. The clock has no arguments.
    unsafe { bpf_ktime_get_coarse_ns() < (*flow).last_in + IDLE }
}

/// Notes that this host has sent a packet of `key`, which names an address of its own where flows of clients
/// name B. A function of its own for the sake of the stack.
#[inline(never)]
pub(crate) fn note(key: &FlowKey) -> u32 {
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    if let Some(flow) = MEMBER_FLOWS.get_ptr_mut(key) {
        // SAFETY: as above.
        unsafe { (*flow).last_in = now };
        return 0;
    }
    let flow = MemberFlow {
        stage: stage::OWN,
        ..opened(now)
    };
    u32::from(MEMBER_FLOWS.insert(key, &flow, 0).is_ok())
}
