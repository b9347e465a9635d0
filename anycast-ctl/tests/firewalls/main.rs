//! Networks with firewalls: what they see of bound flows, and what becomes of flows that they break. Each test has its
//! control, the same firewall with plain anycast.

mod core;
mod datagrams;
mod gateway;
mod nft;
mod order;
mod site;
#[path = "../scenarios/stage.rs"]
mod stage;

use std::process::ExitCode;

use xtask::{kernel_tests::Suite, lab::app, process};

fn main() -> ExitCode {
    if let Some(code) = app::intercept() {
        return code;
    }
    let suite = Suite::new();
    if process::find("nft").is_none() {
        let reason = "there is no nft here: install nftables";
        return suite.ignored("firewalls", reason).run();
    }
    let suite = gateway::tests(suite);
    let suite = order::tests(suite);
    core::tests(suite).run()
}
