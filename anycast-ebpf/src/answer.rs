//! Answers Home and Care-of Test Inits (RFC 6275 sections 9.4.1 to 9.4.4) as the controller does, which a flood of them
//! does not reach then. Whatever is not as members send it is left to the controller, and so is what the kernel has to
//! send.

use anycast_common::{
    abi::counters::Counter,
    wire::mobility::{HOP_LIMIT, mh_type},
};
use aya_ebpf::{
    bindings::{
        BPF_F_RECOMPUTE_CSUM, BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup as FibLookup,
        xdp_action::{XDP_REDIRECT, XDP_TX},
    },
    helpers::{
        bpf_fib_lookup, bpf_redirect, bpf_skb_change_tail, bpf_skb_store_bytes,
        bpf_xdp_adjust_head, generated::bpf_xdp_store_bytes,
    },
};

use crate::{
    checksum::{folded, folds_to_ones},
    context::{Context, Hook, LOOPBACK, Packet, Verdict},
    count::count,
    forward::{AF_INET6, mac, octets},
    global::global,
    hints::route_stamp,
    in_use,
    maps::{ANSWER, REDIRECT_TARGETS},
    next_hop::{NextHop, Way},
    packet::{ETHERTYPE_IPV6, Ethernet, IPV6, Ipv6, words},
    reply::Frame,
    shared_hop, sketch, token,
    transport::MOBILITY,
};

const NO_NEXT_HEADER: u8 = 59;
const VERSION: u32 = 0x6000_0000_u32.to_be();
const VERSION_MASK: u32 = 0xf000_0000_u32.to_be();
/// The second 32 bits of an IPv4-mapped address that are not zero.
const MAPPED: u32 = 0xffff_u32.to_be();

/// Home or Care-of Test Init without options (RFC 6275 sections 6.1.3 and 6.1.4), in words.
type Init = [u32; 4];
const INIT: usize = size_of::<Init>();
/// Where it begins in a frame without tags and extension headers.
const MESSAGE: usize = size_of::<Ethernet>() + IPV6;

const FRAME: usize = size_of::<Frame>();
const TEST: usize = FRAME - MESSAGE;
/// By so many octets the answer is longer than the Test Init.
const LONGER: usize = TEST - INIT;

global! {
    /// Answers a Test Init to a client of ours.
    pub(crate) fn answer(packet, mh_type: u32) -> u32;
    answer_once or Verdict::NOT_OURS;
    correspondent_answer_xdp, correspondent_answer_in
}

#[inline(always)]
fn answer_once<C: Context>(packet: &Packet<'_, C>, mh_type: u32) -> u32 {
    match answered(packet, mh_type as u8) {
        Ok(action) => action,
        Err(why) => {
            count(why);
            Verdict::NOT_OURS
        }
    }
}

