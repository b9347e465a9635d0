//! MLD messages that carry anycast addresses (draft host-anycast, RFC 2710).

use anycast_common::{
    abi::{counters::Counter, event::kind, policy::ethernet as ethernet_number, roles::ROUTER},
    wire::mld::ALERT_VALUE,
};
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};

use crate::{
    admission,
    checksum::folds_to_ones,
    checksum::holds_checksum,
    context::{Context, Packet, Parsed, Verdict},
    count::count,
    global::global,
    limit,
    maps::REQUIRE_ROUTER_ALERT,
    packet::{IPV6, MAX_OFFSET, ethernet, is_link_local, is_multicast, octets, words},
    policy,
    punt::{punt, punt_refused},
    transport::{HOP_BY_HOP, ICMPV6},
};

const QUERY: u8 = 130;
pub(crate) const REPORT: u8 = 131;
pub(crate) const DONE: u8 = 132;
/// Octets of an MLDv1 message (RFC 2710 section 3).
pub(crate) const LENGTH: usize = 24;
/// Options of a Hop-by-Hop header that are looked at for Router Alert.
const MAX_OPTIONS: u32 = 8;
const ROUTER_ALERT: u8 = 5;
const ALL_ROUTERS: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

/// An MLDv1 message (RFC 2710 section 3).
#[repr(C)]
#[derive(Clone, Copy)]
struct Message {
    message_type: u8,
    code: u8,
    checksum: u16,
    maximum_response_delay: u16,
    reserved: u16,
    address: [u32; 4],
}

/// Looks for MLD: ICMPv6 behind Hop-by-Hop Options, or, wrongly, without them. Anything else is
/// `NotOurs`.
#[inline(always)]
pub(crate) fn mld<C: Context, const ROLES: u8>(ctx: &C, parsed: &Parsed) -> Verdict {
    let mut offset = parsed.header() + IPV6;
    if parsed.next_header == HOP_BY_HOP {
        let Some([next, length]) = ctx.read::<[u8; 2]>(offset) else {
            return Verdict::NotOurs;
        };
        if next != ICMPV6 {
            return Verdict::NotOurs;
        }
        offset += (length as usize + 1) * 8;
    }
    let Some([message_type, _]) = ctx.read::<[u8; 2]>(offset) else {
        return Verdict::NotOurs;
    };
    let is_report = matches!(message_type, REPORT | DONE) && ROLES & ROUTER != 0;
    if message_type != QUERY && !is_report {
        return Verdict::NotOurs;
    }
    Verdict::Done(if is_report {
        report(ctx, parsed, offset as u32, u32::from(message_type))
    } else {
        query(ctx, parsed, offset as u32)
    })
}

global! {
    /// A Query for the controller, which checks the rest; the kernel answers it for its multicast
    /// groups. One that did not begin on this link is nobody's (RFC 2710 section 5): it must not reach
    /// the controller from afar.
    fn query(packet, offset: u32) -> u32;
    query_once or XDP_PASS;
    mld_query_xdp, mld_query_in
}

#[inline(always)]
fn query_once<C: Context>(packet: &Packet<'_, C>, offset: u32) -> u32 {
    let offset = offset as usize & MAX_OFFSET;
    // SAFETY: `classify` checked that the IPv6 header lies within the packet.
    let hop_limit = unsafe { (*packet.ipv6).hop_limit };
    if hop_limit != 1 || !is_link_local(&packet.source) {
        count(Counter::MldQueryNotOnLink);
    } else if packet.ctx.read::<Message>(offset).is_none() {
        count(Counter::MldTruncated);
    } else if admission::query() {
        count(Counter::MldQuery);
        punt(packet, kind::MLD);
    }
    XDP_PASS
}

global! {
    /// Counts a Report or Done, and gives it to the controller or drops it.
    fn report(packet, offset: u32, message_type: u32) -> u32;
    report_once or XDP_PASS;
    mld_report_xdp, mld_report_in
}

#[inline(always)]
fn report_once<C: Context>(packet: &Packet<'_, C>, offset: u32, message_type: u32) -> u32 {
    match check(packet, offset as usize & MAX_OFFSET, message_type as u8) {
        Ok(allowed) => {
            count(allowed);
            if !matches!(allowed, Counter::MldMulticast) {
                punt(packet, kind::MLD);
            }
            // The kernel has no use for it, but whoever captures on this router wants to see it.
            XDP_PASS
        }
        Err(reason) => {
            count(reason);
            if limit::shows_example(reason) {
                punt_refused(packet, reason);
            }
            XDP_DROP
        }
    }
}

