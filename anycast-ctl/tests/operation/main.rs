//! What an operator installs, starts and watches: the unit under a real systemd, metrics under a real Prometheus.

mod machine;
mod metrics;
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
    suite = suite.test(
        "metrics are what the daemons say elsewhere, and documented",
        metrics::served,
    );
    let scraped = "a Prometheus scrapes the lab, and rules and dashboard hold";
    suite = match metrics::obstacle() {
        Some(reason) => suite.ignored(scraped, reason),
        None => suite.test(scraped, metrics::prometheus),
    };
    suite.run()
}
