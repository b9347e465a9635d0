//! Pinned flows, each with its next hop and all else that its packets need, for a small part of a
//! second.
//!
//! Within that time a flow costs one lookup in an array of this CPU. After it, and whenever anything
//! is unusual, the packet goes the long way, which asks the pin and the FIB again and notes when the
//! flow was last heard. So there is no entry that a change of a route, a neighbour, a rule or a pin
//! would have to find.

use anycast_common::{
    abi::{
        counters::Counter,
        maps::{self, CachedFlow, FLOW_CACHE_LIFE, place},
    },
    wire::checksum,
};
use aya_ebpf::{
    bindings::xdp_action::{XDP_REDIRECT, XDP_TX},
    helpers::{bpf_get_smp_processor_id, bpf_redirect},
    programs::XdpContext,
};

use crate::{
    classify::Packet,
    correspondent::Change,
    count::count,
    fast::Head,
    forward::NextHop,
    limit::now,
    maps::{FLOW_CACHE, FLOW_CACHE_AGE},
    packet::IPV6,
    sketch::words,
    transport::{TCP, TCP_FIN, TCP_RST, TCP_SYN, Transport, UDP},
};

// Where fields are in a frame without a VLAN tag or an extension header.
const MAC: usize = 0;
const OWN_MAC: usize = 6;
const CLASS_FLOW: usize = 14;
const LENGTH: usize = 18;
const HOP_LIMIT: usize = 21;
const SOURCE: usize = 22;
const DESTINATION: usize = 38;
const PORTS: usize = 54;
const UDP_CHECKSUM: usize = 60;
const TCP_FLAGS: usize = 67;
const TCP_CHECKSUM: usize = 70;
const TCP_END: usize = 74;

/// Routes may depend on the traffic class and the flow label, not on ECN.
const NOT_ECN: u32 = 0x0fcf_ffff_u32.to_be();

/// Rewrites and sends a packet of a flow that is known. `None`: look closer.
#[inline(always)]
pub(crate) fn send(ctx: &XdpContext, head: &Head) -> Option<u32> {
    // SAFETY: the bounds were checked.
    let (ports, class_flow) = unsafe {
        (
            *head.field::<u32>(PORTS),
            *head.field::<u32>(CLASS_FLOW) & NOT_ECN,
        )
    };
    let first = index(head.source, head.destination, ports);
    let is_it = |flow: &&CachedFlow| {
        let difference = (flow.source[0] ^ head.source[0])
            | (flow.source[1] ^ head.source[1])
            | (flow.destination[0] ^ head.destination[0])
            | (flow.destination[1] ^ head.destination[1])
            | u64::from(flow.ports ^ ports)
            | u64::from(flow.class_flow ^ class_flow)
            | u64::from(flow.protocol ^ head.protocol);
        difference == 0
    };
    let flow = FLOW_CACHE
        .get(first)
        .filter(is_it)
        .or_else(|| FLOW_CACHE.get(first ^ 1).filter(is_it))?;
    if flow.stamp != stamp()? {
        return None;
    }
    let ingress = ctx.ingress_ifindex() as u32;
    if flow.ingress != ingress || !is_plain(head, flow.mtu) {
        return None;
    }
    fix_checksum(ctx, head, flow.delta)?;
    rewrite(head, flow);
    count(if flow.place == place::DESTINATION {
        Counter::ToCareOf
    } else {
        Counter::FromCareOf
    });
    count(Counter::Forwarded);
    if flow.ifindex == ingress {
        return Some(XDP_TX);
    }
    // SAFETY: no pointers.
    unsafe { bpf_redirect(flow.ifindex, 0) };
    Some(XDP_REDIRECT)
}

/// Whether the kernel has nothing to say about its size or age.
#[inline(always)]
fn is_plain(head: &Head, mtu: u16) -> bool {
    // SAFETY: the bounds were checked.
    let (length, hop_limit) = unsafe {
        (
            u16::from_be(*head.field(LENGTH)),
            *head.field::<u8>(HOP_LIMIT),
        )
    };
    hop_limit > 1 && u32::from(length) + IPV6 as u32 <= u32::from(mtu)
}