/// The XDP action, or why the Test Init is left to the controller.
#[inline(always)]
fn answered<C: Context>(packet: &Packet<'_, C>, mh_type: u8) -> Result<u32, Counter> {
    let cookie = cookie(packet).ok_or(Counter::TestInitUnusual)?;
    let answer = ANSWER.get_ptr_mut(0).ok_or(Counter::TestInitNoKey)?;
    // SAFETY: the memory belongs to this CPU while the program runs.
    let answer = unsafe { &mut *answer };
    if !token::take_key(answer) {
        return Err(Counter::TestInitNoKey);
    }
    let ifindex = way_back(packet.ctx, packet.parsed);
    if ifindex == 0 {
        return Err(Counter::TestInitNoWay);
    }
    let (kind, test, counter) = if mh_type == mh_type::HOME_TEST_INIT {
        let counter = Counter::HomeTestAnswered;
        (token::kind::HOME, mh_type::HOME_TEST, counter)
    } else {
        let counter = Counter::CareOfTestAnswered;
        (token::kind::CARE_OF, mh_type::CARE_OF_TEST, counter)
    };
    let token = token::make(answer, &packet.source, &packet.destination, kind);
    let frame = &mut answer.frame;
    frame.ethertype = ETHERTYPE_IPV6;
    frame.ip = Ipv6 {
        version_class_flow: VERSION,
        payload_length: (TEST as u16).to_be(),
        next_header: MOBILITY,
        hop_limit: HOP_LIMIT,
        source: words(&packet.destination),
        destination: words(&packet.source),
    };
    frame.payload_proto = NO_NEXT_HEADER;
    frame.header_len = (TEST / 8 - 1) as u8;
    frame.mh_type = test;
    frame.reserved = 0;
    frame.nonce_index = answer.key.index;
    frame.cookie = cookie;
    frame.token = token.map(u32::to_be);
    frame.checksum = !folded(
        pseudo_header(packet, TEST)
            + u64::from(u32::from_ne_bytes([
                NO_NEXT_HEADER,
                frame.header_len,
                test,
                0,
            ]))
            + u64::from(u16::from_ne_bytes(frame.nonce_index))
            + sum(cookie)
            + sum(frame.token),
    );
    if !put(packet.ctx, frame) {
        return Err(Counter::TestInitNoWay);
    }
    count(counter);
    if C::HOOK == Hook::Xdp && ifindex == packet.ctx.ingress() {
        return Ok(XDP_TX);
    }
    // SAFETY: no pointers.
    unsafe { bpf_redirect(ifindex, 0) };
    Ok(XDP_REDIRECT)
}

/// The cookie of a Test Init that is as members send it.
#[inline(always)]
fn cookie<C: Context>(packet: &Packet<'_, C>) -> Option<[u32; 2]> {
    if packet.tagged != 0
        || packet.next_header != MOBILITY
        || packet.layout.ipv6 != size_of::<Ethernet>()
        || packet.ctx.length() != MESSAGE + INIT
        || !is_routable(&packet.source)
    {
        return None;
    }
    // SAFETY: `Packet::again` checked that the IPv6 header lies within the packet.
    let (version, length) = unsafe {
        (
            (*packet.ipv6).version_class_flow,
            (*packet.ipv6).payload_length,
        )
    };
    if version & VERSION_MASK != VERSION || u16::from_be(length) as usize != INIT {
        return None;
    }
    // Else the compiler leaves out the check of the bounds, which those lengths make needless. The verifier needs it.
    let init: Init = packet.ctx.read(core::hint::black_box(MESSAGE))?;
    let [head, rest, first, second] = init;
    let [payload_proto, header_len, _, _] = head.to_ne_bytes();
    if payload_proto != NO_NEXT_HEADER || header_len as usize != INIT / 8 - 1 {
        return None;
    }
    let cookie = [first, second];
    let sum = pseudo_header(packet, INIT) + sum([head, rest]) + sum(cookie);
    folds_to_ones(sum).then_some(cookie)
}

/// Whether a source that is neither multicast nor link-local is a routable one, as the controller has it.
#[inline(always)]
fn is_routable(source: &[u8; 16]) -> bool {
    let [first, second, third, _] = words(source);
    first | second != 0 || (third != 0 && third != MAPPED)
}

/// The sum over the pseudo-header (RFC 8200 section 8.1), which is the same for the answer.
#[inline(always)]
fn pseudo_header<C: Context>(packet: &Packet<'_, C>, length: usize) -> u64 {
    let [a0, a1, a2, a3] = words(&packet.source);
    let [b0, b1, b2, b3] = words(&packet.destination);
    let rest = (length as u16 + u16::from(MOBILITY)).to_be();
    sum([a0, a1]) + sum([a2, a3]) + sum([b0, b1]) + sum([b2, b3]) + u64::from(rest)
}

#[inline(always)]
fn sum([first, second]: [u32; 2]) -> u64 {
    u64::from(first) + u64::from(second)
}

global! {
    /// The interface by which the answer leaves, by the routes of this host for what it sends itself. The Ethernet
    /// addresses are in the answer then. 0: the program cannot send it.
    fn way_back(packet) -> u32;
    way_back_once or 0;
    correspondent_way_back_xdp, correspondent_way_back_in
}

