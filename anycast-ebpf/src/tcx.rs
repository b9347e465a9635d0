//! Entries of the TCX programs, and their verdicts.

use anycast_common::abi::{counters::Counter, roles::CORRESPONDENT};
use aya_ebpf::{
    bindings::{
        TC_ACT_REDIRECT, TC_ACT_SHOT, TC_ACT_UNSPEC,
        xdp_action::{XDP_DROP, XDP_REDIRECT},
    },
    programs::TcContext,
};

use crate::{
    classify,
    context::Context as _,
    count::count,
    fast::{Sight, UNDECIDED, sight},
    skb::Skb,
    skb_short,
};

/// `PACKET_OTHERHOST`: the kernel has found that the frame is for another host.
const OTHER_HOST: u32 = 3;

/// TCX ingress of an interface with the given roles. `IS_BARE`: its packets have no Ethernet header.
#[inline(always)]
pub(crate) fn ingress<const ROLES: u8, const IS_BARE: bool>(ctx: TcContext) -> i32 {
    let ctx = Skb::<false>(ctx);
    let seen = if IS_BARE {
        Sight::Unknown
    } else {
        sight::<ROLES>(&ctx)
    };
    if let Sight::Done(action) = seen {
        return verdict(action);
    }
    // Of frames for others those are counted that would have been looked at, as at XDP.
    // SAFETY: the context lives as long as the program.
    if unsafe { (*ctx.0.skb.skb).pkt_type } == OTHER_HOST {
        count(Counter::FrameForAnother);
        return TC_ACT_UNSPEC;
    }
    if let (true, Sight::Flow(addresses)) = (ROLES & CORRESPONDENT != 0, seen) {
        let action = skb_short::pinned::<false>(ctx.0.skb.skb, addresses);
        if action != UNDECIDED {
            return verdict(action);
        }
    }
    ctx.pull::<IS_BARE>();
    verdict(classify::closely::<_, ROLES, IS_BARE>(&ctx))
}

/// TCX egress of a correspondent: packets to C, behind whatever filters and counts them as packets to B.
#[inline(always)]
pub(crate) fn egress<const ROLES: u8, const IS_BARE: bool>(ctx: TcContext) -> i32 {
    let ctx = Skb::<true>(ctx);
    if !IS_BARE {
        if ctx.is_forwarded() && !ctx.is_of_interest() {
            return TC_ACT_UNSPEC;
        }
        if let Some(addresses) = ctx.addresses() {
            let action = skb_short::pinned::<true>(ctx.0.skb.skb, addresses);
            if action != UNDECIDED {
                return verdict(action);
            }
        }
    }
    ctx.pull::<IS_BARE>();
    verdict(classify::closely::<_, ROLES, IS_BARE>(&ctx))
}

/// An XDP action in terms of TCX. What is not decided here is for the next program of the interface.
#[inline(always)]
fn verdict(action: u32) -> i32 {
    match action {
        XDP_DROP => TC_ACT_SHOT,
        XDP_REDIRECT => TC_ACT_REDIRECT,
        _ => TC_ACT_UNSPEC,
    }
}
