//! Sends a rewritten packet to its next hop, or leaves it to the kernel.

use anycast_common::abi::{
    counters::Counter,
    maps::{mixed, redirect, side},
};
use aya_ebpf::{
    bindings::{
        BPF_FIB_LKUP_RET_BLACKHOLE, BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_NO_NEIGH,
        BPF_FIB_LKUP_RET_NOT_FWDED, BPF_FIB_LKUP_RET_PROHIBIT, BPF_FIB_LKUP_RET_SUCCESS,
        BPF_FIB_LKUP_RET_UNREACHABLE, bpf_fib_lookup as FibLookup,
        xdp_action::{XDP_PASS, XDP_REDIRECT, XDP_TX},
    },
    helpers::{bpf_fib_lookup, bpf_redirect},
};

use crate::{
    change::Change,
    context::{Context, Hook, Packet},
    count::count,
    global::global,
    hints::ours,
    in_use,
    maps::REDIRECT_TARGETS,
    next_hop::{NextHop, Way},
    packet::{BARE, IPV6, ethernet, words},
    sketch::words as halves,
    transport::Transport,
};

pub(crate) const AF_INET6: u8 = 10;

impl Way {
    /// Whether a packet of a flow, or a fragment of one, is to stay as it is. `outward`: it goes to C.
    #[inline(always)]
    pub(crate) fn stops(self, outward: bool) -> bool {
        match self {
            Self::Refused => true,
            // The way to B may be wider, but leads to whoever is there now. So the kernel gets it for C;
            // the quote of its Packet Too Big is put right on the way out. The member quotes C itself.
            Self::TooBig if outward => {
                count(Counter::TooBigForCareOf);
                false
            }
            Self::TooBig => true,
            // Without a way to C the client's packet may still reach B. A member's packet may be for this host itself.
            Self::None if outward => {
                count(Counter::NoRouteToCareOf);
                true
            }
            Self::Program | Self::None | Self::Kernel => false,
        }
    }
}

global! {
    /// Whether the kernel has no way to where a packet on its way in is sent, so that it meets no program on its way
    /// out: not 0 if so.
    pub(crate) fn is_unrouted(packet, transport: *const Transport) -> u32;
    is_unrouted_once or 0;
    forward_is_unrouted_xdp, forward_is_unrouted_in
}

#[inline(always)]
fn is_unrouted_once<C: Context>(packet: &Packet<'_, C>, transport: *const Transport) -> u32 {
    // SAFETY: it is there, which the verifier cannot know.
    let Some(transport) = (unsafe { transport.as_ref() }) else {
        return 0;
    };
    if ours(mixed(halves(&packet.destination))) == 0 {
        return 0;
    }
    let unchanged = Change {
        address: [0; 16],
        delta: 0,
        side: side::NONE,
        reserved: 0,
        account: 0,
        stamp: 0,
    };
    u32::from(next_hop(packet, transport, &unchanged).way == Way::None)
}

/// Finds the next hop for the packet as it will be after the change, before anything is changed.
#[inline(always)]
pub(crate) fn next_hop<C: Context>(
    packet: &Packet<'_, C>,
    transport: &Transport,
    change: &Change,
) -> NextHop {
    let mut found = NextHop::by(Way::Kernel);
    // The compiler sees that nobody reads some of the fields here, and would not write them. Linux before 6.2 lets
    // nobody hand over memory of the stack that was never written.
    let place = core::hint::black_box(&raw mut found);
    find(
        packet.ctx,
        packet.parsed,
        core::ptr::from_ref(transport),
        core::ptr::from_ref(change),
        place,
    );
    found
}

global! {
    /// [`next_hop`], for the sake of the stack as well. Not 0: it was written to `found`.
    fn find(
        packet, transport: *const Transport, change: *const Change, found: *mut NextHop
    ) -> u32;
    find_once or 0;
    forward_next_hop_xdp, forward_next_hop_in, forward_next_hop_out
}

