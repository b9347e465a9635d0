//! The shell against a real kernel, each test in a network namespace of its own.

mod addresses;
mod groups;
mod links;
mod nexthops;
mod plain_routes;
mod routes;
mod scale;
mod sockets;

use std::{net::Ipv6Addr, process::Command, time::Duration};

use nix::sched::{CloneFlags, unshare};

use super::{
    groups::Groups,
    netlink::{KernelEvent, LinkInput, LinkTable, Netlink, requests::Requests},
    reachability::Reachability,
    routes::Routes,
    sockets::Sender,
    way,
};
use crate::{
    core::{GroupAction, NextHop},
    model::{
        nexthop::Resilient,
        route::{RoutePlace, RouteSettings, Style},
    },
};

const PLACE: RoutePlace = RoutePlace {
    table: 254,
    metric: 512,
    protocol: 172,
};
const PLAIN: RouteSettings = RouteSettings {
    place: PLACE,
    style: Style::Plain,
    multipath: true,
    plain_beside_zebra: true,
};
const RESILIENT: RouteSettings = RouteSettings {
    style: Style::Resilient(Resilient {
        buckets: 64,
        idle_timer: Duration::from_secs(120),
        unbalanced_timer: Duration::ZERO,
    }),
    ..PLAIN
};
const B: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);

/// Runs `test` on a thread that has its own network; says so and does nothing where it cannot.
fn in_namespace(test: impl AsyncFnOnce() + Send + 'static) {
    if Command::new("ip").arg("-V").output().is_err() {
        println!("skipped: these tests need iproute2");
        return;
    }
    let thread = std::thread::spawn(move || {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            println!("skipped: a network namespace needs root ({error})");
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(test());
    });
    thread.join().expect("the test passed");
}

/// `ip`, in the namespace of the calling thread.
fn ip(line: &str) -> String {
    let output = Command::new("ip")
        .args(line.split_whitespace())
        .output()
        .expect("iproute2 is there");
    assert!(
        output.status.success(),
        "ip {line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

/// A veth pair `a0` (fe80::a) and `b0` (fe80::b), and the index of `a0`.
fn pair() -> u32 {
    ip("link add a0 type veth peer name b0");
    for (name, address) in [("a0", "fe80::a/64"), ("b0", "fe80::b/64")] {
        ip(&format!("link set {name} addrgenmode none"));
        ip(&format!("link set {name} up"));
        ip(&format!("address add {address} dev {name} nodad"));
    }
    // Until the kernel has noticed that both ends are up, what is sent is lost.
    let up = || ip("-o link show type veth").matches(" state UP ").count();
    let (limit, again) = (Duration::from_secs(10), Duration::from_millis(5));
    xtask::net::wait::poll(limit, again, "both ends up", || {
        Ok((up() == 2).then_some(()))
    })
    .expect("both ends up");
    nix::net::if_::if_nametoindex("a0").expect("a0")
}

fn hop(last: u16, ifindex: u32) -> NextHop {
    NextHop {
        via: Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last)),
        ifindex,
    }
}

fn route() -> String {
    ip(&format!("-6 route show {B}"))
}

fn routes_of(settings: RouteSettings, grace: Duration) -> Routes {
    Routes::new(settings, Requests::open().expect("a socket"), grace)
}

/// Reconciles whenever it is due, for a while.
async fn settle(routes: &mut Routes, netlink: &mut Netlink) {
    let end = tokio::time::Instant::now() + Duration::from_millis(400);
    loop {
        let due = routes.due().into();
        tokio::select! {
            () = tokio::time::sleep_until(end) => return,
            () = tokio::time::sleep_until(due) => routes.reconcile(),
            event = netlink.next() => {
                match event {
                    KernelEvent::Route(news) => routes.notified(&news),
                    KernelEvent::Nexthop(news) => routes.nexthop_notified(&news),
                    _ => {}
                }
            }
        }
    }
}
