//! The short way at TCX: for packets of bound flows about which all was found a moment ago.
//!
//! As at XDP, it says what `classify` would have said, or that it does not know. The kernel forwards, so the packets of
//! one direction have two entries: one where they come in, which may be that nothing is done there, and one where they
//! go out.

use anycast_common::abi::{
    counters::short,
    maps::{CachedWay, STATION_MASK, mixed, side, whose},
};
use aya_ebpf::bindings::{__sk_buff, xdp_action::XDP_PASS};

use crate::{
    change::Change,
    context::{Context, Hook, Packet, counted},
    fast::{Head, LENGTH, UNDECIDED},
    flow_cache::{
        self, DESTINATION, Known, SOURCE, TCP_CHECKSUM, UDP_CHECKSUM, find, is_in_between,
    },
    flow_table,
    global::global,
    hints::ours,
    next_hop::{NextHop, Way},
    packet::{ETHERNET, IPV6},
    skb::{Skb, redirect},
    sketch::words,
    traffic,
    transport::{TCP, TCP_FIN, TCP_RST, TCP_SYN, Transport, UDP},
};

/// The action for a packet of a flow that the cache knows. What is known of its addresses and protocol was found in the
/// frame by the caller. A function of its own, as that at XDP is.
#[inline(never)]
pub(crate) fn pinned<const OUT: bool>(ctx: *mut __sk_buff, addresses: u64) -> u32 {
    let skb = Skb::<OUT>::new(core::hint::black_box(ctx));
    Head::of(&skb)
        .and_then(|head| send(&skb, head, addresses))
        .unwrap_or(UNDECIDED)
}

#[inline(always)]
fn send<const OUT: bool>(skb: &Skb<OUT>, head: Head, addresses: u64) -> Option<u32> {
    if skb.untagged() || !is_in_between(skb, head) {
        return None;
    }
    let way = match find(skb, head, addresses)? {
        Known::Way(way) => way,
        Known::Passes => return Some(XDP_PASS),
    };
    if OUT && !(is_to(head, way) && fits(skb, head, way.mtu)) {
        return None;
    }
    let (offset, sent, left) = match way.side as u8 {
        side::DESTINATION => (DESTINATION, short::TO_CARE_OF, short::TO_CARE_OF_BY_KERNEL),
        side::SOURCE => (SOURCE, short::FROM_CARE_OF, short::FROM_CARE_OF_BY_KERNEL),
        _ => return Some(XDP_PASS),
    };
    let checksum = if head.protocol() == UDP {
        (UDP_CHECKSUM, true)
    } else {
        (TCP_CHECKSUM, false)
    };
    // SAFETY: the bounds were checked.
    let payload = u16::from_be(unsafe { *head.field(LENGTH) });
    let octets = counted(skb, ETHERNET, payload);
    if !skb.exchange(checksum, offset, &way.address, way.delta) {
        return Some(XDP_PASS);
    }
    if OUT && way.ifindex != 0 {
        traffic::count_short(way.account, sent, octets);
        return Some(redirect(way.ifindex));
    }
    traffic::count_short(way.account, left, octets);
    Some(XDP_PASS)
}

/// Whether the frame goes to the neighbour for which the rest was found.
#[inline(always)]
fn is_to(head: Head, way: &CachedWay) -> bool {
    let [a, b, _] = way.ethernet;
    let ([a, b, c, d], [e, f, ..]) = (a.to_ne_bytes(), b.to_ne_bytes());
    head.first() & STATION_MASK == u64::from_ne_bytes([a, b, c, d, e, f, 0, 0])
}

/// Whether nothing of the packet is too big for its way.
#[inline(always)]
fn fits<const OUT: bool>(skb: &Skb<OUT>, head: Head, mtu: u16) -> bool {
    // SAFETY: the bounds were checked.
    let payload = u16::from_be(unsafe { *head.field(LENGTH) });
    let length = payload.saturating_add(IPV6 as u16);
    // Of merged segments the header tells no length where it would not fit.
    if payload != 0 && length <= mtu {
        return true;
    }
    let protocol = head.protocol();
    let transport = Transport {
        checksum: if protocol == UDP {
            UDP_CHECKSUM
        } else {
            TCP_CHECKSUM
        },
        ..Transport::of(protocol)
    };
    let largest = skb.largest(ETHERNET, &transport, length);
    largest != 0 && largest <= mtu
}

global! {
    /// Keeps that nothing is done with packets of a client's flow here, where nothing was done with this one: it is
    /// open, or bound and the packet has still to leave by TCX. Not of one whose first packet this may be, for many
    /// have a single packet.
    pub(crate) fn keep_passing(packet, transport: *const Transport, stamp: u64) -> u32;
    keep_passing_once or 0;
    short_keep_passing_xdp, short_keep_passing_in, short_keep_passing_out
}

#[inline(always)]
fn keep_passing_once<C: Context>(
    packet: &Packet<'_, C>,
    transport: *const Transport,
    stamp: u64,
) -> u32 {
    // SAFETY: it is there, which the verifier cannot know.
    let Some(transport) = (unsafe { transport.as_ref() }) else {
        return 0;
    };
    // Entries end with the first and the last packets of a flow.
    let ends = transport.flags & (TCP_SYN | TCP_FIN | TCP_RST) != 0;
    if !flow_cache::can_remember(packet, transport) || ends && C::HOOK != Hook::Ingress {
        return 0;
    }
    // A packet that may be a member's has to be changed as soon as there is a binding, and one that may be to a member
    // on this host as soon as that begins to serve.
    let of_member = ours(mixed(words(&packet.source))) & (whose::CARE_OF | whose::LOCAL);
    let whose = ours(mixed(words(&packet.destination))) & (whose::ANYCAST | whose::LOCAL);
    if of_member != 0 || whose != whose::ANYCAST {
        return 0;
    }
    let key = transport.flow_from_client(&packet.source, &packet.destination);
    match flow_table::find(&key) {
        Some(known) if !known.is_open() => {
            if C::HOOK == Hook::Ingress && known.is_answered() {
                pass_to_way_out(packet, transport, stamp);
            }
        }
        // A datagram of a flow that is not remembered may begin one.
        None if transport.protocol != TCP => {}
        _ if ends => {}
        _ => flow_cache::remember_passing(packet.ctx, stamp),
    }
    1
}

#[inline(always)]
fn pass_to_way_out<C: Context>(packet: &Packet<'_, C>, transport: &Transport, stamp: u64) {
    let unchanged = Change {
        address: [0; 16],
        delta: 0,
        side: side::NONE,
        reserved: 0,
        account: 0,
        stamp,
    };
    let anywhere = NextHop {
        mtu: u16::MAX,
        ..NextHop::by(Way::Kernel)
    };
    flow_cache::remember(packet, transport, &unchanged, &anywhere);
}