#[inline(always)]
fn find_once<C: Context>(
    packet: &Packet<'_, C>,
    transport: *const Transport,
    change: *const Change,
    found: *mut NextHop,
) -> u32 {
    // SAFETY: all are there, which the verifier cannot know.
    let (Some(transport), Some(change), Some(found)) =
        (unsafe { (transport.as_ref(), change.as_ref(), found.as_mut()) })
    else {
        return 0;
    };
    *found = look_up(packet, transport, change);
    1
}

#[inline(always)]
fn look_up<C: Context>(packet: &Packet<'_, C>, transport: &Transport, change: &Change) -> NextHop {
    let (source, destination) = match change.side {
        side::SOURCE => (&change.address, &packet.destination),
        side::DESTINATION => (&packet.source, &change.address),
        _ => (&packet.source, &packet.destination),
    };
    // SAFETY: `classify` checked that the IPv6 header lies within the packet.
    let header = unsafe { &*packet.ipv6 };
    let last_hop = header.hop_limit <= 1;
    if C::HOOK == Hook::Xdp && last_hop {
        return NextHop::by(Way::Refused);
    }
    // The kernel forwards no frame that went to a group, since each host that heard it would.
    if C::HOOK == Hook::Xdp && is_to_group(packet.ctx) {
        return NextHop::by(Way::Kernel);
    }
    // SAFETY: all-zero is a valid value of this C structure.
    let mut lookup: FibLookup = unsafe { core::mem::zeroed() };
    lookup.family = AF_INET6;
    lookup.l4_protocol = transport.protocol;
    lookup.sport = u16::from_ne_bytes(transport.source_port);
    lookup.dport = u16::from_ne_bytes(transport.destination_port);
    lookup.ifindex = match C::HOOK {
        Hook::Xdp | Hook::Ingress => packet.ctx.ingress(),
        Hook::Egress => packet.ctx.origin(),
    };
    let length = u16::from_be(header.payload_length).saturating_add(IPV6 as u16);
    lookup.__bindgen_anon_1.tot_len = packet.ctx.largest(packet.layout.ipv6, transport, length);
    lookup.__bindgen_anon_2.flowinfo = header.version_class_flow & FLOW_INFO;
    lookup.__bindgen_anon_3.ipv6_src = words(source);
    lookup.__bindgen_anon_4.ipv6_dst = words(destination);
    // SAFETY: the structure and its size belong together.
    let result = unsafe {
        bpf_fib_lookup(
            packet.ctx.as_ptr(),
            &raw mut lookup,
            size_of::<FibLookup>() as i32,
            0,
        )
    };
    match u32::try_from(result) {
        Ok(BPF_FIB_LKUP_RET_SUCCESS | BPF_FIB_LKUP_RET_NO_NEIGH)
            if C::HOOK == Hook::Ingress && last_hop =>
        {
            NextHop::by(Way::Refused)
        }
        Ok(found @ (BPF_FIB_LKUP_RET_SUCCESS | BPF_FIB_LKUP_RET_NO_NEIGH))
            if C::HOOK == Hook::Egress =>
        {
            leaving(packet, &lookup, found == BPF_FIB_LKUP_RET_SUCCESS)
        }
        Ok(BPF_FIB_LKUP_RET_SUCCESS)
            if C::HOOK == Hook::Xdp
                && !packet.layout.tagged
                && takes(packet, length, lookup.ifindex) =>
        {
            // SAFETY: the lookup leaves the address of the next hop where it found that of the packet.
            let address = octets(unsafe { lookup.__bindgen_anon_4.ipv6_dst });
            if in_use::note(lookup.ifindex, &address) {
                return NextHop::by(Way::Kernel);
            }
            NextHop {
                ifindex: lookup.ifindex,
                // SAFETY: the lookup leaves the MTU where it found the length.
                mtu: unsafe { lookup.__bindgen_anon_1.mtu_result },
                source: mac(lookup.smac),
                destination: mac(lookup.dmac),
                ..NextHop::by(Way::Program)
            }
        }
        Ok(BPF_FIB_LKUP_RET_FRAG_NEEDED) => NextHop::by(Way::TooBig),
        Ok(
            BPF_FIB_LKUP_RET_BLACKHOLE
            | BPF_FIB_LKUP_RET_UNREACHABLE
            | BPF_FIB_LKUP_RET_PROHIBIT
            | BPF_FIB_LKUP_RET_NOT_FWDED,
        ) => NextHop::by(Way::None),
        _ => NextHop::by(Way::Kernel),
    }
}

