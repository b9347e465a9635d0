//! ICMPv6 errors (RFC 4443) about packets that were rewritten.
//!
//! An error quotes the packet as it was where the error arose. Whoever sent that packet looks for
//! a socket with the addresses in the quote, so the quote is put back to what it sent, or path-MTU
//! discovery fails. The quoted transport checksum covers the quoted addresses and is put right with
//! them; the two changes cancel in the ICMPv6 checksum, which then sees the outer addresses alone.

use anycast_common::abi::{
    counters::Counter,
    event::{UNREACHABLE_EVERY, kind},
    maps::{CareOf, CareOfKey, Flow},
};
use anycast_common::wire::checksum;
use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    helpers::bpf_ktime_get_coarse_ns,
};

use crate::{
    admission,
    context::{Context, Packet, Verdict},
    count::count,
    flow_table,
    forward::next_hop,
    fragment, hints,
    maps::{CARE_OF, LOCAL_ANYCAST, LOCAL_CARE_OF, UNREACHABLE},
    packet::{Ipv6, Piece, Upper, words},
    punt::punt,
    quote::{HEADER, Quote, quote},
    rewrite,
    transport::{ICMPV6, MOBILITY, Transport, UDP, UDP_LITE},
};

const DESTINATION_UNREACHABLE: u8 = 1;
const PARAMETER_PROBLEM: u8 = 4;
/// Codes of Destination Unreachable that tell of the address, whoever sends to it (RFC 4443 section
/// 3.1). The others tell of one flow or one sender: 1 prohibited, 2 scope, 4 port, 5 source policy.
const NO_ROUTE: u8 = 0;
const ADDRESS_UNREACHABLE: u8 = 3;
const REJECT_ROUTE: u8 = 6;
/// Messages from this type on are not errors (RFC 4443 section 2.1).
const FIRST_INFORMATIONAL: u8 = 128;

/// Whether the message is an error.
#[inline(always)]
pub(crate) fn is_error<C: Context>(packet: &Packet<'_, C>, upper: Upper) -> bool {
    upper.protocol == ICMPV6 && head(packet, upper)[0] < FIRST_INFORMATIONAL
}

/// Type and code of an ICMPv6 message; of one that is cut short, those of none that there is. No option,
/// because the compiler would compute with what is not there before it looks whether it is.
#[inline(always)]
fn head<C: Context>(packet: &Packet<'_, C>, upper: Upper) -> [u8; 2] {
    match packet.ctx.at::<[u8; 2]>(upper.offset) {
        // SAFETY: `at` checked the bounds.
        Some(head) => unsafe { *head },
        None => [u8::MAX; 2],
    }
}

/// An address to put in place of another, and what that does to a checksum.
struct Change<'a> {
    address: &'a [u8; 16],
    delta: u16,
}

/// Which address of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Source,
    Destination,
}

/// An error at a correspondent which says that C cannot be reached: for the controller. The client
/// is not told, for it would give up a connection that is just beginning, whose next packet finds
/// another member. A function of its own for the sake of the stack.
#[inline(never)]
pub(crate) fn care_of_unreachable<C: Context>(packet: &Packet<'_, C>, offset: usize) -> u32 {
    let protocol = ICMPV6;
    unreachable(packet, Upper { protocol, offset }).pack()
}

#[inline(always)]
fn unreachable<C: Context>(packet: &Packet<'_, C>, upper: Upper) -> Verdict {
    let [
        DESTINATION_UNREACHABLE,
        NO_ROUTE | ADDRESS_UNREACHABLE | REJECT_ROUTE,
    ] = head(packet, upper)
    else {
        return Verdict::NotOurs;
    };
    let Some(quote) = quote(packet, upper) else {
        return Verdict::Done(XDP_PASS);
    };
    let Some(owner) = owner(&quote) else {
        return Verdict::NotOurs;
    };
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    if quote.later {
        // Of which flow, the error about the first fragment says.
        if !followed(&quote, &owner) {
            return Verdict::NotOurs;
        }
    } else {
        let Some(flow) = pinned(&quote, &owner) else {
            return Verdict::NotOurs;
        };
        // SAFETY: the memory of an entry stays mapped; racing writers store times of the same moment.
        unsafe { (*flow).unreachable_at = now };
    }
    // An answer that comes now contradicts it, on any flow.
    hints::forget();
    count(Counter::CareOfUnreachable);
    // SAFETY: one integer.
    let told = unsafe { UNREACHABLE.get(&quote.destination) }.copied();
    if told.is_none_or(|told| now - told >= UNREACHABLE_EVERY) {
        let _ = UNREACHABLE.insert(&quote.destination, &now, 0);
        punt(packet, kind::CARE_OF_UNREACHABLE);
    }
    Verdict::Done(XDP_DROP)
}

