//! Which rule of a router's policy decides about a Report.

use anycast_common::abi::{
    maps::{PolicyRule, policy},
    roles::ROUTER,
};
use anyhow::{Result, ensure};
use xtask::kernel_tests::Suite;

use crate::{
    harness::{Bench, Row},
    packets::{CLIENT_MAC, Packet},
    router::{GROUP, MEMBER, allowed, refused, rule},
};

pub fn tests(suite: Suite) -> Suite {
    suite.test("router: first match wins, default deny", policy_order)
}

fn policy_order() -> Result<()> {
    let mut bench = Bench::new(ROUTER, true)?;
    let report = || Packet::report(MEMBER, GROUP);
    let denied = |name| refused(name, report(), &[("mld_report_denied", 1)]);
    let accepted = |name| allowed(name, report(), &[("mld_report_allowed", 1)]);
    let any = |action| rule(("::", 0), ("::", 0), action);

    bench.table(&[denied("no policy at all")])?;
    let tables: [(Vec<PolicyRule>, Row); 7] = [
        (vec![any(policy::ALLOW)], accepted("everything allowed")),
        (
            vec![
                rule((MEMBER, 128), ("::", 0), policy::DENY),
                any(policy::ALLOW),
            ],
            denied("a deny before an allow"),
        ),
        (
            vec![
                any(policy::ALLOW),
                rule((MEMBER, 128), ("::", 0), policy::DENY),
            ],
            accepted("an allow before a deny"),
        ),
        (
            vec![PolicyRule {
                match_mac: 1,
                mac: CLIENT_MAC,
                ..any(policy::ALLOW)
            }],
            accepted("the right MAC"),
        ),
        (
            vec![PolicyRule {
                match_mac: 1,
                mac: [2, 0, 0, 0, 0, 9],
                ..any(policy::ALLOW)
            }],
            denied("another MAC"),
        ),
        (
            vec![PolicyRule {
                ifindex: 9999,
                ..any(policy::ALLOW)
            }],
            denied("another interface"),
        ),
        (
            (0..255)
                .map(|id| PolicyRule {
                    id,
                    ..rule(("fe80::1:0", 112), ("::", 0), policy::DENY)
                })
                .map(|rule| {
                    if rule.id == 254 {
                        any(policy::ALLOW)
                    } else {
                        rule
                    }
                })
                .collect(),
            accepted("the last of 255 rules"),
        ),
    ];
    for (rules, row) in tables {
        bench.dataplane.maps().set_policy(&rules)?;
        bench.table(&[row])?;
    }
    let too_many = vec![any(policy::ALLOW); 256];
    ensure!(bench.dataplane.maps().set_policy(&too_many).is_err());
    Ok(())
}
