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
#[xdp]
fn anycast_pass(_: XdpContext) -> u32 {
    XDP_PASS
}

#[xdp]
fn anycast_r(ctx: XdpContext) -> u32 {
    classify::<ROUTER>(&ctx)
}

#[xdp]
fn anycast_m(ctx: XdpContext) -> u32 {
    classify::<MEMBER>(&ctx)
}

#[xdp]
fn anycast_rm(ctx: XdpContext) -> u32 {
    classify::<{ ROUTER | MEMBER }>(&ctx)
}

#[xdp]
fn anycast_c(ctx: XdpContext) -> u32 {
    classify::<CORRESPONDENT>(&ctx)
}

#[xdp]
fn anycast_rc(ctx: XdpContext) -> u32 {
    classify::<{ ROUTER | CORRESPONDENT }>(&ctx)
}

#[xdp]
fn anycast_mc(ctx: XdpContext) -> u32 {
    classify::<{ MEMBER | CORRESPONDENT }>(&ctx)
}

#[xdp]
fn anycast_rmc(ctx: XdpContext) -> u32 {
    classify::<{ ROUTER | MEMBER | CORRESPONDENT }>(&ctx)
}

#[classifier]
fn anycast_m_out(ctx: TcContext) -> i32 {
    member_egress(&ctx)
}

#[classifier]
fn anycast_r_in(ctx: TcContext) -> i32 {
    tcx::ingress::<ROUTER>(ctx)
}

#[classifier]
fn anycast_m_in(ctx: TcContext) -> i32 {
    tcx::ingress::<MEMBER>(ctx)
}

#[classifier]
fn anycast_rm_in(ctx: TcContext) -> i32 {
    tcx::ingress::<{ ROUTER | MEMBER }>(ctx)
}

#[classifier]
fn anycast_c_in(ctx: TcContext) -> i32 {
    tcx::ingress::<CORRESPONDENT>(ctx)
}

#[classifier]
fn anycast_rc_in(ctx: TcContext) -> i32 {
    tcx::ingress::<{ ROUTER | CORRESPONDENT }>(ctx)
}

#[classifier]
fn anycast_mc_in(ctx: TcContext) -> i32 {
    tcx::ingress::<{ MEMBER | CORRESPONDENT }>(ctx)
}

#[classifier]
fn anycast_rmc_in(ctx: TcContext) -> i32 {
    tcx::ingress::<{ ROUTER | MEMBER | CORRESPONDENT }>(ctx)
}

#[classifier]
fn anycast_c_out(ctx: TcContext) -> i32 {
    tcx::egress::<CORRESPONDENT>(ctx)
}

#[classifier]
fn anycast_mc_out(ctx: TcContext) -> i32 {
    if answered(&ctx) != 0 {
        return TC_ACT_UNSPEC;
    }
    note_own(&ctx);
    tcx::egress::<CORRESPONDENT>(ctx)
}
