//! Next hops that flows share: a new flow need not ask the FIB for what another was told a moment ago.
//!
//! That is so only where nothing but a packet's destination and its interface decides by which way it goes. The
//! controller knows it from the kernel's rules and routes, and vouches for it for a short time
//! ([`plain_routes_until`]). An entry holds as long as one of the flow cache, and ends with any notification of a
//! route, a rule, a neighbour or an interface.

use anycast_common::abi::maps::{self, SharedHop, side};
use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;

use crate::{
    change::Change,
    context::{Context, Hook, Packet},
    forward,
    global::global,
    hints::{holds, plain_routes_until, route_stamp},
    maps::SHARED_HOPS,
    next_hop::{NextHop, Way},
    packet::{IPV6, Ipv6},
    sketch::words,
    traffic,
    transport::Transport,
};

/// Where packets can share a next hop: what XDP sends to a member.
#[inline(always)]
fn can_share<C: Context>(change: &Change) -> bool {
    C::HOOK == Hook::Xdp && change.side == side::DESTINATION
}

/// The next hop of a packet: as others have found it, or as the FIB says now. The change gets the account of such
/// packets.
#[inline(always)]
pub(crate) fn next_hop<C: Context>(
    packet: &Packet<'_, C>,
    transport: &Transport,
    change: &mut Change,
) -> NextHop {
    if !can_share::<C>(change) {
        let next_hop = forward::next_hop(packet, transport, change);
        change.account = account(packet, change);
        return next_hop;
    }
    let mut found = NextHop::by(Way::Kernel);
    // As in `forward::next_hop`.
    let place = core::hint::black_box(&raw mut found);
    let stamp = find(packet.ctx, packet.parsed, &raw mut *change, place);
    if stamp == FOUND {
        return found;
    }
    found = forward::next_hop(packet, transport, change);
    change.account = account(packet, change);
    if found.way == Way::Program && found.mtu != 0 {
        keep(
            packet.ctx,
            packet.parsed,
            &raw const *change,
            &raw const found,
            stamp,
        );
    }
    found
}

/// What the packet and the change are counted by.
#[inline(always)]
fn account<C: Context>(packet: &Packet<'_, C>, change: &Change) -> u32 {
    if change.side == side::DESTINATION {
        traffic::account(&packet.parsed.destination, &change.address)
    } else {
        traffic::account(&change.address, &packet.parsed.source)
    }
}

/// No stamp, since time begins later.
const FOUND: u64 = 0;

global! {
    /// The next hop of the packet as it will be after the change, if it is known and the packet can go there:
    /// [`FOUND`]. Else a stamp for what the FIB says, which is taken before that is asked, so that a change in between
    /// ends it.
    fn find(packet, change: *mut Change, found: *mut NextHop) -> u64;
    find_once or 1;
    shared_hop_find_xdp, shared_hop_find_in
}

#[inline(always)]
fn find_once<C: Context>(packet: &Packet<'_, C>, change: *mut Change, found: *mut NextHop) -> u64 {
    let stamp = route_stamp();
    // SAFETY: both are there, which the verifier cannot know.
    let (Some(change), Some(found)) = (unsafe { (change.as_mut(), found.as_mut()) }) else {
        return stamp;
    };
    let whose = Whose {
        address: words(&change.address),
        before: words(&packet.destination),
        ingress: packet.ctx.ingress(),
    };
    let Some(hop) = whose.known(stamp) else {
        return stamp;
    };
    if !is_plain(packet, hop.mtu) {
        return stamp;
    }
    found.ifindex = hop.ifindex;
    found.mtu = hop.mtu;
    found.source = hop.source;
    found.destination = hop.destination;
    found.way = Way::Program;
    change.account = u32::from(hop.account);
    FOUND
}

/// Whether there is nothing about the packet for which the kernel would have to send an ICMPv6 error, or to do more
/// than to send it.
#[inline(always)]
fn is_plain<C: Context>(packet: &Packet<'_, C>, mtu: u16) -> bool {
    // SAFETY: `classify` checked that the IPv6 header lies within the packet.
    let Ipv6 {
        payload_length,
        hop_limit,
        ..
    } = unsafe { &*packet.ipv6 };
    let length = usize::from(u16::from_be(*payload_length)) + IPV6;
    *hop_limit > 1
        && !packet.layout.tagged
        && !forward::is_to_group(packet.ctx)
        && length <= usize::from(mtu)
        && packet.layout.ipv6 + length <= packet.ctx.end() - packet.ctx.start()
}

global! {
    /// Keeps what the FIB said for packets of other flows, while that is allowed.
    fn keep(packet, change: *const Change, found: *const NextHop, stamp: u64) -> u64;
    keep_once or 0;
    shared_hop_keep_xdp, shared_hop_keep_in
}

#[inline(always)]
fn keep_once<C: Context>(
    packet: &Packet<'_, C>,
    change: *const Change,
    found: *const NextHop,
    stamp: u64,
) -> u64 {
    // SAFETY: both are there, which the verifier cannot know.
    let (Some(change), Some(found)) = (unsafe { (change.as_ref(), found.as_ref()) }) else {
        return 0;
    };
    let whose = Whose {
        address: words(&change.address),
        before: words(&packet.destination),
        ingress: packet.ctx.ingress(),
    };
    whose.keep(stamp, found, change.account as u16);
    1
}

/// Which packets share a next hop.
pub(crate) struct Whose {
    /// Where they go.
    pub(crate) address: [u64; 2],
    /// The destination that they came with; zero: this host makes them.
    pub(crate) before: [u64; 2],
    /// By which interface they came, or the loopback interface.
    pub(crate) ingress: u32,
}

impl Whose {
    /// What was found for others, if it holds still.
    #[inline(always)]
    pub(crate) fn known(&self, stamp: u64) -> Option<&'static SharedHop> {
        let hop = SHARED_HOPS.get(self.place())?;
        let difference = (hop.address[0] ^ self.address[0])
            | (hop.address[1] ^ self.address[1])
            | (hop.before[0] ^ self.before[0])
            | (hop.before[1] ^ self.before[1])
            | u64::from(hop.ingress ^ self.ingress);
        (difference == 0 && holds(hop.stamp, stamp)).then_some(hop)
    }

    /// Keeps what the FIB said for others, while that is allowed. The stamp was taken before it was asked.
    #[inline(always)]
    pub(crate) fn keep(&self, stamp: u64, found: &NextHop, account: u16) {
        // SAFETY: no arguments.
        if unsafe { bpf_ktime_get_coarse_ns() } >= plain_routes_until() {
            return;
        }
        let Some(hop) = SHARED_HOPS.get_ptr_mut(self.place()) else {
            return;
        };
        // SAFETY: the slot belongs to this CPU, and XDP programs are not preempted by another of ours on it.
        unsafe {
            (*hop).address = self.address;
            (*hop).before = self.before;
            (*hop).stamp = stamp;
            (*hop).ingress = self.ingress;
            (*hop).ifindex = found.ifindex;
            (*hop).destination = found.destination;
            (*hop).source = found.source;
            (*hop).mtu = found.mtu;
            (*hop).account = account;
        }
    }

    /// Index of the entry.
    #[inline(always)]
    fn place(&self) -> u32 {
        const HALF: u32 = maps::SHARED_HOPS / 2;
        let own = u32::from(self.before[0] | self.before[1] == 0);
        (maps::mixed(self.address) >> 48) as u32 & (HALF - 1) | (own * HALF)
    }
}
