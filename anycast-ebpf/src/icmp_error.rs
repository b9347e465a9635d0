//! ICMPv6 errors (RFC 4443) about packets that were rewritten.
//!
//! An error quotes the packet as it was where the error arose. Whoever sent that packet looks for
//! a socket with the addresses in the quote, so the quote is put back to what it sent, or path-MTU
//! discovery fails. The quoted transport checksum covers the quoted addresses and is put right with
//! them; the two changes cancel in the ICMPv6 checksum, which then sees the outer addresses alone.

use anycast_common::abi::{counters::Counter, event::kind, maps::side};
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};

use crate::{
    admission,
    change::Change,
    context::{Context, Hook, Packet, Verdict},
    count::count,
    forward::{is_unrouted, next_hop},
    global::global,
    maps::{LOCAL_ANYCAST, LOCAL_CARE_OF},
    next_hop::{NextHop, Way},
    packet::{Ipv6, Upper, on_stack},
    punt::punt,
    quote::{DESTINATION_UNREACHABLE, HEADER, PORT_UNREACHABLE, head, quote},
    quoted::Quote,
    quoted_flow::{followed, owner, pinned, sender},
    requote::{redirect, requote},
    traffic,
    transport::{ICMPV6, MOBILITY, Transport},
    unwanted::{about, member_error_about},
};

const PARAMETER_PROBLEM: u8 = 4;

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
        reserved: 0,
        account: 0,
        stamp: 0,
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
    if let Some(local) = LOCAL_ANYCAST.get_ptr(&destination) {
        // SAFETY: a plain integer.
        let account = unsafe { (*local).account };
        traffic::count(account, side::DESTINATION, packet.octets());
    } else if owner.is_none() {
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
            reserved: 0,
            account: 0,
            stamp: 0,
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
