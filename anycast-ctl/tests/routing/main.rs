//! Routers among members, other routers and a routing daemon, on a kernel in namespaces.

mod bed;
mod bird;
mod carrier;
mod discovery;
mod forged_query;
mod frr;
mod interfaces;
mod many;
mod members;
mod mtu;
mod nexthops;
mod polite;
mod queriers;
mod restart;

use std::process::ExitCode;

use xtask::kernel_tests::Suite;

fn main() -> ExitCode {
    let suite = Suite::new()
        .test(
            "members of a resilient group keep their flows",
            members::resilient,
        )
        .test("members of a plain route may lose flows", members::plain)
        .test(
            "a member that dies in silence loses its route",
            members::silent_death,
        )
        .test(
            "a deleted neighbour entry costs a member a moment",
            members::flushed_neighbour,
        )
        .test(
            "next-hop objects that somebody deletes are back within a second",
            nexthops::deleted,
        )
        .test(
            "path-MTU discovery without a gateway, by the router's hash",
            mtu::discovery,
        )
        .test(
            "a crashed router forwards on, and so does its successor",
            restart::no_gap,
        )
        .test(
            "a router that keeps its routes leaves them to its successor, or to detach",
            restart::kept,
        )
        .test(
            "a crashed router's routes go when nobody claims them",
            restart::unclaimed,
        )
        .test(
            "a carrier that is lost for a moment costs no member",
            carrier::lost_for_a_moment,
        )
        .test("a router follows its interface", interfaces::router)
        .test("a member follows its interface", interfaces::member)
        .test(
            "the lowest address asks, the next takes over",
            queriers::election,
        )
        .test(
            "a router's interface accepts all multicasts",
            queriers::all_multicasts,
        )
        .test("a forged Done is answered", queriers::forged_done)
        .test(
            "a forged Query takes no member away that is there",
            forged_query::anybody,
        )
        .test(
            "a Query of a stranger changes nothing where queriers are named",
            forged_query::limited,
        )
        .test(
            "beside an MLDv2 querier hosts stay with MLDv2",
            queriers::polite,
        )
        .test("General Queries turn hosts to MLDv1", queriers::always)
        .test(
            "a polite router starts and restarts unheard beside an MLDv2 querier",
            polite::beside,
        )
        .test(
            "a switch that snoops keeps Reports from a router that it does not know",
            discovery::silent,
        )
        .test(
            "a switch that snoops passes Reports to a router that advertises itself",
            discovery::advertised,
        )
        .test(
            "a polite router that is alone asks everybody",
            polite::alone,
        );
    let suite = suite
        .test("a few groups of one host are a line each", many::few)
        .test(
            "a host that reports thousands of groups gets its share",
            many::many,
        );
    frr::add(bird::add(suite)).run()
}