/// Which B a quoted packet belongs to that a client sent to C.
#[inline(always)]
fn owner(quote: &Quote) -> Option<CareOf> {
    let pair = CareOfKey {
        client: quote.source,
        care_of: quote.destination,
    };
    // SAFETY: the controller replaces entries whole, and the copy is made at once.
    unsafe { CARE_OF.get(&pair) }.copied()
}

/// The flow of that packet, which must be pinned to this C.
#[inline(always)]
fn pinned(quote: &Quote, owner: &CareOf) -> Option<*mut Flow> {
    let transport = &quote.transport;
    let key = transport.flow_from_client(&quote.source, &owner.anycast);
    flow_table::find(&key)
        .filter(|pinned| pinned.care_of == quote.destination)
        .map(|pinned| pinned.flow())
}

/// Whether that packet is a later fragment of one whose first went to this C.
#[inline(always)]
fn followed(quote: &Quote, owner: &CareOf) -> bool {
    noted_care_of(quote, &owner.anycast, false).is_some_and(|care_of| care_of == quote.destination)
}

/// The care-of address in the note about a quoted fragment's packet, whose destination was this one when it
/// was noted: that to which it went or, with `seen`, that from which it came.
#[inline(always)]
fn noted_care_of(quote: &Quote, destination: &[u8; 16], seen: bool) -> Option<[u8; 16]> {
    let piece = Piece {
        identification: quote.identification,
        protocol: quote.transport.protocol,
    };
    let mut care_of = [0; 16];
    let known = fragment::care_of(&quote.source, destination, &piece, seen, &mut care_of);
    (known != 0).then_some(care_of)
}

/// An error at a correspondent: about a packet of its client to C, or about one that its client
/// got from B.
#[inline(never)]
pub(crate) fn at_correspondent<C: Context>(packet: &Packet<'_, C>, offset: usize) -> u32 {
    let protocol = ICMPV6;
    correspondent(packet, Upper { protocol, offset }).pack()
}

#[inline(always)]
fn correspondent<C: Context>(packet: &Packet<'_, C>, upper: Upper) -> Verdict {
    let Some(quote) = quote(packet, upper) else {
        return Verdict::NotOurs;
    };
    let (to_client, address, delta) = match owner(&quote) {
        Some(owner) => {
            let known = if quote.later {
                followed(&quote, &owner)
            } else {
                pinned(&quote, &owner).is_some()
            };
            if !known {
                count(Counter::IcmpErrorNoFlow);
                return Verdict::NotOurs;
            }
            (true, owner.anycast, owner.delta)
        }
        None => match sender(&quote) {
            Some((care_of, delta)) => (false, care_of, delta),
            None => return Verdict::NotOurs,
        },
    };
    let change = Change {
        address: &address,
        delta,
    };
    Verdict::Done(translate(packet, upper, &quote, to_client, &change))
}

/// Where a packet came from that a client got from B, and what that C does to a checksum.
#[inline(always)]
fn sender(quote: &Quote) -> Option<([u8; 16], u16)> {
    let (anycast, client) = (&quote.source, &quote.destination);
    if quote.later {
        let care_of = noted_care_of(quote, client, true)?;
        return Some((care_of, checksum::delta(anycast, &care_of)));
    }
    let key = quote.transport.flow_to_client(client, anycast);
    let pinned = flow_table::find(&key)?;
    Some((pinned.care_of, pinned.delta))
}

