//! The system on real packets: the lab's course, and what the course does not show.

mod capture;
mod captures;
mod client_host;
mod course;
mod datagrams;
mod drain;
mod failure;
mod flood;
mod generic;
mod membership;
mod monitor;
mod mtu;
mod paths;
mod peers;
mod restart;
mod service;
mod sessions;
mod soak;
mod stage;
mod tcx;
mod tunnels;
mod unattended;
mod uplinks;

use std::process::ExitCode;

use xtask::{kernel_tests::Suite, lab::app};

fn main() -> ExitCode {
    if let Some(code) = app::intercept() {
        return code;
    }
    Suite::new()
        .and(capture::tests())
        .test(
            "the lab's course, and its captures are in order",
            course::course,
        )
        .test(
            "join and leave show in the kernel's routes",
            membership::join_and_leave,
        )
        .test(
            "a router that comes late finds the members",
            membership::late_router,
        )
        .test("a refused Report changes nothing", membership::refused)
        .test(
            "a binding expires, a pinned session goes on",
            sessions::expiry,
        )
        .test(
            "a session survives a gateway that forgets it",
            sessions::gateway_gone,
        )
        .test(
            "a session survives a gateway that forgets it in full flow",
            paths::gone_in_full_flow,
        )
        .test("path MTU discovery works for bound flows", paths::small_mtu)
        .test(
            "path MTU discovery works for datagrams",
            datagrams::small_mtu,
        )
        .test(
            "by native XDP, the MTU of links changes under a session",
            mtu::native,
        )
        .test(
            "by generic XDP, the MTU of links changes under a session",
            mtu::generic,
        )
        .test("by TCX, the MTU of links changes under a session", mtu::tcx)
        .test("fragments of bound flows arrive", paths::fragments)
        .test(
            "path MTU discovery works for fragments",
            datagrams::fragments,
        )
        .test(
            "by TCX, sessions are carried with all offloads on",
            tcx::offloads,
        )
        .test("by TCX, path MTU discovery works", tcx::small_mtu)
        .test(
            "by TCX, path MTU discovery works for datagrams",
            tcx::datagrams,
        )
        .test(
            "by TCX, path MTU discovery works for fragments",
            tcx::fragments,
        )
        .test("a narrower way to C than to B", paths::narrow_care_of)
        .test("by TCX, a narrower way to C", tcx::narrow_care_of)
        .test(
            "by TCX, other programs run before and after ours, and stay",
            tcx::beside_others,
        )
        .test(
            "by TCX, headers that are not linear are read",
            tcx::not_linear,
        )
        .test(
            "a client host's sessions by a tunnel without Ethernet are bound",
            tunnels::client_host,
        )
        .test(
            "sessions of clients behind a tunnel without Ethernet are bound",
            tunnels::gateway,
        )
        .test(
            "sessions with a member behind a tunnel without Ethernet are bound",
            tunnels::member,
        )
        .test(
            "what needs Ethernet is refused on a tunnel",
            tunnels::refused,
        )
        .test("by generic XDP, sessions are carried", generic::session)
        .test_with_pins(
            "a session survives a gateway that changes its mode",
            tcx::other_mode,
        )
        .test(
            "a client host's own sessions are bound and stay",
            client_host::session,
        )
        .test(
            "a client host's own sessions find the path MTU",
            client_host::small_mtu,
        )
        .test(
            "a client host's own datagrams find the path MTU",
            client_host::datagrams,
        )
        .test(
            "a client host's packets to members take the uplink of their routes",
            uplinks::session,
        )
        .test(
            "clients of a member that cannot be reached are with another in four seconds",
            failure::unreachable,
        )
        .test(
            "clients of a member that falls silent are with another in the configured time",
            failure::silent,
        )
        .test(
            "a flush sends a session back to plain anycast",
            failure::flush,
        )
        .test(
            "the monitor tells a client's course from its first packet to a flush",
            monitor::course,
        )
        .test(
            "a drain waits for the session that is pinned here",
            sessions::drain,
        )
        .test(
            "a drain waits for no half-open connection, and for a datagram's client some seconds",
            drain::counts,
        )
        .test(
            "clients are bound while forged messages flood their gateway",
            flood::handshakes,
        )
        .test(
            "a handshake under way survives a restart of the gateway",
            restart::nonces,
        )
        .test_with_pins(
            "a session survives the death of its member's daemon, and the next one's start",
            unattended::member,
        )
        .test_with_pins(
            "a session survives the death of its gateway's daemon, although the route has moved",
            unattended::gateway,
        )
        .test_with_pins(
            "a member that is stopped keeps its sessions until they are detached",
            unattended::stopped,
        )
        .test(
            "a member that is to keep nothing keeps nothing",
            unattended::not_kept,
        )
        .test(
            "two members behind a hash bind one client with `peers`",
            peers::both_bind,
        )
        .test(
            "without `peers` one of two members behind a hash binds",
            peers::one_binds_without,
        )
        .test(
            "a hundred sessions outlive two hundred moves of the route",
            soak::soak,
        )
        .run()
}