/// The checks of draft host-anycast 4.2 and 4.3, the cheap ones first, then the policy, then the
/// sender's rate.
///
/// What the policy refuses is a valid message, and the next one like it takes the short way
/// (`refused`). It leaves no trace in `SENDERS`: forged senders cannot push others out, unless the
/// policy lets them in.
#[inline(always)]
fn check<C: Context>(
    packet: &Packet<'_, C>,
    offset: usize,
    message_type: u8,
) -> Result<Counter, Counter> {
    // SAFETY: `classify` checked that the IPv6 header lies within the packet.
    let (payload_length, hop_limit) = unsafe {
        (
            u16::from_be((*packet.ipv6).payload_length) as usize,
            (*packet.ipv6).hop_limit,
        )
    };
    let before = offset - packet.layout.ipv6 - IPV6;
    let Some(message) = packet.ctx.read::<Message>(offset) else {
        return Err(Counter::MldTruncated);
    };
    if payload_length < before + LENGTH {
        return Err(Counter::MldTruncated);
    }
    let address = octets(message.address);
    if is_multicast(&address) {
        return Ok(Counter::MldMulticast);
    }
    if !is_link_local(&packet.source) {
        return Err(Counter::MldBadSource);
    }
    if hop_limit != 1 {
        return Err(Counter::MldBadHopLimit);
    }
    if packet.destination != ALL_ROUTERS {
        return Err(Counter::MldBadDestination);
    }
    if REQUIRE_ROUTER_ALERT.load() != 0
        && !(packet.next_header == HOP_BY_HOP && has_router_alert(packet))
    {
        return Err(Counter::MldNoRouterAlert);
    }
    if !can_be_anycast(&address) {
        return Err(Counter::MldBadAddress);
    }
    let (allowed, denied) = if message_type == REPORT {
        (Counter::MldReportAllowed, Counter::MldReportDenied)
    } else {
        (Counter::MldDoneAllowed, Counter::MldDoneDenied)
    };
    let Some(frame) = ethernet(packet.ctx) else {
        return Err(Counter::MldTruncated);
    };
    // SAFETY: `ethernet` checked the bounds.
    let mac = unsafe { (*frame).source };
    let length = payload_length - before;
    let holds = if length == LENGTH {
        short_checksum_holds(packet, &message)
    } else {
        checksum_holds(packet, offset, length)
    };
    if !holds {
        return Err(Counter::MldBadChecksum);
    }
    // SAFETY: both are 6 plain bytes.
    let mac: [u8; 6] = unsafe { core::mem::transmute(mac) };
    let decision = policy::decide(packet, ethernet_number(mac), &address);
    if !decision.allow {
        return Err(denied);
    }
    limit::admits(packet, mac, decision.rule)?;
    Ok(allowed)
}

/// Not unspecified, loopback, link-local or v4-mapped; multicast was seen before.
#[inline(always)]
pub(crate) fn can_be_anycast(address: &[u8; 16]) -> bool {
    let high = u64::from_ne_bytes([
        address[0], address[1], address[2], address[3], address[4], address[5], address[6],
        address[7],
    ]);
    if high == 0 {
        let middle = u32::from_be_bytes([address[8], address[9], address[10], address[11]]);
        let low = u32::from_be_bytes([address[12], address[13], address[14], address[15]]);
        return middle != 0xffff && !(middle == 0 && low <= 1);
    }
    !is_link_local(address)
}

/// Router Alert (RFC 2711) with the value of MLD, in the Hop-by-Hop header.
#[inline(always)]
fn has_router_alert<C: Context>(packet: &Packet<'_, C>) -> bool {
    let start = packet.layout.ipv6 + IPV6;
    let Some([_, length]) = packet.ctx.read::<[u8; 2]>(start) else {
        return false;
    };
    let end = start + (length as usize + 1) * 8;
    let mut offset = start + 2;
    for _ in 0..MAX_OPTIONS {
        if offset + 4 > end {
            return false;
        }
        let Some([option, option_length, v0, v1]) = packet.ctx.read::<[u8; 4]>(offset) else {
            return false;
        };
        match option {
            ROUTER_ALERT => {
                return option_length == 2 && u16::from_be_bytes([v0, v1]) == ALERT_VALUE;
            }
            0 => offset += 1,
            _ => offset += option_length as usize + 2,
        }
    }
    false
}

/// [`checksum_holds`] for a message without trailing octets.
#[inline(always)]
fn short_checksum_holds<C: Context>(packet: &Packet<'_, C>, message: &Message) -> bool {
    // SAFETY: both are 24 plain bytes.
    let message: [u32; 6] = unsafe { core::mem::transmute(*message) };
    let mut sum = u64::from((LENGTH as u16 + u16::from(ICMPV6)).to_be());
    for addresses in [&packet.source, &packet.destination] {
        for word in words(addresses) {
            sum += u64::from(word);
        }
    }
    for word in message {
        sum += u64::from(word);
    }
    folds_to_ones(sum)
}

/// The ICMPv6 checksum with its pseudo-header (RFC 8200 section 8.1). Trailing octets are covered
/// by it; a message with more of them than are summed here is checked by the controller alone.
#[inline(always)]
fn checksum_holds<C: Context>(packet: &Packet<'_, C>, offset: usize, length: usize) -> bool {
    const MOST: usize = 256;
    if length > MOST {
        return true;
    }
    holds_checksum(packet, offset, length)
}
