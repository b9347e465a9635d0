//! Gateways that act as one: several of them between the same clients and members, with routes that spread flows over
//! them and that differ in both directions.

mod clients;
mod keys;
mod nats;
mod sessions;
mod site;
mod strangers;

use std::process::ExitCode;

use xtask::{kernel_tests::Suite, lab::app};

fn main() -> ExitCode {
    if let Some(code) = app::intercept() {
        return code;
    }
    let suite = sessions::tests(keys::tests(Suite::new()));
    strangers::tests(suite).run()
}
