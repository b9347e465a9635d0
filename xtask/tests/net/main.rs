//! The virtual network that the lab stands on, tested by itself.

mod capture;
mod ends;

use std::process::ExitCode;

use xtask::{kernel_tests::Suite, lab::app};

fn main() -> ExitCode {
    if let Some(code) = app::intercept() {
        return code;
    }
    Suite::new()
        .test("a namespace goes with its value", ends::namespace)
        .test(
            "what a dead run left is removed, what lives is not",
            ends::site,
        )
        .test("a process ends with its value", ends::process)
        .test(
            "a wait ends at its deadline, and sooner when it may",
            ends::wait,
        )
        .test("the monitor tells a new route and its end", ends::routes)
        .test(
            "a session is captured as the wire carries it",
            capture::session,
        )
        .test("a closed port is a reset in the capture", capture::reset)
        .test("a capture that is late misses nothing", capture::late)
        // One of them counts the places of the others.
        .threads(1)
        .run()
}
