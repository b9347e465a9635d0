//! ICMPv6 errors (RFC 4443) about packets that were rewritten.
//!
//! An error quotes the packet as it was where the error arose. Whoever sent that packet looks for
//! a socket with the addresses in the quote, so the quote is put back to what it sent, or path-MTU
//! discovery fails. The quoted transport checksum covers the quoted addresses and is put right with
//! them; the two changes cancel in the ICMPv6 checksum, which then sees the outer addresses alone.

use anycast_common::abi::{
    counters::Counter,
    event::{UNREACHABLE_EVERY, kind},
    maps::{CareOfKey, Flow, side},
};
use anycast_common::wire::checksum;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};

use crate::{
    admission,
    change::Change,
    checksum::holds_checksum,
    context::{Context, Hook, Packet, Verdict},
    count::count,
    flow_table,
    forward::{is_unrouted, next_hop},
    fragment,
    global::{exported, global},
    hints,
    limit::now,
    maps::{CARE_OF, LOCAL_ANYCAST, LOCAL_CARE_OF, UNREACHABLE},
    next_hop::{NextHop, Way},
    packet::{IPV6, Ipv6, Piece, Upper, octets, on_stack, words},
    punt::punt,
    quote::{HEADER, quote},
    quoted::Quote,
    rewrite,
    transport::{ICMPV6, MOBILITY, Transport, UDP, UDP_LITE},
    unwanted::{self, about, member_error_about},
};

const DESTINATION_UNREACHABLE: u8 = 1;
const PARAMETER_PROBLEM: u8 = 4;
/// Codes of Destination Unreachable that tell of the address, whoever sends to it (RFC 4443 section
/// 3.1). The others tell of one flow or one sender: 1 prohibited, 2 scope, 4 port, 5 source policy.
const NO_ROUTE: u8 = 0;
const ADDRESS_UNREACHABLE: u8 = 3;
const REJECT_ROUTE: u8 = 6;
const PORT_UNREACHABLE: u8 = 4;

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

global! {
    /// An error at a correspondent which says that C cannot be reached: a hint for the controller, if it can be
    /// believed. The client is not told, for it would give up a connection that is just beginning, whose next packet
    /// finds another member.
    pub(crate) fn care_of_unreachable(packet) -> u32;
    care_of_unreachable_once or Verdict::NOT_OURS;
    error_care_of_unreachable_xdp, error_care_of_unreachable_in, error_care_of_unreachable_out
}

#[inline(always)]
fn care_of_unreachable_once<C: Context>(packet: &Packet<'_, C>) -> u32 {
    unreachable(packet, packet.upper_header()).pack()
}

