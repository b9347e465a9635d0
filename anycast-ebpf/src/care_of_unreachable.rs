//! ICMPv6 errors at a correspondent that are not for its client: those which say that C cannot be reached, and those
//! about messages that were sent in the client's name.

use anycast_common::abi::{
    counters::Counter,
    event::{UNREACHABLE_EVERY, kind},
};
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};

use crate::{
    admission,
    checksum::holds_checksum,
    context::{Context, Hook, Packet, Verdict},
    count::count,
    global::global,
    hints,
    limit::now,
    maps::UNREACHABLE,
    packet::{IPV6, Ipv6, Upper, octets},
    punt::punt,
    quote::{DESTINATION_UNREACHABLE, HEADER, PORT_UNREACHABLE, head, quote},
    quoted_flow::{followed, owner, pinned},
    transport::MOBILITY,
    unwanted,
};

/// Codes of Destination Unreachable that tell of the address, whoever sends to it (RFC 4443 section
/// 3.1). The others tell of one flow or one sender: 1 prohibited, 2 scope, 4 port, 5 source policy.
const NO_ROUTE: u8 = 0;
const ADDRESS_UNREACHABLE: u8 = 3;
const REJECT_ROUTE: u8 = 6;

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
    // What this host says itself may have an address of the clients' link, and no client is asked.
    let own = C::HOOK == Hook::Egress && !packet.ctx.is_forwarded();
    if !own && admission::is_client(&packet.source) {
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
