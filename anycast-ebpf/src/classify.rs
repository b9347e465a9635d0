//! Says what a packet is, and gives it to the roles of its interface.

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
    care_of_unreachable,
    context::{Context, Hook, Parsed, Verdict},
    correspondent,
    count::count,
    fast::{Head, Sight, UNDECIDED, sight},
    flow_cache, fragment, icmp_error,
    maps::CARE_OF,
    member, mld,
    packet::{is_link_local, is_local, is_multicast},
    parse::{found, how, parse},
    refused, station,
    transport::{HOP_BY_HOP, ICMPV6, MOBILITY},
};

/// Classifies the packet for an interface with the given roles and gives the XDP action.
#[inline(always)]
pub(crate) fn classify<const ROLES: u8>(ctx: &XdpContext) -> u32 {
    let seen = match sight::<ROLES>(ctx) {
        Sight::Done(action) => return action,
        seen => seen,
    };
    if ROLES & CORRESPONDENT != 0
        && let Sight::Flow(addresses) = seen
    {
        // A call costs a packet of a bound flow a fifth of its time. With a member's role the stack of the programs
        // is too deep for anything else in this one.
        let action = if ROLES & MEMBER == 0 {
            pinned(ctx, addresses)
        } else {
            // SAFETY: the context is the kernel's.
            unsafe { fast_pinned_xdp(ctx.ctx, addresses) }
        };
        if action != UNDECIDED {
            return action;
        }
    }
    if !station::takes(ctx) {
        return XDP_PASS;
    }
    if ROLES & ROUTER != 0 && matches!(seen, Sight::Other) {
        let action = refused(ctx.ctx);
        if action != UNDECIDED {
            return action;
        }
    }
    closely::<_, ROLES, false>(ctx)
}

/// Sends a packet of a flow that the flow cache knows, whose frames this host takes.
#[inline(always)]
fn pinned(ctx: &XdpContext, addresses: u64) -> u32 {
    Head::of(ctx)
        .and_then(|head| flow_cache::send(ctx, head, addresses))
        .unwrap_or(UNDECIDED)
}

/// [`pinned`] as a function of its own, and a global one, because of another the compiler would hand over what it reads
/// of the context instead of the context.
///
/// # Safety
///
/// The context must be the kernel's.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn fast_pinned_xdp(ctx: *mut xdp_md, addresses: u64) -> u32 {
    pinned(&XdpContext::new(ctx), addresses)
}

/// Drops a Report or Done that the policy has refused before. A function of its own, as that is.
#[inline(never)]
fn refused(ctx: *mut xdp_md) -> u32 {
    let ctx = XdpContext::new(core::hint::black_box(ctx));
    refused::again(&ctx).unwrap_or(UNDECIDED)
}

/// Looks at all of a packet, at any hook, and gives the XDP action. `IS_BARE`: it has no Ethernet header.
#[inline(always)]
pub(crate) fn closely<C: Context, const ROLES: u8, const IS_BARE: bool>(ctx: &C) -> u32 {
    let mut parsed = Parsed::nothing();
    let mut how = 0;
    if ROLES & (MEMBER | CORRESPONDENT) != 0 {
        how |= how::FOLLOW;
    }
    if IS_BARE {
        how |= how::BARE;
    }
    let found = parse(ctx, &mut parsed, how);
    if found == found::NOTHING {
        if ctx.is_elsewhere() {
            count(Counter::HeadersNotInFirstBuffer);
        }
        return XDP_PASS;
    }
    // A tagged frame belongs to another link, which has an interface, and perhaps a role, of its own.
    if ROLES & (ROUTER | MEMBER) != 0
        && parsed.tagged == 0
        && (parsed.next_header == HOP_BY_HOP || parsed.next_header == ICMPV6)
        && let Verdict::Done(action) = mld::mld::<_, ROLES>(ctx, &parsed)
    {
        return action;
    }
    if ROLES & (MEMBER | CORRESPONDENT) == 0
        || is_multicast(&parsed.destination)
        || is_multicast(&parsed.source)
        || is_local(&parsed.source)
        || is_link_local(&parsed.source)
        || is_link_local(&parsed.destination)
    {
        return XDP_PASS;
    }
    if C::HOOK == Hook::Egress && is_by_care_of(&parsed) {
        return XDP_PASS;
    }
    match found {
        found::UPPER => unicast::<_, ROLES>(ctx, &parsed),
        found::FIRST => {
            let action = unicast::<_, ROLES>(ctx, &parsed);
            if ROLES & MEMBER != 0 {
                fragment::note_own(ctx, &parsed, action);
            }
            if ROLES & CORRESPONDENT != 0 {
                fragment::note_first(ctx, &parsed);
            }
            action
        }
        // Never rewritten, like the first of them.
        found::LATER if parsed.protocol == MOBILITY => XDP_PASS,
        found::LATER => later::<_, ROLES>(ctx, &parsed),
        _ => {
            ctx.count_first(Counter::ChainNotParsed);
            XDP_PASS
        }
    }
}

/// Whether a packet of this host goes to C already. Were C an anycast address of its own that is bound to
/// another, it would be rewritten again where it leaves, and so forth.
#[inline(always)]
fn is_by_care_of(parsed: &Parsed) -> bool {
    let pair = CareOfKey {
        client: parsed.source,
        care_of: parsed.destination,
    };
    CARE_OF.get_ptr(&pair).is_some()
}

/// Gives the packet to the roles of the interface, in turn.
#[inline(always)]
fn unicast<C: Context, const ROLES: u8>(ctx: &C, parsed: &Parsed) -> u32 {
    let (protocol, error) = (parsed.protocol, parsed.error != 0);
    if ROLES & MEMBER != 0 {
        let packed = if error {
            icmp_error::at_member(ctx, parsed)
        } else if protocol == MOBILITY {
            member::mobility(ctx, parsed)
        } else {
            member::ingress(ctx, parsed)
        };
        if let Verdict::Done(action) = Verdict::unpack(packed) {
            return action;
        }
    }
    if ROLES & CORRESPONDENT != 0 {
        if error
            && let Verdict::Done(action) =
                Verdict::unpack(care_of_unreachable::care_of_unreachable(ctx, parsed))
        {
            return action;
        }
        let packed = if error {
            icmp_error::at_correspondent(ctx, parsed)
        } else if protocol == MOBILITY && C::HOOK == Hook::Egress {
            // The controller's own.
            return XDP_PASS;
        } else if protocol == MOBILITY {
            correspondent::mobility(ctx, parsed)
        } else {
            correspondent::ingress(ctx, parsed)
        };
        if let Verdict::Done(action) = Verdict::unpack(packed) {
            return action;
        }
    }
    XDP_PASS
}

/// Gives a fragment without ports to the roles of the interface, in turn.
#[inline(always)]
fn later<C: Context, const ROLES: u8>(ctx: &C, parsed: &Parsed) -> u32 {
    if ROLES & MEMBER != 0
        && let Verdict::Done(action) = Verdict::unpack(fragment::at_member(ctx, parsed))
    {
        return action;
    }
    if ROLES & CORRESPONDENT != 0
        && let Verdict::Done(action) = Verdict::unpack(fragment::at_correspondent(ctx, parsed))
    {
        return action;
    }
    XDP_PASS
}
