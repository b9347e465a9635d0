//! The member's answers: B -> A becomes C -> A when the flow last came by C.

use anycast_common::abi::{counters::Counter, maps::side};
use aya_ebpf::{
    bindings::{BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, TC_ACT_UNSPEC},
    helpers::{bpf_csum_diff, bpf_l4_csum_replace, bpf_skb_store_bytes},
    programs::TcContext,
};

use crate::{
    count::count,
    fragment,
    maps::{LOCAL_ANYCAST, MEMBER_FLOWS},
    member::resets,
    packet::{self, Chain, Layout, chain, is_link_local, is_multicast, octets},
    transport::{Transport, UDP},
};

/// Offset of the source address in the IPv6 header.
const SOURCE: usize = 8;

/// TCX egress. Never drops: whatever it cannot do goes out from B, which the client knows.
#[inline(always)]
pub(crate) fn member_egress(ctx: &TcContext) -> i32 {
    let _ = answer(ctx);
    // The next program of the interface decides.
    TC_ACT_UNSPEC
}

/// The same where other roles follow, apart from them for the sake of the stack. Not 0: it has left from C.
#[inline(never)]
pub(crate) fn answered(ctx: &TcContext) -> u32 {
    u32::from(answer(ctx).is_some())
}

#[inline(always)]
fn answer(ctx: &TcContext) -> Option<()> {
    let (layout, ipv6) = packet::ipv6(ctx)?;
    // SAFETY: `packet::ipv6` checked that the header lies within the packet.
    let (source, destination, next_header) =
        unsafe { ((*ipv6).source, (*ipv6).destination, (*ipv6).next_header) };
    let (source, destination) = (octets(source), octets(destination));
    if is_multicast(&destination) || is_link_local(&destination) || is_link_local(&source) {
        return None;
    }
    LOCAL_ANYCAST.get_ptr(&source)?;
    let (upper, piece) = match chain(ctx, layout, next_header) {
        Chain::Upper(upper) => (upper, None),
        Chain::First(upper, piece) => (upper, Some(piece)),
        Chain::Later(piece) => {
            // The kernel sends fragments in order, so the first has been here.
            let note = fragment::noted(&fragment::key(&source, &destination, piece))?;
            count(Counter::FragmentFollowed);
            return leave_from(ctx, layout, &note.address);
        }
        Chain::Unknown => return None,
    };
    let transport = Transport::read(ctx, upper)?;
    let key = transport.flow_to_client(&destination, &source);
    let flow = MEMBER_FLOWS.get_ptr_mut(&key)?;
    // SAFETY: the entry outlives the program (RCU); its fields are plain integers.
    let care_of = unsafe {
        if (*flow).by_anycast != 0 {
            return None;
        }
        if transport.closes() {
            (*flow).member_closed = 1;
            if resets(&transport) != 0 {
                (*flow).client_closed = 1;
            }
        }
        (*flow).care_of
    };
    if let Some(piece) = piece {
        let key = fragment::key(&source, &destination, piece);
        fragment::note(&key, side::SOURCE, &care_of);
    }
    let mut old = source;
    let mut new = care_of;
    // SAFETY: the helpers check offsets themselves, and the two addresses are on the stack.
    unsafe {
        if transport.checksum != 0 {
            // The socket layer may leave only the pseudo-header's sum there, for the device to
            // complete; the helper knows the difference.
            let difference = bpf_csum_diff(
                old.as_mut_ptr().cast(),
                size_of_val(&old) as u32,
                new.as_mut_ptr().cast(),
                size_of_val(&new) as u32,
                0,
            );
            let mut flags = u64::from(BPF_F_PSEUDO_HDR);
            if transport.protocol == UDP {
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
    leave_from(ctx, layout, &care_of)
}

#[inline(always)]
fn leave_from(ctx: &TcContext, layout: Layout, address: &[u8; 16]) -> Option<()> {
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
    Some(())
}