#[inline(always)]
fn way_back_once<C: Context>(packet: &Packet<'_, C>) -> u32 {
    let Some(answer) = ANSWER.get_ptr_mut(0) else {
        return 0;
    };
    // Answers to one member share a next hop, as new flows to it do.
    let stamp = route_stamp();
    let whose = shared_hop::Whose {
        address: sketch::words(&packet.source),
        before: [0; 2],
        ingress: LOOPBACK,
    };
    if C::HOOK == Hook::Xdp
        && let Some(hop) = whose.known(stamp)
    {
        // SAFETY: the memory belongs to this CPU.
        unsafe {
            (*answer).frame.ethernet_source = hop.source;
            (*answer).frame.ethernet_destination = hop.destination;
        }
        return hop.ifindex;
    }
    // SAFETY: all-zero is a valid value of this C structure.
    let mut lookup: FibLookup = unsafe { core::mem::zeroed() };
    lookup.family = AF_INET6;
    lookup.l4_protocol = MOBILITY;
    lookup.ifindex = LOOPBACK;
    lookup.__bindgen_anon_1.tot_len = (FRAME - size_of::<Ethernet>()) as u16;
    lookup.__bindgen_anon_3.ipv6_src = words(&packet.destination);
    lookup.__bindgen_anon_4.ipv6_dst = words(&packet.source);
    // SAFETY: the structure and its size belong together.
    let result = unsafe {
        bpf_fib_lookup(
            packet.ctx.as_ptr(),
            &raw mut lookup,
            size_of::<FibLookup>() as i32,
            0,
        )
    };
    let takes_frames = C::HOOK != Hook::Xdp || REDIRECT_TARGETS.get_ptr(lookup.ifindex).is_some();
    if result != i64::from(BPF_FIB_LKUP_RET_SUCCESS) || !takes_frames {
        return 0;
    }
    // The kernel does not see the answer, and would not ask whether the neighbour is still there.
    // SAFETY: the lookup leaves the address of the next hop where it found that of the member.
    let address = octets(unsafe { lookup.__bindgen_anon_4.ipv6_dst });
    if in_use::note(lookup.ifindex, &address) {
        return 0;
    }
    let found = NextHop {
        ifindex: lookup.ifindex,
        // SAFETY: the lookup leaves the MTU where it found the length.
        mtu: unsafe { lookup.__bindgen_anon_1.mtu_result },
        source: mac(lookup.smac),
        destination: mac(lookup.dmac),
        ..NextHop::by(Way::Program)
    };
    if C::HOOK == Hook::Xdp {
        whose.keep(stamp, &found, 0);
    }
    // SAFETY: the memory belongs to this CPU.
    unsafe {
        (*answer).frame.ethernet_source = found.source;
        (*answer).frame.ethernet_destination = found.destination;
    }
    found.ifindex
}

/// Puts the answer in place of the Test Init. False: there is no room for it, and the packet is as it was.
#[inline(always)]
fn put<C: Context>(ctx: &C, frame: &Frame) -> bool {
    let frame = core::ptr::from_ref(frame).cast_mut().cast();
    // SAFETY: the context is the kernel's, and the helpers check what they are asked for.
    unsafe {
        if C::HOOK == Hook::Xdp {
            // Drivers leave room in front of every frame, but not all of them behind it.
            let context = ctx.as_ptr().cast();
            bpf_xdp_adjust_head(context, -(LONGER as i32)) == 0
                && bpf_xdp_store_bytes(context, 0, frame, FRAME as u32) == 0
        } else {
            let (context, recompute) = (ctx.as_ptr().cast(), u64::from(BPF_F_RECOMPUTE_CSUM));
            bpf_skb_change_tail(context, FRAME as u32, 0) == 0
                && bpf_skb_store_bytes(context, 0, frame, FRAME as u32, recompute) == 0
        }
    }
}
