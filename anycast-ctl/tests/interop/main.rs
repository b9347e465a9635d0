//! Our daemons against another implementation of RFC 6275: `peer.py`, which was written from the
//! texts and shares no code with ours. It is a member against our correspondent, and a correspondent
//! against our member, and each may behave as badly as a row of these tables says.

mod answers;
mod correspondent;
mod flows;
mod member;
mod site;
mod triples;
mod updates;

use std::process::ExitCode;

use xtask::{kernel_tests::Suite, process::find};

type Test = (&'static str, fn() -> anyhow::Result<()>);

const TESTS: [Test; 8] = [
    (
        "a binding of another make carries flows, until it is deleted",
        flows::carried,
    ),
    (
        "a correspondent answers every Binding Update as it must",
        correspondent::updates,
    ),
    (
        "a correspondent answers what is malformed or unknown as it must",
        correspondent::others,
    ),
    (
        "a correspondent refuses what it may not or cannot bind",
        correspondent::refused,
    ),
    (
        "a correspondent binds several members to one address, each for itself",
        triples::triples,
    ),
    (
        "a member takes every answer of a correspondent as it must",
        member::answers,
    ),
    ("a host without mobility is left alone", member::plain),
    ("a member takes its bindings back at its end", member::end),
];

fn main() -> ExitCode {
    let python = find("python3").is_some();
    let add = |suite: Suite, (name, body): Test| {
        if python {
            suite.test(name, body)
        } else {
            suite.ignored(name, "python3 is not installed (apt-get install python3)")
        }
    };
    TESTS.into_iter().fold(Suite::new(), add).run()
}
