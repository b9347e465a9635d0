//! What a refused Report costs in XDP, as a ratio to a program that passes everything.
//!
//! `cargo xtask bench refused`. Needs root.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement may abort"
)]

#[path = "../tests/verdicts/packets.rs"]
#[allow(dead_code, reason = "shared with the verdict tables")]
mod packets;

use std::time::Duration;

use anycast_common::abi::{
    maps::{PolicyRule, policy},
    roles::ROUTER,
};
use anycast_ctl::{
    core::rate::Rate,
    shell::dataplane::{Dataplane, Limits, OBJECT, Settings},
};
use aya::programs::{TestRun as _, TestRunOptions};
use packets::{Packet, address};

const REPEAT: u32 = 200_000;
const ROUNDS: usize = 15;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _guard = runtime.enter();
    let report = |source| Packet::report(source, "2001:db8:a::53");
    let denied = report("fe80::66").frame();
    let wrong = report("fe80::11").with(|p| p.hop_limit = 2).frame();
    let flood = report("fe80::12").frame();
    let two = vec![allow("fe80::11"), allow("fe80::12")];
    let many: Vec<_> = (0..255).map(|n| allow(&format!("fe80::1:{n:x}"))).collect();

    let rows = [
        ("XDP_PASS", &two, 0, &denied),
        ("denied, 2 rules", &two, ROUTER, &denied),
        ("denied, 255 rules", &many, ROUTER, &denied),
        ("wrong hop limit", &two, ROUTER, &wrong),
        ("beyond its rate, 2 rules", &two, ROUTER, &flood),
    ];
    let mut times = vec![Vec::new(); rows.len()];
    let mut dataplane = load();
    for _ in 0..ROUNDS {
        for ((_, rules, roles, frame), times) in rows.iter().zip(&mut times) {
            dataplane.maps().set_policy(rules).unwrap();
            times.push(run(&mut dataplane, *roles, frame));
        }
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() / 2].as_nanos()
    };
    let medians: Vec<_> = times.iter_mut().map(median).collect();
    for ((name, ..), time) in rows.iter().zip(&medians) {
        let ratio = *time as f64 / medians[0].max(1) as f64;
        println!("{name:32} {time:6} ns {ratio:8.2} x XDP_PASS");
    }
}

fn load() -> Dataplane {
    let settings = Settings {
        roles: ROUTER,
        require_router_alert: true,
        limits: Limits {
            reports: Rate::per_second(1, 1),
            ..Limits::NONE
        },
        sizes: Default::default(),
    };
    Dataplane::load(OBJECT, settings).unwrap()
}

fn allow(source: &str) -> PolicyRule {
    PolicyRule {
        source: address(source).octets(),
        source_mask: [0xff; 16],
        anycast: [0; 16],
        anycast_mask: [0; 16],
        ifindex: 0,
        action: policy::ALLOW,
        match_mac: 0,
        mac: [0; 6],
        id: 0,
    }
}

fn run(dataplane: &mut Dataplane, roles: u8, frame: &[u8]) -> Duration {
    let program = dataplane.xdp(roles).unwrap();
    let options = TestRunOptions {
        data_in: Some(frame),
        repeat: REPEAT,
        ..TestRunOptions::default()
    };
    program.test_run(options).unwrap().duration
}
