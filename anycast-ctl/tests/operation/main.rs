//! What an operator installs, starts and watches: the unit under a real systemd.

mod machine;
mod unit;

use std::process::ExitCode;

use xtask::{kernel_tests::Suite, lab::app};

fn main() -> ExitCode {
    if let Some(code) = app::intercept() {
        return code;
    }
    let mut suite = Suite::new();
    let life = "the unit's life under systemd, beside a session";
    suite = match machine::obstacle() {
        Some(reason) => suite.ignored(life, reason),
        None => suite.test(life, unit::life),
    };
    suite.run()
}
