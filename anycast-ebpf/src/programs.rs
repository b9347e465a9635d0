//! Entry points, and nothing else. Their names are in `anycast_common::abi::programs`.

use anycast_common::abi::roles::{CORRESPONDENT, MEMBER, ROUTER};
use aya_ebpf::{
    bindings::{TC_ACT_UNSPEC, xdp_action::XDP_PASS},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};

use crate::{
    classify::classify,
    member_egress::{answered, member_egress, note_own},
    tcx,
};

/// For the far end of a veth pair, whose NAPI `XDP_REDIRECT` needs, and as a baseline.
#[xdp(frags)]
fn anycast_pass(_: XdpContext) -> u32 {
    XDP_PASS
}

#[xdp(frags)]
fn anycast_r(ctx: XdpContext) -> u32 {
    classify::<ROUTER>(&ctx)
}

#[xdp(frags)]
fn anycast_m(ctx: XdpContext) -> u32 {
    classify::<MEMBER>(&ctx)
}

#[xdp(frags)]
fn anycast_rm(ctx: XdpContext) -> u32 {
    classify::<{ ROUTER | MEMBER }>(&ctx)
}

#[xdp(frags)]
fn anycast_c(ctx: XdpContext) -> u32 {
    classify::<CORRESPONDENT>(&ctx)
}

#[xdp(frags)]
fn anycast_rc(ctx: XdpContext) -> u32 {
    classify::<{ ROUTER | CORRESPONDENT }>(&ctx)
}

#[xdp(frags)]
fn anycast_mc(ctx: XdpContext) -> u32 {
    classify::<{ MEMBER | CORRESPONDENT }>(&ctx)
}

#[xdp(frags)]
fn anycast_rmc(ctx: XdpContext) -> u32 {
    classify::<{ ROUTER | MEMBER | CORRESPONDENT }>(&ctx)
}

#[classifier]
fn anycast_m_out(ctx: TcContext) -> i32 {
    member_egress::<false>(&ctx)
}

#[classifier]
fn anycast_r_in(ctx: TcContext) -> i32 {
    tcx::ingress::<ROUTER, false>(ctx)
}

#[classifier]
fn anycast_m_in(ctx: TcContext) -> i32 {
    tcx::ingress::<MEMBER, false>(ctx)
}

#[classifier]
fn anycast_rm_in(ctx: TcContext) -> i32 {
    tcx::ingress::<{ ROUTER | MEMBER }, false>(ctx)
}

#[classifier]
fn anycast_c_in(ctx: TcContext) -> i32 {
    tcx::ingress::<CORRESPONDENT, false>(ctx)
}

#[classifier]
fn anycast_rc_in(ctx: TcContext) -> i32 {
    tcx::ingress::<{ ROUTER | CORRESPONDENT }, false>(ctx)
}

#[classifier]
fn anycast_mc_in(ctx: TcContext) -> i32 {
    tcx::ingress::<{ MEMBER | CORRESPONDENT }, false>(ctx)
}

#[classifier]
fn anycast_rmc_in(ctx: TcContext) -> i32 {
    tcx::ingress::<{ ROUTER | MEMBER | CORRESPONDENT }, false>(ctx)
}

#[classifier]
fn anycast_c_out(ctx: TcContext) -> i32 {
    tcx::egress::<CORRESPONDENT, false>(ctx)
}

#[classifier]
fn anycast_mc_out(ctx: TcContext) -> i32 {
    both_egress::<false>(ctx)
}

#[inline(always)]
fn both_egress<const IS_BARE: bool>(ctx: TcContext) -> i32 {
    if answered::<IS_BARE>(&ctx) != 0 {
        return TC_ACT_UNSPEC;
    }
    note_own::<IS_BARE>(&ctx);
    tcx::egress::<CORRESPONDENT, IS_BARE>(ctx)
}

// Those of devices without Ethernet: tunnels, WireGuard, PPP.

#[classifier]
fn anycast_m_in3(ctx: TcContext) -> i32 {
    tcx::ingress::<MEMBER, true>(ctx)
}

#[classifier]
fn anycast_c_in3(ctx: TcContext) -> i32 {
    tcx::ingress::<CORRESPONDENT, true>(ctx)
}

#[classifier]
fn anycast_mc_in3(ctx: TcContext) -> i32 {
    tcx::ingress::<{ MEMBER | CORRESPONDENT }, true>(ctx)
}

#[classifier]
fn anycast_m_out3(ctx: TcContext) -> i32 {
    member_egress::<true>(&ctx)
}

#[classifier]
fn anycast_c_out3(ctx: TcContext) -> i32 {
    tcx::egress::<CORRESPONDENT, true>(ctx)
}

#[classifier]
fn anycast_mc_out3(ctx: TcContext) -> i32 {
    both_egress::<true>(ctx)
}