/// Whether the frame went to a group address (IEEE 802).
#[inline(always)]
pub(crate) fn is_to_group<C: Context>(ctx: &C) -> bool {
    let Some(frame) = ethernet(ctx) else {
        return false;
    };
    // SAFETY: `ethernet` checked the bounds.
    let [first, _] = unsafe { (*frame).destination[0] }.to_ne_bytes();
    first & 1 != 0
}

/// Whether a device takes the frame by XDP. Of a packet of `length` octets that is in several buffers, not all can do.
#[inline(always)]
fn takes<C: Context>(packet: &Packet<'_, C>, length: u16, ifindex: u32) -> bool {
    let Some(takes) = REDIRECT_TARGETS.get_ptr(ifindex) else {
        return false;
    };
    let there = packet.ctx.end() - packet.ctx.start();
    // SAFETY: the entry is a plain integer.
    packet.layout.ipv6 + usize::from(length) <= there || unsafe { *takes } == redirect::WHOLE
}

/// The next hop of a packet on its way out. It is on its way already if its frame has that. `complete`: it is known
/// whose frame it has to be, and how large the packet may be.
#[inline(always)]
fn leaving<C: Context>(packet: &Packet<'_, C>, found: &FibLookup, complete: bool) -> NextHop {
    let here = found.ifindex == packet.ctx.ingress();
    let next_hop = NextHop {
        ifindex: found.ifindex,
        ..NextHop::by(Way::Program)
    };
    if !complete {
        return next_hop;
    }
    if packet.layout.ipv6 == BARE {
        return if here {
            NextHop::by(Way::Kernel)
        } else {
            next_hop
        };
    }
    let Some(frame) = ethernet(packet.ctx) else {
        return next_hop;
    };
    // SAFETY: `ethernet` checked the bounds.
    let destination = unsafe { (*frame).destination };
    let next_hop = NextHop {
        // SAFETY: the lookup leaves the MTU where it found the length.
        mtu: unsafe { found.__bindgen_anon_1.mtu_result },
        destination,
        ..next_hop
    };
    if here && mac(found.dmac) == destination {
        return NextHop {
            ifindex: 0,
            way: Way::Kernel,
            ..next_hop
        };
    }
    next_hop
}

/// Version is not flow information.
const FLOW_INFO: u32 = 0x0fff_ffff_u32.to_be();

/// Sends the rewritten packet by XDP.
#[inline(always)]
pub(crate) fn redirect(packet: &Packet<'_>, next_hop: &NextHop) -> u32 {
    let NextHop {
        way: Way::Program,
        ifindex,
        source,
        destination,
        ..
    } = next_hop
    else {
        count(Counter::ForwardedByKernel);
        return XDP_PASS;
    };
    let Some(frame) = ethernet(packet.ctx) else {
        return XDP_PASS;
    };
    // SAFETY: `ethernet` and `classify` checked the bounds of the two headers.
    unsafe {
        (*frame).source = *source;
        (*frame).destination = *destination;
        (*packet.ipv6).hop_limit -= 1;
    }
    count(Counter::Forwarded);
    if *ifindex == packet.ctx.ingress() {
        return XDP_TX;
    }
    // SAFETY: no pointers.
    unsafe { bpf_redirect(*ifindex, 0) };
    XDP_REDIRECT
}

#[inline(always)]
pub(crate) fn octets(words: [u32; 4]) -> [u8; 16] {
    // SAFETY: both are 16 plain bytes.
    unsafe { core::mem::transmute(words) }
}

#[inline(always)]
pub(crate) fn mac(octets: [u8; 6]) -> [u16; 3] {
    // SAFETY: both are 6 plain bytes.
    unsafe { core::mem::transmute(octets) }
}
