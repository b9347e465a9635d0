//! The member's answers: B -> A becomes C -> A when the flow last came by C.

use anycast_common::abi::{
    counters::Counter,
    maps::{mixed, side},
};
use aya_ebpf::{
    bindings::{BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, TC_ACT_UNSPEC},
    helpers::{bpf_csum_diff, bpf_l4_csum_replace, bpf_skb_store_bytes},
    programs::TcContext,
};

use crate::{
    count::count,
    fragment,
    hints::ours,
    lead,
    maps::{CLIENTS, LOCAL_ANYCAST, LOCAL_CARE_OF, MEMBER_FLOWS},
    member_flow::{Facts, disowns, member_answers},
    own,
    packet::{self, Chain, Layout, Piece, chain, is_link_local, is_multicast, octets},
    segment::Segment,
    sketch::words as halves,
    traffic,
    transport::{ICMPV6, TCP, Transport, UDP, UDP_LITE},
};

/// Offset of the source address in the IPv6 header.
const SOURCE: usize = 8;

/// TCX egress. Never drops: whatever it cannot do goes out from B, which the client knows.
#[inline(always)]
pub(crate) fn member_egress<const IS_BARE: bool>(ctx: &TcContext) -> i32 {
    if answer::<IS_BARE>(ctx).is_none() {
        note_own::<IS_BARE>(ctx);
    }
    // The next program of the interface decides.
    TC_ACT_UNSPEC
}

/// The same where other roles follow, apart from them for the sake of the stack. Not 0: it has left from C.
#[inline(never)]
pub(crate) fn answered<const IS_BARE: bool>(ctx: &TcContext) -> u32 {
    u32::from(answer::<IS_BARE>(ctx).is_some())
}

/// Its source becomes C, if it is an answer of a flow that came by C.
#[inline(always)]
fn answer<const IS_BARE: bool>(ctx: &TcContext) -> Option<()> {
    let (layout, ipv6) = packet::ipv6_of::<IS_BARE>(ctx)?;
    // SAFETY: `ipv6_of` checked that the header lies within the packet.
    let (source, destination, next_header) =
        unsafe { ((*ipv6).source, (*ipv6).destination, (*ipv6).next_header) };
    let (source, destination) = (octets(source), octets(destination));
    // Most packets of a host are nobody's here.
    if ours(mixed(halves(&source))) == 0
        || is_multicast(&destination)
        || is_link_local(&destination)
        || is_link_local(&source)
    {
        return None;
    }
    // SAFETY: the controller replaces entries whole, and the copy is made at once.
    let by_anycast = unsafe { LOCAL_ANYCAST.get(&source) }?.account;
    let octets = u64::from(ctx.len()).saturating_sub(layout.ipv6 as u64);
    let mut account = by_anycast;
    let left = by_care_of(ctx, layout, next_header, source, destination, &mut account);
    traffic::count(account, side::SOURCE, octets);
    left
}

/// A packet from B, which leaves from C if its flow came so, and of which something else is counted then.
#[inline(always)]
fn by_care_of(
    ctx: &TcContext,
    layout: Layout,
    next_header: u8,
    source: [u8; 16],
    destination: [u8; 16],
    account: &mut u32,
) -> Option<()> {
    let (upper, piece) = match chain(ctx, layout, next_header) {
        Chain::Upper(upper) => (upper, None),
        Chain::First(upper, piece) => (upper, Some(piece)),
        Chain::Later(piece) => {
            // The kernel sends fragments in order, so the first has been here.
            let note = fragment::noted(&fragment::key(&source, &destination, piece))?;
            count(Counter::FragmentFollowed);
            return leave_from(ctx, layout, &note.address, account);
        }
        Chain::Unknown => return None,
    };
    if let Some(piece) = piece {
        // The others stay as they are unless the first does not. An identification may come again within a minute.
        forget_piece(&source, &destination, &piece);
    }
    let transport = Transport::read(ctx, upper)?;
    let key = transport.flow_to_client(&destination, &source);
    let Some(flow) = MEMBER_FLOWS.get_ptr_mut(&key) else {
        // A flow that this host opens is never led.
        if transport.protocol != TCP && CLIENTS.get_ptr(key.binding()).is_some() {
            own::note(&key);
        }
        return None;
    };
    let segment = Segment::read(ctx, &transport, ctx.len() as usize);
    let mut facts = Facts::new(&source, 0, &transport, segment);
    // SAFETY: both are there.
    let is_new = unsafe { member_answers(flow, &facts) } != 0;
    // SAFETY: the entry stays mapped; its fields are plain integers.
    unsafe {
        if (*flow).by_anycast == 0 {
            if disowns(&facts) {
                return None;
            }
            facts.destination = (*flow).care_of;
        } else if !is_new || lead::canary(ctx, flow, &key, &mut facts.destination) == 0 {
            return None;
        }
    }
    let care_of = &mut facts.destination;
    if let Some(piece) = piece {
        note_piece(&source, &destination, &piece, care_of);
    }
    // SAFETY: the helpers check offsets themselves, and the two addresses are on the stack.
    unsafe {
        if transport.checksum != 0 {
            // The socket layer may leave only the pseudo-header's sum there, for the device to
            // complete; the helper knows the difference.
            let difference = bpf_csum_diff(
                source.as_ptr().cast_mut().cast(),
                size_of_val(&source) as u32,
                care_of.as_mut_ptr().cast(),
                size_of_val(care_of) as u32,
                0,
            );
            let mut flags = u64::from(BPF_F_PSEUDO_HDR);
            if matches!(transport.protocol, UDP | UDP_LITE) {
                flags |= u64::from(BPF_F_MARK_MANGLED_0);
            }
            let replaced = bpf_l4_csum_replace(
                ctx.skb.skb,
                transport.checksum as u32,
                0,
                difference.cast_unsigned(),
                flags,
            );
            if replaced != 0 {
                return None;
            }
        }
    }
    leave_from(ctx, layout, care_of, account)
}

