//! A cache of bound flows, which has the next hop and everything else that their packets need, for a fraction of a
//! second.
//!
//! Within that time a packet reads one line of an array of this CPU, and one line that all flows to the same member
//! share. After that time, and whenever anything is unusual, the packet goes the long way, which looks up the flow and
//! the FIB again, and notes when the flow was last heard. So a change of a route, a neighbour, a rule or a flow does
//! not have to find and remove any entry.

use anycast_common::{
    abi::{
        counters::short,
        maps::{self, CachedFlow, CachedWay, mixed, near_station, side},
    },
    wire::checksum,
};
use aya_ebpf::{
    bindings::xdp_action::{XDP_PASS, XDP_REDIRECT, XDP_TX},
    helpers::{bpf_get_smp_processor_id, bpf_redirect},
    programs::XdpContext,
};

use crate::{
    change::Change,
    context::{Context, Hook, Packet},
    fast::{Head, LENGTH, both},
    hints::{holds, is_left_alone, stamp},
    maps::{FLOW_CACHE, WAYS},
    next_hop::NextHop,
    packet::{Bytes, IPV6},
    sketch::words,
    traffic,
    transport::{TCP, TCP_FIN, TCP_RST, TCP_SYN, Transport, UDP},
};

// Where fields are in a frame without a VLAN tag or an extension header.
const ETHERNET: usize = 0;
const HEADER: usize = 14;
const HOP_LIMIT: usize = 21;
pub(crate) const SOURCE: usize = 22;
pub(crate) const DESTINATION: usize = 38;
pub(crate) const UDP_CHECKSUM: usize = 60;
const TCP_FLAGS: usize = 67;
pub(crate) const TCP_CHECKSUM: usize = 70;
const TCP_END: usize = 74;

/// Rewrites and sends a packet of a flow that is in the cache. `None` when the packet has to go the long way.
#[inline(always)]
pub(crate) fn send(ctx: &XdpContext, head: Head, addresses: u64) -> Option<u32> {
    // This comes before the lookup, since most segments of unknown flows open one.
    if !is_in_between(ctx, head) {
        return None;
    }
    let way = match find(ctx, head, addresses)? {
        Known::Way(way) => way,
        Known::Passes => return Some(XDP_PASS),
    };
    if !is_plain(ctx, head, way.mtu) {
        return None;
    }
    fix_checksum(ctx, head, way.delta)?;
    rewrite(head, way);
    if way.ifindex == ctx.ingress() {
        return Some(XDP_TX);
    }
    // SAFETY: no pointers.
    unsafe { bpf_redirect(way.ifindex, 0) };
    Some(XDP_REDIRECT)
}

