//! What a packet costs in XDP on its way past the limits, as a ratio to a program that passes
//! everything.
//!
//! `cargo xtask bench floods`. Needs root.
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

use anycast_common::abi::roles::{CORRESPONDENT, MEMBER};
use anycast_ctl::{
    core::{MapAction, rate::Rate},
    shell::dataplane::{Dataplane, Limits, OBJECT, Settings},
};
use aya::programs::{TestRun as _, TestRunOptions};
use packets::{ACK, Packet, SYN, address};

const REPEAT: u32 = 200_000;
const ROUNDS: usize = 15;
const A: &str = "2001:db8:1::100";
const B: &str = "2001:db8:a::53";
const PORTS: (u16, u16) = (40000, 80);

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _guard = runtime.enter();
    let tcp = |source, destination| Packet::tcp(source, destination, PORTS, ACK).frame();
    let init = |client| Packet::mobility(B, client, 1).frame();
    let new_client = Packet::tcp("2001:db8:1::101", B, PORTS, SYN).frame();
    let rows = [
        ("XDP_PASS", 0, tcp(A, B)),
        (
            "a client's packet to B, not bound",
            CORRESPONDENT,
            tcp(A, B),
        ),
        ("to somebody else", CORRESPONDENT, tcp(A, "2001:db8:b::1")),
        ("from somebody else", CORRESPONDENT, tcp("2001:db8:b::1", A)),
        ("an init to one that sent, refused", CORRESPONDENT, init(A)),
        (
            "to one that did not, refused",
            CORRESPONDENT,
            init("2001:db8:1::9"),
        ),
        ("a new client, refused", MEMBER, new_client),
    ];
    let mut times = vec![Vec::new(); rows.len()];
    let mut dataplane = load();
    for _ in 0..ROUNDS {
        for ((_, roles, frame), times) in rows.iter().zip(&mut times) {
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
        println!("{name:36} {time:6} ns {ratio:8.2} x XDP_PASS");
    }
}

fn load() -> Dataplane {
    let one = Rate {
        every: Duration::from_hours(1),
        burst: 1,
    };
    let settings = Settings {
        roles: CORRESPONDENT | MEMBER,
        require_router_alert: true,
        limits: Limits {
            to_client: one,
            unsolicited: one,
            clients_of_prefix: one,
            ..Limits::NONE
        },
        sizes: Default::default(),
    };
    let mut dataplane = Dataplane::load(OBJECT, settings).unwrap();
    let maps = dataplane.maps();
    maps.set_client_prefixes(&["2001:db8:1::/64".parse().unwrap()])
        .unwrap();
    maps.set_anycast_prefixes(&["2001:db8:a::/48".parse().unwrap()])
        .unwrap();
    maps.apply(&MapAction::SetLocalAnycast {
        anycast: address(B),
        report_clients: true,
    })
    .unwrap();
    dataplane
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