/// The others follow the first. A function of its own for the sake of the stack.
#[inline(never)]
fn note_piece(source: &[u8; 16], destination: &[u8; 16], piece: &Piece, care_of: &[u8; 16]) -> u32 {
    let key = fragment::key(source, destination, *piece);
    fragment::note(&key, side::SOURCE, care_of);
    1
}

/// A function of its own, likewise.
#[inline(never)]
fn forget_piece(source: &[u8; 16], destination: &[u8; 16], piece: &Piece) -> u32 {
    fragment::forget(&fragment::key(source, destination, *piece));
    1
}

/// Notes a packet that this host sends from C by itself, whose answers are its own. A function of its own, likewise.
#[inline(never)]
pub(crate) fn note_own<const IS_BARE: bool>(ctx: &TcContext) -> u32 {
    u32::from(own_packet::<IS_BARE>(ctx).is_some())
}

#[inline(always)]
fn own_packet<const IS_BARE: bool>(ctx: &TcContext) -> Option<()> {
    let (layout, ipv6) = packet::ipv6_of::<IS_BARE>(ctx)?;
    // SAFETY: `ipv6_of` checked that the header lies within the packet.
    let (source, destination, next_header) =
        unsafe { ((*ipv6).source, (*ipv6).destination, (*ipv6).next_header) };
    // Of TCP, sockets tell as much.
    if matches!(next_header, TCP | ICMPV6) {
        return None;
    }
    let (source, destination) = (octets(source), octets(destination));
    if ours(mixed(halves(&source))) == 0 {
        return None;
    }
    // SAFETY: the controller replaces entries whole, and the copy is made at once.
    let anycast = unsafe { LOCAL_CARE_OF.get(&source) }?.anycast;
    let (Chain::Upper(upper) | Chain::First(upper, _)) = chain(ctx, layout, next_header) else {
        return None;
    };
    let transport = Transport::read(ctx, upper).filter(|transport| transport.protocol != TCP)?;
    let mut key = transport.flow_to_client(&destination, &anycast);
    // It may be an answer to a client that has left from C at another interface.
    if MEMBER_FLOWS.get_ptr(&key).is_none() {
        key.anycast = source;
        own::note(&key);
    }
    Some(())
}

#[inline(always)]
fn leave_from(
    ctx: &TcContext,
    layout: Layout,
    address: &[u8; 16],
    account: &mut u32,
) -> Option<()> {
    // SAFETY: the helper checks the offset itself, and the address is on the stack.
    let stored = unsafe {
        bpf_skb_store_bytes(
            ctx.skb.skb,
            (layout.ipv6 + SOURCE) as u32,
            address.as_ptr().cast(),
            size_of_val(address) as u32,
            0,
        )
    };
    if stored != 0 {
        return None;
    }
    count(Counter::MemberOut);
    if let Some(owner) = LOCAL_CARE_OF.get_ptr(address) {
        // SAFETY: a plain integer.
        *account = unsafe { (*owner).account };
    }
    Some(())
}