/// The client sent to B: what the error calls C, and C itself as its source, become B. A member's packet came from
/// B, says the error, and goes to B: to the packet's C with it.
#[inline(always)]
fn translate<C: Context>(
    packet: &Packet<'_, C>,
    upper: Upper,
    quote: &Quote,
    to_client: bool,
    change: &Change<'_>,
) -> u32 {
    let (inner, outer) = if to_client {
        (Side::Destination, Side::Source)
    } else {
        (Side::Source, Side::Destination)
    };
    // Routers on the way tell the client in their own name.
    let redirected = !to_client || packet.source == quote.destination;
    let (source, destination) = match (redirected, outer) {
        (false, _) => (&packet.source, &packet.destination),
        (true, Side::Source) => (change.address, &packet.destination),
        (true, Side::Destination) => (&packet.source, change.address),
    };
    let transport = Transport::of(ICMPV6);
    let next_hop = next_hop(packet, &transport, source, destination);
    if next_hop.way.ends_here() {
        return XDP_PASS;
    }
    if !requote(packet, upper, quote, inner, change) {
        return XDP_PASS;
    }
    if redirected {
        redirect(packet, upper, outer, change);
    }
    count(Counter::CorrespondentIcmpError);
    C::send(packet, &next_hop)
}

/// An error at a member: about a packet that its egress program sent from C, or about a message
/// of a handshake, from a client that does not know the Mobility Header.
#[inline(never)]
pub(crate) fn at_member<C: Context>(packet: &Packet<'_, C>, offset: usize) -> u32 {
    let protocol = ICMPV6;
    member(packet, Upper { protocol, offset }).pack()
}

#[inline(always)]
fn member<C: Context>(packet: &Packet<'_, C>, upper: Upper) -> Verdict {
    // SAFETY: the controller replaces entries whole, and the copy is made at once.
    let owner = unsafe { LOCAL_CARE_OF.get(&packet.destination) }.copied();
    if owner.is_none() && LOCAL_ANYCAST.get_ptr(&packet.destination).is_none() {
        return Verdict::NotOurs;
    }
    if refuses_mobility(packet, upper) {
        if admission::error() && punt(packet, kind::ICMP_ERROR) {
            count(Counter::MemberMobilityRefused);
        }
    } else if let Some(owner) = owner
        && let Some(quote) = quote(packet, upper)
    {
        let change = Change {
            address: &owner.anycast,
            delta: owner.delta,
        };
        if requote(packet, upper, &quote, Side::Source, &change) {
            redirect(packet, upper, Side::Destination, &change);
            count(Counter::MemberIcmpError);
        }
    }
    Verdict::Done(XDP_PASS)
}

/// Whether it is a Parameter Problem that quotes a mobility message.
#[inline(always)]
fn refuses_mobility<C: Context>(packet: &Packet<'_, C>, upper: Upper) -> bool {
    let [PARAMETER_PROBLEM, _] = head(packet, upper) else {
        return false;
    };
    let quoted = packet.ctx.read::<Ipv6>(upper.offset + HEADER);
    matches!(quoted, Some(header) if header.next_header == MOBILITY)
}

/// Changes an address of the quoted packet. False: it is out of reach.
#[inline(always)]
fn requote<C: Context>(
    packet: &Packet<'_, C>,
    upper: Upper,
    quote: &Quote,
    side: Side,
    change: &Change<'_>,
) -> bool {
    if !readdress(packet, quote.offset, side, change) {
        return false;
    }
    let Transport {
        protocol, checksum, ..
    } = quote.transport;
    let udp = matches!(protocol, UDP | UDP_LITE);
    if checksum == 0 || !packet.ctx.adjust(checksum, change.delta, udp) {
        // Nothing in the quote made up for the other address.
        outer_checksum(packet, upper, change.delta);
    }
    true
}

/// Changes an address of the error itself.
#[inline(always)]
fn redirect<C: Context>(packet: &Packet<'_, C>, upper: Upper, side: Side, change: &Change<'_>) {
    if readdress(packet, packet.layout.ipv6, side, change) {
        outer_checksum(packet, upper, change.delta);
    }
}

/// Changes an address of the IPv6 header at `offset`.
#[inline(always)]
fn readdress<C: Context>(
    packet: &Packet<'_, C>,
    offset: usize,
    side: Side,
    change: &Change<'_>,
) -> bool {
    let address = match side {
        Side::Source => rewrite::SOURCE,
        Side::Destination => rewrite::DESTINATION,
    };
    packet.ctx.store(offset + address, &words(change.address))
}

#[inline(always)]
fn outer_checksum<C: Context>(packet: &Packet<'_, C>, upper: Upper, delta: u16) {
    packet.ctx.adjust(upper.offset + 2, delta, false);
}
