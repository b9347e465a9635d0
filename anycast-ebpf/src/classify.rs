//! What is this packet, and whose?

use anycast_common::abi::{
    counters::Counter,
    maps::CareOfKey,
    roles::{CORRESPONDENT, MEMBER, ROUTER},
};
use aya_ebpf::{
    bindings::{xdp_action::XDP_PASS, xdp_md},
    programs::XdpContext,
};

use crate::{
    context::{Context, Hook, Packet, Verdict},
    correspondent,
    count::count,
    fast::{Head, Sight, sight},
    flow_cache, fragment, icmp_error,
    maps::CARE_OF,
    member, mld,
    packet::{self, Chain, Piece, Upper, chain, is_link_local, is_local, is_multicast, octets},
    refused, station,
    transport::{HOP_BY_HOP, ICMPV6, MOBILITY},
};

/// Classifies the packet for an interface with the given roles and gives the XDP action.
#[inline(always)]
pub(crate) fn classify<const ROLES: u8>(ctx: &XdpContext) -> u32 {
    let action = match sight::<ROLES>(ctx) {
        Sight::Done(action) => return action,
        Sight::Flow | Sight::Other | Sight::Unknown if station::takes(ctx.ctx) == 0 => {
            return XDP_PASS;
        }
        Sight::Flow if ROLES & CORRESPONDENT != 0 => pinned(ctx.ctx),
        Sight::Other if ROLES & ROUTER != 0 => refused(ctx.ctx),
        Sight::Flow | Sight::Other | Sight::Unknown => UNDECIDED,
    };
    if action != UNDECIDED {
        return action;
    }
    long_way::<ROLES>(ctx.ctx)
}

/// A function of its own, as what is known of the frame by now is nothing to it.
#[inline(never)]
fn long_way<const ROLES: u8>(ctx: *mut xdp_md) -> u32 {
    // Else the compiler hands over what it reads of the context instead of the context.
    closely::<_, ROLES>(&XdpContext::new(core::hint::black_box(ctx)))
}

/// Not an XDP action.
const UNDECIDED: u32 = u32::MAX;

/// Sends a packet of a flow that the flow cache knows. A function of its own, as `long_way` is.
#[inline(never)]
fn pinned(ctx: *mut xdp_md) -> u32 {
    let ctx = XdpContext::new(core::hint::black_box(ctx));
    Head::of(&ctx)
        .and_then(|head| flow_cache::send(&ctx, head))
        .unwrap_or(UNDECIDED)
}

/// Drops a Report or Done that the policy has refused before. A function of its own, as `long_way` is.
#[inline(never)]
fn refused(ctx: *mut xdp_md) -> u32 {
    let ctx = XdpContext::new(core::hint::black_box(ctx));
    refused::again(&ctx).unwrap_or(UNDECIDED)
}

/// Looks at all of a packet, at any hook, and gives the XDP action.
#[inline(always)]
pub(crate) fn closely<C: Context, const ROLES: u8>(ctx: &C) -> u32 {
    let Some((mut layout, ipv6)) = packet::ipv6(ctx) else {
        return XDP_PASS;
    };
    layout.tagged |= ctx.untagged();
    // SAFETY: `packet::ipv6` checked that the header lies within the packet.
    let (source, destination, next_header) =
        unsafe { ((*ipv6).source, (*ipv6).destination, (*ipv6).next_header) };
    let (source, destination) = (octets(source), octets(destination));
    let packet = Packet {
        ctx,
        layout,
        ipv6,
        source,
        destination,
    };

    // A tagged frame belongs to another link, which has an interface, and perhaps a role, of its own.
    if ROLES & (ROUTER | MEMBER) != 0
        && !layout.tagged
        && (next_header == HOP_BY_HOP || next_header == ICMPV6)
        && let Verdict::Done(action) = mld::mld::<_, ROLES>(&packet, next_header)
    {
        return action;
    }
    if ROLES & (MEMBER | CORRESPONDENT) == 0
        || is_multicast(&destination)
        || is_multicast(&source)
        || is_local(&source)
        || is_link_local(&source)
        || is_link_local(&destination)
    {
        return XDP_PASS;
    }
    if C::HOOK == Hook::Egress && is_by_care_of(&packet) {
        return XDP_PASS;
    }
    match chain(ctx, layout, next_header) {
        Chain::Upper(upper) => unicast::<_, ROLES>(&packet, upper),
        Chain::First(upper, piece) => {
            let action = unicast::<_, ROLES>(&packet, upper);
            if ROLES & CORRESPONDENT != 0 {
                fragment::note_first(&packet, piece.identification, piece.protocol);
            }
            action
        }
        // Never rewritten, like the first of them.
        Chain::Later(piece) if piece.protocol == MOBILITY => XDP_PASS,
        Chain::Later(piece) => later::<_, ROLES>(&packet, piece),
        Chain::Unknown => {
            count(Counter::ChainNotParsed);
            XDP_PASS
        }
    }
}

/// Whether a packet of this host goes to C already. Were C an anycast address of its own that is bound to
/// another, it would be rewritten again where it leaves, and so forth.
#[inline(always)]
fn is_by_care_of<C: Context>(packet: &Packet<'_, C>) -> bool {
    let pair = CareOfKey {
        client: packet.source,
        care_of: packet.destination,
    };
    CARE_OF.get_ptr(&pair).is_some()
}

/// Gives the packet to the roles of the interface, in turn.
#[inline(always)]
fn unicast<C: Context, const ROLES: u8>(packet: &Packet<'_, C>, upper: Upper) -> u32 {
    let Upper { protocol, offset } = upper;
    let error = icmp_error::is_error(packet, upper);
    if ROLES & MEMBER != 0 {
        let packed = if error {
            icmp_error::at_member(packet, offset)
        } else if protocol == MOBILITY {
            member::mobility(packet, offset)
        } else {
            member::ingress(packet, protocol, offset)
        };
        if let Verdict::Done(action) = Verdict::unpack(packed) {
            return action;
        }
    }
    if ROLES & CORRESPONDENT != 0 {
        if error
            && let Verdict::Done(action) =
                Verdict::unpack(icmp_error::care_of_unreachable(packet, offset))
        {
            return action;
        }
        let packed = if error {
            icmp_error::at_correspondent(packet, offset)
        } else if protocol == MOBILITY && C::HOOK == Hook::Egress {
            // The controller's own.
            return XDP_PASS;
        } else if protocol == MOBILITY {
            correspondent::mobility(packet, offset)
        } else {
            correspondent::ingress(packet, protocol, offset)
        };
        if let Verdict::Done(action) = Verdict::unpack(packed) {
            return action;
        }
    }
    XDP_PASS
}

/// Gives a fragment without ports to the roles of the interface, in turn.
#[inline(always)]
fn later<C: Context, const ROLES: u8>(packet: &Packet<'_, C>, piece: Piece) -> u32 {
    if ROLES & MEMBER != 0
        && let Verdict::Done(action) = Verdict::unpack(fragment::at_member(packet))
    {
        return action;
    }
    if ROLES & CORRESPONDENT != 0 {
        let Piece {
            identification,
            protocol,
        } = piece;
        let packed = fragment::at_correspondent(packet, identification, protocol);
        if let Verdict::Done(action) = Verdict::unpack(packed) {
            return action;
        }
    }
    XDP_PASS
}
