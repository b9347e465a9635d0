//! Never worse than plain anycast: flows of a client that go to several members, packets that somebody forges,
//! tables that fill, answers by another way. Each test has its control, the same network without a daemon.

mod around;
mod datagrams;
mod dead;
mod forged;
mod forgotten;
mod neighbours;
mod own;
mod pressure;
mod reload;
mod sessions;
mod site;
mod soak;
mod spread;
mod switch;
mod table;

use std::process::ExitCode;

use xtask::{kernel_tests::Suite, lab::app};

fn main() -> ExitCode {
    if let Some(code) = app::intercept() {
        return code;
    }
    let suite = spread::tests(Suite::new());
    let suite = forged::tests(suite);
    let suite = forgotten::tests(suite);
    let suite = switch::tests(suite);
    let suite = table::tests(suite);
    let is_long = std::env::var_os(LONG).is_some();
    let suite = neighbours::tests(suite, is_long);
    let suite = around::tests(suite);
    let suite = own::tests(suite);
    let suite = reload::tests(suite, is_long);
    let long = pressure::tests(Suite::new());
    let long = dead::tests(long);
    let long = soak::tests(long);
    if is_long {
        suite.and(long).run()
    } else {
        suite.without(long, &format!("only with {LONG}=1")).run()
    }
}

/// When it is set, the tests run that measure times and pressures, and the soak.
const LONG: &str = "ANYCAST_LONG";
