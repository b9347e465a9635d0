//! Which clients, and which of their answers, a member's programs hand to the controller.

use anycast_common::abi::{event::kind, roles::MEMBER};
use anycast_ctl::{
    core::{MapAction, rate::Rate},
    shell::dataplane::Limits,
};
use anyhow::Result;
use xtask::kernel_tests::Suite;

use crate::{
    harness::{Bench, Row, TWO, Verdict, stay},
    limits::{message, punted, refused},
    packets::{Packet, SYN, address},
};

const A: &str = "2001:db8:1::100";
const B: &str = "2001:db8:a::53";
const PORTS: (u16, u16) = (40000, 80);
const HOME_TEST: u8 = 3;
const BINDING_ACK: u8 = 6;

pub fn tests(suite: Suite) -> Suite {
    suite
        .test("limits: new clients of one /64, and of all", new_clients)
        .test("limits: answers to a member", answers)
}

fn new_clients() -> Result<()> {
    stay()?;
    let mut bench = Bench::with_limits(
        MEMBER,
        true,
        Limits {
            clients_of_prefix: TWO,
            clients: Rate { burst: 3, ..TWO },
            ..Limits::NONE
        },
    )?;
    bench.dataplane.maps().apply(&MapAction::SetLocalAnycast {
        anycast: address(B),
        report_clients: true,
    })?;
    let row = |name, source: &str, counts, events| Row {
        name,
        frame: Packet::tcp(source, B, PORTS, SYN).frame(),
        verdict: Verdict::Pass,
        becomes: None,
        counts,
        events,
    };
    let reported: &[(&str, u64)] = &[("member_new_client", 1)];
    let new: &[u8] = &[kind::NEW_CLIENT];
    let of_prefix = &[("member_new_client_prefix_limited", 1)];
    let of_all = &[("member_new_client_rate_limited", 1)];
    bench.table(&[
        row("a client", "2001:db8:1::1", reported, new),
        row("another", "2001:db8:1::2", reported, new),
        row("a third of its /64", "2001:db8:1::3", of_prefix, &[]),
        row("which is tried again", "2001:db8:1::3", of_prefix, &[]),
        row("one that is known", "2001:db8:1::1", &[], &[]),
        row("another /64", "2001:db8:2::1", reported, new),
        row(
            "more than the controller bears",
            "2001:db8:3::1",
            of_all,
            &[],
        ),
        row("which is tried again", "2001:db8:3::1", of_all, &[]),
    ])
}

/// However many handshakes begin, there is room for their answers.
fn answers() -> Result<()> {
    stay()?;
    let limits = Limits {
        answers: Rate { burst: 3, ..TWO },
        ..Limits::NONE
    };
    let mut bench = Bench::with_limits(MEMBER, true, limits)?;
    bench.dataplane.maps().apply(&MapAction::SetLocalAnycast {
        anycast: address(B),
        report_clients: true,
    })?;
    let beyond = &[("member_answer_limited", 1)];
    let answer = |name, source, mh_type| punted(name, &message(source, B, mh_type));
    bench.table(&[
        answer("a Home Test", A, HOME_TEST),
        answer("an acknowledgement", A, BINDING_ACK),
        answer("of another client", "2001:db8:2::1", HOME_TEST),
        refused("a fourth at once", &message(A, B, BINDING_ACK), beyond),
    ])
}
