//! Gateways that act as one: several of them between the same clients and members, with routes that spread flows over
//! them and that differ in both directions.

mod clients;
mod clock;
mod guarded;
mod keys;
mod nats;
mod sessions;
mod site;
mod slow;
mod soak;
mod standby;
mod strangers;
mod time_of_day;

use std::process::ExitCode;

use xtask::{kernel_tests::Suite, lab::app};

fn main() -> ExitCode {
    if let Some(code) = app::intercept() {
        return code;
    }
    let suite = sessions::tests(keys::tests(Suite::new()));
    let suite = standby::tests(clock::tests(guarded::tests(strangers::tests(suite))));
    soak::tests(suite, std::env::var_os("ANYCAST_LONG").is_some()).run()
}