/// What is known of a flow.
pub(crate) enum Known {
    Way(&'static CachedWay),
    /// Its packets pass, whatever else may be said of them.
    Passes,
}

/// In place of the index of a way: [`CachedFlow::PASSES`].
const PASSES: u32 = CachedFlow::PASSES;

/// What becomes of the packets of a flow, if that is known and holds still. See [`both`] about `addresses`.
#[inline(always)]
pub(crate) fn find<C: Context>(ctx: &C, head: Head, addresses: u64) -> Option<Known> {
    let of = |index| FLOW_CACHE.get(index).filter(|flow| is_it(ctx, head, flow));
    let [first, second] = places(addresses, head.ports());
    let flow = of(first)
        .or_else(|| of(first ^ 1))
        .or_else(|| of(second))
        .or_else(|| of(second ^ 1))?;
    if !holds(flow.stamp, stamp()) {
        return None;
    }
    if let Some(way) = WAYS.get(flow.way) {
        return Some(Known::Way(way));
    }
    let alone = flow.way == PASSES && is_left_alone(hash(addresses, head.ports()), flow.stamp);
    alone.then_some(Known::Passes)
}

#[inline(always)]
fn is_it<C: Context>(ctx: &C, head: Head, flow: &CachedFlow) -> bool {
    let (source, destination) = (head.source(), head.destination());
    let difference = (flow.source[0] ^ source[0])
        | (flow.source[1] ^ source[1])
        | (flow.destination[0] ^ destination[0])
        | (flow.destination[1] ^ destination[1])
        | (flow.header ^ head.flow_header())
        // Shifted, it need not be cleared of what is above.
        | u64::from(flow.ports ^ head.ports()) << 32
        | (flow.place ^ place(ctx, head));
    difference == 0
}

/// Where a packet meets a program: see [`CachedFlow::place`]. Those of XDP and of the two ways at TCX differ, since no
/// index of an interface is zero, or has the highest bit.
#[inline(always)]
fn place<C: Context>(ctx: &C, head: Head) -> u64 {
    match C::HOOK {
        Hook::Xdp => near_station(ctx.ingress(), head.first()),
        Hook::Ingress => u64::from(!ctx.ingress()),
        Hook::Egress => u64::from(!ctx.ingress()) | u64::from(ctx.origin()) << 32,
    }
}

/// Whether the kernel need not send an ICMPv6 error about the size or the hop limit of the packet, and all of it is in
/// one buffer.
#[inline(always)]
fn is_plain(ctx: &XdpContext, head: Head, mtu: u16) -> bool {
    // SAFETY: the bounds were checked.
    let (length, hop_limit) = unsafe {
        (
            u16::from_be(*head.field(LENGTH)),
            *head.field::<u8>(HOP_LIMIT),
        )
    };
    hop_limit > 1
        && u32::from(length) + IPV6 as u32 <= u32::from(mtu)
        // Numbers are compared, since Linux 6.1 adds none to a pointer whose octets were swapped.
        && HEADER + IPV6 + usize::from(length) <= ctx.data_end() - ctx.data()
}

/// Whether the packet neither begins nor ends a connection, and is not cut short.
#[inline(always)]
pub(crate) fn is_in_between(ctx: &impl Bytes, head: Head) -> bool {
    if head.protocol() == UDP {
        return true;
    }
    if !head.reaches(ctx, TCP_END) {
        return false;
    }
    // SAFETY: the bounds were checked.
    let flags = unsafe { *head.field::<u8>(TCP_FLAGS) };
    flags & (TCP_SYN | TCP_FIN | TCP_RST) == 0
}

/// Updates the checksum. `None` when the segment is cut short.
#[inline(always)]
fn fix_checksum(ctx: &XdpContext, head: Head, delta: u16) -> Option<()> {
    if head.protocol() == UDP {
        // SAFETY: the bounds were checked.
        let field = unsafe { &mut *head.field::<u16>(UDP_CHECKSUM) };
        if *field != 0 {
            *field = checksum::udp(checksum::apply(*field, delta));
        }
        return Some(());
    }
    if !head.reaches(ctx, TCP_END) {
        return None;
    }
    // SAFETY: as above.
    unsafe {
        let field = &mut *head.field::<u16>(TCP_CHECKSUM);
        *field = checksum::apply(*field, delta);
    }
    Some(())
}

#[inline(always)]
fn rewrite(head: Head, way: &CachedWay) {
    let offset = if way.side == u32::from(side::DESTINATION) {
        traffic::count_short(way.account, short::TO_CARE_OF, head.octets());
        DESTINATION
    } else {
        traffic::count_short(way.account, short::FROM_CARE_OF, head.octets());
        SOURCE
    };
    // SAFETY: the bounds were checked.
    unsafe {
        *head.field(offset) = way.address[0];
        *head.field(offset + 8) = way.address[1];
        *head.field(ETHERNET) = *way.ethernet.as_ptr().cast::<u64>();
        *head.field(ETHERNET + 8) = way.ethernet[2];
        *head.field::<u8>(HOP_LIMIT) -= 1;
    }
}

/// Keeps what was found for a packet, if others like it can go the short way. It and the parts of it are functions of
/// their own because a BPF stack is small.
#[inline(always)]
pub(crate) fn remember<C: Context>(
    packet: &Packet<'_, C>,
    transport: &Transport,
    change: &Change,
    next_hop: &NextHop,
) {
    if !can_remember(packet, transport) {
        return;
    }
    if transport.flags & (TCP_FIN | TCP_RST) != 0 {
        end_flow(packet.ctx);
        return;
    }
    let stamp = change.stamp;
    let way = remember_way(change, next_hop, stamp);
    if way != NONE {
        remember_flow(packet.ctx, way, stamp);
    }
}

/// Keeps that the packets of a flow pass, which is not bound. A bound flow may take the place of its entry.
#[inline(always)]
pub(crate) fn remember_passing<C: Context>(ctx: &C, stamp: u64) {
    remember_flow(ctx, PASSES, stamp);
}

/// Whether a frame like this one can go the short way.
#[inline(always)]
pub(crate) fn can_remember<C: Context>(packet: &Packet<'_, C>, transport: &Transport) -> bool {
    let plain = match transport.protocol {
        TCP => transport.checksum == TCP_CHECKSUM,
        UDP => transport.checksum == UDP_CHECKSUM,
        _ => false,
    };
    plain && !packet.layout.tagged
}

/// A value that is no index of a way.
const NONE: u32 = u32::MAX;

/// The entry of a flow, or one that it may take. A valid entry of another flow is not replaced, unless this flow is
/// bound and the other is not.
#[inline(never)]
fn remember_flow<C: Context>(ctx: &C, way: u32, stamp: u64) -> u32 {
    let Some(head) = Head::of(ctx) else {
        return 0;
    };
    let [first, second] = places(both_of(head), head.ports());
    let mut room = NONE;
    for index in [second ^ 1, second, first ^ 1, first] {
        let Some(flow) = FLOW_CACHE.get(index) else {
            return 0;
        };
        let gives_way = flow.way == PASSES && way != PASSES;
        if is_it(ctx, head, flow) || gives_way || !holds(flow.stamp, stamp) {
            room = index;
        }
    }
    let Some(flow) = FLOW_CACHE.get_ptr_mut(room) else {
        return 0;
    };
    // SAFETY: the bounds were checked; entries of this CPU are written by it alone, and XDP and TCX programs are not
    // preempted by another of ours on it.
    unsafe {
        (*flow).source = head.source();
        (*flow).destination = head.destination();
        (*flow).header = head.flow_header();
        (*flow).place = place(ctx, head);
        (*flow).stamp = stamp;
        (*flow).ports = head.ports();
        (*flow).way = way;
    }
    1
}

/// Has the next packet of a flow that may have ended go the long way, where it shows that the flow goes on.
#[inline(never)]
fn end_flow<C: Context>(ctx: &C) -> u32 {
    let Some(head) = Head::of(ctx) else {
        return 0;
    };
    let [first, second] = places(both_of(head), head.ports());
    for index in [first, first ^ 1, second, second ^ 1] {
        let Some(flow) = FLOW_CACHE.get_ptr_mut(index) else {
            return 0;
        };
        // SAFETY: as in `remember_flow`.
        unsafe {
            if is_it(ctx, head, &*flow) {
                (*flow).stamp = 0;
            }
        }
    }
    1
}

/// The index of a way, which is made if there is room for it. A way that a flow may still use is not replaced.
#[inline(never)]
fn remember_way(change: &Change, next_hop: &NextHop, stamp: u64) -> u32 {
    let first = way_place(change, next_hop);
    for index in [first, first ^ 1] {
        let Some(way) = WAYS.get_ptr_mut(index) else {
            return NONE;
        };
        // SAFETY: as in `remember_flow`.
        let way = unsafe { &mut *way };
        let same = is_that_way(way, change, next_hop);
        if same || !holds(way.stamp, stamp) {
            way.stamp = stamp;
            if !same {
                way.address = words(&change.address);
                way.ethernet = ethernet(next_hop);
                way.ifindex = next_hop.ifindex;
                way.side = u32::from(change.side);
                way.mtu = next_hop.mtu;
                way.delta = change.delta;
                way.account = change.account;
            }
            return index;
        }
    }
    NONE
}

#[inline(always)]
fn is_that_way(way: &CachedWay, change: &Change, next_hop: &NextHop) -> bool {
    let (address, ethernet) = (words(&change.address), ethernet(next_hop));
    let difference = (way.address[0] ^ address[0])
        | (way.address[1] ^ address[1])
        | u64::from(way.ethernet[0] ^ ethernet[0])
        | u64::from(way.ethernet[1] ^ ethernet[1])
        | u64::from(way.ethernet[2] ^ ethernet[2])
        | u64::from(way.ifindex ^ next_hop.ifindex)
        | u64::from(way.side ^ u32::from(change.side))
        | u64::from(way.mtu ^ next_hop.mtu)
        | u64::from(way.delta ^ change.delta)
        | u64::from(way.account ^ change.account);
    difference == 0
}

/// Index of the first of the two slots of a way among those of this CPU.
#[inline(always)]
fn way_place(change: &Change, next_hop: &NextHop) -> u32 {
    let address = words(&change.address);
    let ethernet = ethernet(next_hop);
    let mixed = (address[0] ^ u64::from(ethernet[0]) << 16).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ (address[1]
            ^ u64::from(ethernet[1]) << 32
            ^ u64::from(next_hop.ifindex)
            ^ u64::from(change.account) << 16)
            .wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    of_this_cpu(maps::WAYS, (mixed >> 40) as u32)
}

/// The Ethernet addresses as they lie in a frame, by words.
#[inline(always)]
fn ethernet(next_hop: &NextHop) -> [u32; 3] {
    let ([t0, t1, t2], [f0, f1, f2]) = (next_hop.destination, next_hop.source);
    let pair = |first: u16, second: u16| {
        let ([a, b], [c, d]) = (first.to_ne_bytes(), second.to_ne_bytes());
        u32::from_ne_bytes([a, b, c, d])
    };
    [pair(t0, t1), pair(t2, f0), pair(f1, f2)]
}

/// [`both`] of a frame.
#[inline(always)]
fn both_of(head: Head) -> u64 {
    both(mixed(head.source()), mixed(head.destination()))
}

/// The ends of a flow as one number; see [`both`] about `addresses`.
#[inline(always)]
pub(crate) fn hash(addresses: u64, ports: u32) -> u64 {
    addresses.wrapping_add(u64::from(ports).wrapping_mul(0xd6e8_feb8_6659_fd93))
}

/// Indices of the first slot of each of the two pairs of slots of a flow. An attacker who has flows share slots only
/// makes them slower.
#[inline(always)]
fn places(addresses: u64, ports: u32) -> [u32; 2] {
    let mixed = hash(addresses, ports);
    let first = of_this_cpu(maps::FLOW_CACHE, (mixed >> 40) as u32);
    [
        first,
        first ^ ((mixed >> 24) as u32 & (maps::FLOW_CACHE - 1)),
    ]
}

/// An index among those of this CPU, of which there are so many, a power of two.
#[inline(always)]
fn of_this_cpu(places: u32, hash: u32) -> u32 {
    // SAFETY: no arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    cpu * places + (hash & (places - 1))
}