#[inline(always)]
fn unreachable<C: Context>(packet: &Packet<'_, C>, upper: Upper) -> Verdict {
    if quotes_ours(packet.ctx, packet.parsed) != 0 {
        count(Counter::IcmpErrorQuotesMobility);
        return Verdict::Done(XDP_DROP);
    }
    let [
        DESTINATION_UNREACHABLE,
        code @ (NO_ROUTE | ADDRESS_UNREACHABLE | REJECT_ROUTE | PORT_UNREACHABLE),
    ] = head(packet, upper)
    else {
        return Verdict::NotOurs;
    };
    let Some(quote) = quote(packet) else {
        return Verdict::Done(XDP_PASS);
    };
    if code == PORT_UNREACHABLE {
        return unwanted::at_correspondent(packet, quote);
    }
    let Some(owner) = owner(quote) else {
        return Verdict::NotOurs;
    };
    let flow = if quote.later {
        // Of which flow, the error about the first fragment says.
        if !followed(quote, &owner) {
            return Verdict::NotOurs;
        }
        core::ptr::null_mut()
    } else {
        let Some(flow) = pinned(quote, &owner) else {
            return Verdict::NotOurs;
        };
        flow
    };
    // The client is not told either way.
    let dropped = Verdict::Done(XDP_DROP);
    if admission::is_client(&packet.source) {
        count(Counter::CareOfUnreachableFromClients);
        return dropped;
    }
    let before = upper.offset - packet.layout.ipv6 - IPV6;
    // SAFETY: the header lies within the packet, which is as it came.
    let payload = usize::from(u16::from_be(unsafe { (*packet.ipv6).payload_length }));
    if !holds_checksum(packet, upper.offset, payload.wrapping_sub(before)) {
        count(Counter::CareOfUnreachableBadChecksum);
        return dropped;
    }
    if !admission::unreachable(&quote.destination) {
        return dropped;
    }
    let now = now();
    // No option, which the compiler would make of two values, the second one written in one of its cases alone.
    if !flow.is_null() {
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
    dropped
}

global! {
    /// Whether an error to a client quotes a message that was sent in its name, of which the client knows nothing:
    /// not 0 if so.
    fn quotes_ours(packet) -> u32;
    quotes_ours_once or 0;
    error_quotes_ours_xdp, error_quotes_ours_in, error_quotes_ours_out
}

#[inline(always)]
fn quotes_ours_once<C: Context>(packet: &Packet<'_, C>) -> u32 {
    u32::from(quotes_message(packet, packet.upper_header().offset))
}

#[inline(always)]
fn quotes_message<C: Context>(packet: &Packet<'_, C>, offset: usize) -> bool {
    let quoted = offset + HEADER;
    let Some(header) = packet.ctx.read::<Ipv6>(quoted) else {
        return false;
    };
    if header.next_header != MOBILITY || octets(header.source) != packet.destination {
        return false;
    }
    let Some([_, _, mh_type, _]) = packet.ctx.read::<[u8; 4]>(quoted + IPV6) else {
        return false;
    };
    // Tests, Acknowledgements and Errors.
    matches!(mh_type, 3 | 4 | 6 | 7) && admission::is_client(&packet.destination)
}

/// Which B a pair (A, C) belongs to, and what that does to a checksum.
struct Owner {
    anycast: [u8; 16],
    delta: u16,
}

/// That of a quoted packet that a client sent to C.
#[inline(always)]
fn owner(quote: &Quote) -> Option<Owner> {
    let pair = CareOfKey {
        client: quote.source,
        care_of: quote.destination,
    };
    // SAFETY: the controller replaces entries whole, and the copy is made at once.
    let owner = unsafe { CARE_OF.get(&pair) }?;
    Some(Owner {
        anycast: owner.anycast,
        delta: owner.delta,
    })
}

/// The flow of that packet, which must be bound to this C.
#[inline(always)]
fn pinned(quote: &Quote, owner: &Owner) -> Option<*mut Flow> {
    let transport = &quote.transport;
    let key = transport.flow_from_client(&quote.source, &owner.anycast);
    flow_table::find(&key)
        .filter(|pinned| pinned.care_of == quote.destination)
        .map(|pinned| pinned.flow())
}

/// Whether that packet is a later fragment of one whose first went to this C.
#[inline(always)]
fn followed(quote: &Quote, owner: &Owner) -> bool {
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
    fragment::care_of(&quote.source, destination, piece, seen)
}

global! {
    /// An error at a correspondent: about a packet of its client to C, or about one that its client
    /// got from B.
    pub(crate) fn at_correspondent(packet) -> u32;
    at_correspondent_once or Verdict::NOT_OURS;
    error_at_correspondent_xdp, error_at_correspondent_in, error_at_correspondent_out
}

#[inline(always)]
fn at_correspondent_once<C: Context>(packet: &Packet<'_, C>) -> u32 {
    correspondent(packet, packet.upper_header()).pack()
}

#[inline(always)]
fn correspondent<C: Context>(packet: &Packet<'_, C>, upper: Upper) -> Verdict {
    let Some(quote) = quote(packet) else {
        return Verdict::NotOurs;
    };
    let (to_client, address, delta) = match owner(quote) {
        Some(owner) => {
            let known = if quote.later {
                followed(quote, &owner)
            } else {
                pinned(quote, &owner).is_some()
            };
            if !known {
                packet.ctx.count_first(Counter::IcmpErrorNoFlow);
                return Verdict::NotOurs;
            }
            (true, owner.anycast, owner.delta)
        }
        None => match sender(quote) {
            Some((care_of, delta)) => (false, care_of, delta),
            None => return Verdict::NotOurs,
        },
    };
    Verdict::Done(translate(packet, upper, quote, to_client, address, delta))
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
    let pinned = flow_table::find(&key).filter(|pinned| !pinned.is_open())?;
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
    address: [u8; 16],
    delta: u16,
) -> u32 {
    let (inner, outer) = if to_client {
        (side::DESTINATION, side::SOURCE)
    } else {
        (side::SOURCE, side::DESTINATION)
    };
    // Routers on the way tell the client in their own name.
    let redirected = !to_client || packet.source == quote.destination;
    let change = Change {
        address,
        delta,
        side: if redirected { outer } else { side::NONE },
        lasts: false,
        reserved: [0; 4],
    };
    let transport = Transport::of(ICMPV6);
    let ingress = C::HOOK == Hook::Ingress;
    // As with other packets to B.
    if ingress && !to_client && is_unrouted(packet.ctx, packet.parsed, &raw const transport) == 0 {
        return XDP_PASS;
    }
    let next_hop = if ingress && to_client {
        NextHop::by(Way::Kernel)
    } else {
        next_hop(packet, &transport, &change)
    };
    if next_hop.way.ends_here() {
        return XDP_PASS;
    }
    if !requote(packet, upper, quote, inner, &change) {
        return XDP_PASS;
    }
    if redirected {
        redirect(packet, upper, outer, &change);
    }
    count(Counter::CorrespondentIcmpError);
    C::send(packet, &next_hop)
}

global! {
    /// An error at a member: about a packet that its egress program sent from C, or about a message
    /// of a handshake, from a client that does not know the Mobility Header.
    pub(crate) fn at_member(packet) -> u32;
    at_member_once or Verdict::NOT_OURS;
    error_at_member_xdp, error_at_member_in
}

#[inline(always)]
fn at_member_once<C: Context>(packet: &Packet<'_, C>) -> u32 {
    member(packet, packet.upper_header()).pack()
}

#[inline(always)]
fn member<C: Context>(packet: &Packet<'_, C>, upper: Upper) -> Verdict {
    let destination = on_stack(&packet.destination);
    // SAFETY: the controller replaces entries whole, and the copy is made at once.
    let owner = unsafe { LOCAL_CARE_OF.get(&destination) }.copied();
    if owner.is_none() && LOCAL_ANYCAST.get_ptr(&destination).is_none() {
        return Verdict::NotOurs;
    }
    if refuses_mobility(packet, upper) {
        if admission::error() && punt(packet, kind::ICMP_ERROR) {
            count(Counter::MemberMobilityRefused);
        }
    } else if let Some(owner) = owner
        && let Some(quote) = quote(packet)
    {
        let port = head(packet, upper) == [DESTINATION_UNREACHABLE, PORT_UNREACHABLE];
        // SAFETY: both are there.
        match unsafe { member_error_about(quote, &raw const owner.anycast, u32::from(port)) } {
            about::OWN => {
                count(Counter::MemberOwnFlow);
                return Verdict::Done(XDP_PASS);
            }
            about::HELD => return Verdict::Done(XDP_DROP),
            _ => {}
        }
        let change = Change {
            address: owner.anycast,
            delta: owner.delta,
            side: side::DESTINATION,
            lasts: false,
            reserved: [0; 4],
        };
        if requote(packet, upper, quote, side::SOURCE, &change) {
            redirect(packet, upper, side::DESTINATION, &change);
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
    side: u8,
    change: &Change,
) -> bool {
    if !readdress(packet, quote.offset, side, change) {
        return false;
    }
    let Transport { protocol, .. } = quote.transport;
    let checksum = quote.transport.place();
    let udp = matches!(protocol, UDP | UDP_LITE);
    if checksum == 0 || !packet.ctx.adjust(checksum, change.delta, udp) {
        // Nothing in the quote made up for the other address.
        outer_checksum(packet, upper, change.delta);
    }
    true
}

/// Changes an address of the error itself.
#[inline(always)]
fn redirect<C: Context>(packet: &Packet<'_, C>, upper: Upper, side: u8, change: &Change) {
    if readdress(packet, packet.layout.ipv6, side, change) {
        outer_checksum(packet, upper, change.delta);
    }
}

/// Changes an address of the IPv6 header at `offset`.
#[inline(always)]
fn readdress<C: Context>(packet: &Packet<'_, C>, offset: usize, side: u8, change: &Change) -> bool {
    let address = if side == side::SOURCE {
        rewrite::SOURCE
    } else {
        rewrite::DESTINATION
    };
    packet.ctx.store(offset + address, &words(&change.address))
}

#[inline(always)]
fn outer_checksum<C: Context>(packet: &Packet<'_, C>, upper: Upper, delta: u16) {
    packet.ctx.adjust(upper.offset + 2, delta, false);
}