/// `None`: a segment that begins or ends something, or one that is cut short.
#[inline(always)]
fn fix_checksum(ctx: &XdpContext, head: &Head, delta: u16) -> Option<()> {
    if head.protocol == UDP {
        // SAFETY: the bounds were checked.
        let field = unsafe { &mut *head.field::<u16>(UDP_CHECKSUM) };
        if *field != 0 {
            *field = checksum::udp(checksum::apply(*field, delta));
        }
        return Some(());
    }
    if head.frame as usize + TCP_END > ctx.data_end() {
        return None;
    }
    // SAFETY: as above.
    unsafe {
        if *head.field::<u8>(TCP_FLAGS) & (TCP_SYN | TCP_FIN | TCP_RST) != 0 {
            return None;
        }
        let field = &mut *head.field::<u16>(TCP_CHECKSUM);
        *field = checksum::apply(*field, delta);
    }
    Some(())
}

#[inline(always)]
fn rewrite(head: &Head, flow: &CachedFlow) {
    let place = if flow.place == place::DESTINATION {
        DESTINATION
    } else {
        SOURCE
    };
    // SAFETY: the bounds were checked.
    unsafe {
        *head.field(place) = flow.address[0];
        *head.field(place + 8) = flow.address[1];
        *head.field(MAC) = flow.mac;
        *head.field(OWN_MAC) = flow.own_mac;
        *head.field::<u8>(HOP_LIMIT) -= 1;
    }
}

/// Keeps what was found for a packet that XDP sends, if others like it can go the short way. A
/// function of its own for the sake of the stack.
#[inline(never)]
pub(crate) fn remember(
    packet: &Packet<'_>,
    transport: &Transport,
    change: &Change,
    next_hop: &NextHop,
) {
    let plain = match transport.protocol {
        TCP => transport.checksum == TCP_CHECKSUM,
        UDP => transport.checksum == UDP_CHECKSUM,
        _ => false,
    };
    if !plain || packet.layout.tagged {
        return;
    }
    let ([s0, s1], [d0, d1]) = (transport.source_port, transport.destination_port);
    let ports = u32::from_ne_bytes([s0, s1, d0, d1]);
    let (source, destination) = (words(&packet.source), words(&packet.destination));
    let Some(stamp) = stamp() else {
        return;
    };
    let first = index(source, destination, ports);
    // Another flow keeps its place until its time is over.
    let taken = FLOW_CACHE.get(first).is_some_and(|flow| {
        flow.stamp == stamp
            && !(flow.ports == ports && flow.source == source && flow.destination == destination)
    });
    let place = first ^ u32::from(taken);
    let Some(flow) = FLOW_CACHE.get_ptr_mut(place) else {
        return;
    };
    // SAFETY: `classify` checked the bounds of the header; entries of this CPU are
    // written by it alone, and XDP is not preempted by XDP.
    unsafe {
        (*flow).source = source;
        (*flow).destination = destination;
        (*flow).ports = ports;
        (*flow).ingress = packet.ctx.ingress_ifindex() as u32;
        (*flow).class_flow = (*packet.ipv6).version_class_flow & NOT_ECN;
        (*flow).protocol = transport.protocol;
        (*flow).place = change.place;
        (*flow).delta = change.delta;
        (*flow).stamp = stamp;
        (*flow).address = words(&change.address);
        (*flow).ifindex = next_hop.ifindex;
        (*flow).mtu = next_hop.mtu;
        (*flow).mac = next_hop.destination;
        (*flow).own_mac = next_hop.source;
    }
}

/// Ends all that is cached, on every CPU: what a flow is heard of next is to be noted.
#[inline(always)]
pub(crate) fn forget() {
    if let Some(age) = FLOW_CACHE_AGE.get_ptr_mut(0) {
        // SAFETY: entries of an array are aligned and live as long as the map. Two CPUs that add at
        // once may add one together, which is a change too.
        unsafe { *age = (*age).wrapping_add(1) };
    }
}

/// When it is, as far as an entry needs to know. Never 0, which an empty entry has.
#[inline(always)]
fn stamp() -> Option<u64> {
    let age = *FLOW_CACHE_AGE.get(0)?;
    Some(((now() >> FLOW_CACHE_LIFE) + 1) | (age << 40))
}

/// The first of a flow's two places among those of this CPU. Who makes flows meet in one slows those
/// flows.
#[inline(always)]
fn index(source: [u64; 2], destination: [u64; 2], ports: u32) -> u32 {
    let mixed = (source[0] ^ destination[1]).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ (source[1] ^ destination[0] ^ u64::from(ports)).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    let place = (mixed >> 40) as u32 & (maps::FLOW_CACHE - 1);
    // SAFETY: no arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    cpu * maps::FLOW_CACHE + place
}
