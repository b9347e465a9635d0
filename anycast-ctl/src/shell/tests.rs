//! The shell against a real kernel, each test in a network namespace of its own.

use std::{
    net::{Ipv6Addr, SocketAddr, UdpSocket},
    process::Command,
    time::Duration,
};

use anycast_common::wire::{checksum, ipv6};
use nix::sched::{CloneFlags, unshare};

use super::{
    netlink::{KernelEvent, LinkInput, LinkTable, Netlink, requests::Requests},
    reachability::Reachability,
    routes::Routes,
    sockets::{Groups, Sender},
};
use crate::{
    core::NextHop,
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
                if let KernelEvent::Route(news) = event {
                    routes.notified(&news);
                }
            }
        }
    }
}

#[test]
fn routes_follow_the_core() {
    in_namespace(async || {
        let a0 = pair();
        let mut netlink = Netlink::open().expect("netlink");
        let mut routes = routes_of(PLAIN, Duration::ZERO);

        routes.set(B, vec![hop(0x11, a0)]);
        routes.flush();
        let one = route();
        assert!(
            one.contains("via fe80::11 dev a0 proto 172 metric 512"),
            "{one}"
        );
        routes.set(B, vec![hop(0x11, a0), hop(0x12, a0)]);
        routes.flush();
        let two = route();
        assert!(two.contains("nexthop via fe80::11 dev a0"), "{two}");
        assert!(two.contains("nexthop via fe80::12 dev a0"), "{two}");
        let on_link = NextHop {
            via: None,
            ifindex: a0,
        };
        routes.set(B, vec![on_link]);
        routes.flush();
        assert!(route().contains("dev a0 proto 172"), "{}", route());
        assert!(!route().contains("via"), "{}", route());
        routes.set(B, vec![hop(0x12, a0)]);
        routes.flush();
        settle(&mut routes, &mut netlink).await;

        // Somebody deletes it, somebody changes it.
        ip(&format!("-6 route del {B}/128 proto 172"));
        settle(&mut routes, &mut netlink).await;
        assert!(route().contains("via fe80::12"), "{}", route());
        ip(&format!(
            "-6 route replace {B}/128 via fe80::99 dev a0 proto 172 metric 512"
        ));
        settle(&mut routes, &mut netlink).await;
        assert!(route().contains("via fe80::12"), "{}", route());

        routes.remove(B);
        routes.flush();
        assert_eq!(route(), "");
        // Twice does no harm.
        routes.remove(B);
        routes.flush();
    });
}

#[test]
fn routes_of_others_are_left_alone() {
    in_namespace(async || {
        let a0 = pair();
        let mut netlink = Netlink::open().expect("netlink");
        ip(&format!(
            "-6 route add {B}/128 via fe80::77 dev a0 proto bird metric 512"
        ));
        ip("-6 route add 2001:db8:b::/64 via fe80::77 dev a0 proto static");
        let mut routes = routes_of(PLAIN, Duration::ZERO);
        routes.set(B, vec![hop(0x11, a0)]);
        routes.flush();
        settle(&mut routes, &mut netlink).await;
        let theirs = route();
        assert!(
            theirs.contains("via fe80::77 dev a0 proto bird"),
            "{theirs}"
        );
        assert!(!theirs.contains("fe80::11"), "{theirs}");

        // Ours comes when theirs goes.
        ip(&format!("-6 route del {B}/128 proto bird"));
        settle(&mut routes, &mut netlink).await;
        assert!(
            route().contains("via fe80::11 dev a0 proto 172"),
            "{}",
            route()
        );

        routes.withdraw();
        assert_eq!(route(), "");
        assert!(ip("-6 route show proto static").contains("2001:db8:b::/64"));
    });
}

#[test]
fn routes_of_a_crashed_run_are_adopted_or_removed() {
    in_namespace(async || {
        let a0 = pair();
        let mut netlink = Netlink::open().expect("netlink");
        ip(&format!(
            "-6 route add {B}/128 via fe80::11 dev a0 proto 172 metric 512"
        ));
        ip("-6 route add 2001:db8:a::54/128 via fe80::11 dev a0 proto 172 metric 512");
        let mut routes = routes_of(PLAIN, Duration::from_millis(300));
        routes.reconcile();
        assert!(
            ip("-6 route show proto 172").lines().count() == 2,
            "both stay at first"
        );
        routes.set(B, vec![hop(0x11, a0)]);
        routes.flush();
        settle(&mut routes, &mut netlink).await;
        let left = ip("-6 route show proto 172");
        assert_eq!(left.lines().count(), 1, "{left}");
        assert!(left.contains("2001:db8:a::53"), "{left}");
    });
}

#[test]
fn a_table_of_its_own_works_and_a_former_one_is_cleared() {
    in_namespace(async || {
        let a0 = pair();
        let mut settings = PLAIN;
        settings.place.table = 10_000;
        let mut routes = routes_of(settings, Duration::ZERO);
        routes.set(B, vec![hop(0x11, a0)]);
        routes.flush();
        let own = ip("-6 route show table 10000");
        assert!(own.contains("via fe80::11 dev a0 proto 172"), "{own}");
        assert_eq!(route(), "");
        // A crash, and another table in the configuration.
        drop(routes);
        let mut routes = routes_of(PLAIN, Duration::ZERO);
        routes.set(B, vec![hop(0x11, a0)]);
        routes.flush();
        assert!(route().contains("via fe80::11 dev a0 proto 172"));
        assert_eq!(ip("-6 route show table all proto 172").lines().count(), 1);
        routes.withdraw();
        assert_eq!(ip("-6 route show table all proto 172"), "");
    });
}

/// What is there of next-hop objects, by `ip`.
fn objects(filter: &str) -> Vec<String> {
    let all = ip("nexthop show");
    let wanted = all.lines().filter(|line| line.contains(filter));
    wanted.map(str::to_owned).collect()
}

const RESILIENT: RouteSettings = RouteSettings {
    style: Style::Resilient(Resilient {
        buckets: 64,
        idle_timer: Duration::from_secs(120),
        unbalanced_timer: Duration::ZERO,
    }),
    ..PLAIN
};

#[test]
fn resilient_groups_follow_the_core() {
    in_namespace(async || {
        let a0 = pair();
        let mut netlink = Netlink::open().expect("netlink");
        // The numbers that would be ours, and others.
        ip("nexthop add id 1633878016 via fe80::99 dev a0");
        ip("nexthop add id 7 via fe80::11 dev a0 proto bird");
        let mut routes = routes_of(RESILIENT, Duration::ZERO);
        let other = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x54);
        routes.set(B, vec![hop(0x11, a0)]);
        routes.set(other, vec![hop(0x11, a0), hop(0x12, a0)]);
        routes.flush();
        assert_eq!(routes.style(), RESILIENT.style, "no fallback");
        let one = route();
        assert!(
            one.contains("nhid ") && one.contains("via fe80::11"),
            "{one}"
        );
        let groups = objects("group");
        assert_eq!(groups.len(), 2, "{groups:?}");
        assert!(
            groups[0].contains("type resilient buckets 64 idle_timer 120 unbalanced_timer 0"),
            "{groups:?}"
        );

        routes.set(B, vec![hop(0x11, a0), hop(0x13, a0)]);
        routes.flush();
        let two = route();
        assert!(two.contains("nexthop via fe80::13"), "{two}");
        assert_eq!(two.split_whitespace().nth(2), one.split_whitespace().nth(2));
        settle(&mut routes, &mut netlink).await;

        // Somebody deletes the group, and with it the route.
        let id = two.split_whitespace().nth(2).expect("a number").to_owned();
        ip(&format!("nexthop del id {id}"));
        assert_eq!(route(), "");
        settle(&mut routes, &mut netlink).await;
        assert!(route().contains("nexthop via fe80::13"), "{}", route());

        routes.remove(B);
        routes.remove(other);
        routes.flush();
        assert_eq!(ip("-6 route show proto 172"), "");
        assert_eq!(objects("proto 172"), [""; 0]);
        assert_eq!(objects("").len(), 2, "those of others stay");
    });
}

#[test]
fn plain_multipath_where_the_kernel_refuses_resilience() {
    in_namespace(async || {
        let a0 = pair();
        let mut settings = RESILIENT;
        settings.style = Style::Resilient(Resilient {
            buckets: 0, // No kernel takes that.
            idle_timer: Duration::from_secs(120),
            unbalanced_timer: Duration::ZERO,
        });
        let mut routes = routes_of(settings, Duration::ZERO);
        routes.set(B, vec![hop(0x11, a0), hop(0x12, a0)]);
        routes.flush();
        assert_eq!(routes.style(), Style::Plain);
        let both = route();
        assert!(!both.contains("nhid"), "{both}");
        assert!(both.contains("nexthop via fe80::12"), "{both}");
        assert_eq!(objects(""), [""; 0], "nothing is left of the try");
    });
}

#[test]
fn a_crashed_run_leaves_its_groups_to_the_next() {
    in_namespace(async || {
        let a0 = pair();
        let mut netlink = Netlink::open().expect("netlink");
        let mut crashed = routes_of(RESILIENT, Duration::ZERO);
        crashed.set(B, vec![hop(0x11, a0), hop(0x12, a0)]);
        crashed.flush();
        drop(crashed);
        let before = (route(), objects(""));

        let grace = Duration::from_millis(300);
        let mut routes = routes_of(RESILIENT, grace);
        routes.reconcile();
        routes.set(B, vec![hop(0x12, a0)]);
        routes.flush();
        assert_eq!(
            (route(), objects("")),
            before,
            "fe80::11 has time to report"
        );
        settle(&mut routes, &mut netlink).await;
        let after = route();
        assert!(
            after.contains("fe80::12") && !after.contains("fe80::11"),
            "{after}"
        );
        assert_eq!(objects("").len(), 2, "{:?}", objects(""));

        // One that says so leaves at once, in that time too.
        let mut routes = routes_of(RESILIENT, Duration::from_secs(60));
        routes.reconcile();
        routes.set(B, vec![hop(0x11, a0), hop(0x12, a0)]);
        routes.flush();
        routes.set(B, vec![hop(0x11, a0)]);
        routes.flush();
        assert!(!route().contains("fe80::12"), "{}", route());
        routes.remove(B);
        routes.flush();
        assert_eq!((route(), objects("")), (String::new(), Vec::new()));
    });
}

/// Changes go out together. The time is told; what is asserted is only that all of them arrived.
#[test]
fn ten_thousand_routes_in_one_step() {
    in_namespace(async || {
        let a0 = pair();
        let b = |n: u32| Ipv6Addr::from_bits(B.to_bits() + (u128::from(n) << 16));
        let all = 0..10_000;
        for (name, settings) in [("plain", PLAIN), ("resilient", RESILIENT)] {
            let mut routes = routes_of(settings, Duration::ZERO);
            routes.reconcile();
            let mut step = |what: &str, hosts: &[u16]| {
                for n in all.clone() {
                    routes.set(b(n), hosts.iter().map(|host| hop(*host, a0)).collect());
                }
                let start = std::time::Instant::now();
                routes.flush();
                println!("10000 {name} routes, {what}: {:.0?}", start.elapsed());
            };
            step("two members", &[0x11, 0x12]);
            assert_eq!(
                ip("-6 route show proto 172").matches("fe80::12").count(),
                10_000
            );
            step("a third", &[0x11, 0x12, 0x13]);
            assert_eq!(
                ip("-6 route show proto 172").matches("fe80::13").count(),
                10_000
            );
            let start = std::time::Instant::now();
            routes.reconcile();
            println!("10000 {name} routes, compared: {:.0?}", start.elapsed());
            let start = std::time::Instant::now();
            routes.withdraw();
            println!("10000 {name} routes, withdrawn: {:.0?}", start.elapsed());
            assert_eq!(ip("-6 route show proto 172"), "");
        }
    });
}

/// One request after another, each waiting for its answer: the contrast to the test above.
#[test]
fn a_thousand_routes_one_by_one() {
    in_namespace(async || {
        let a0 = pair();
        let b = |n: u32| Ipv6Addr::from_bits(B.to_bits() + (u128::from(n) << 16));
        let mut routes = routes_of(PLAIN, Duration::ZERO);
        routes.reconcile();
        let start = std::time::Instant::now();
        for n in 0..1000 {
            routes.set(b(n), vec![hop(0x11, a0), hop(0x12, a0)]);
            routes.flush();
        }
        println!("1000 plain routes, one by one: {:.0?}", start.elapsed());
        assert_eq!(
            ip("-6 route show proto 172").matches("fe80::12").count(),
            1000
        );
    });
}

#[test]
fn neighbours_are_probed_and_those_of_administrators_left_alone() {
    in_namespace(async || {
        let a0 = pair();
        let mut netlink = Netlink::open().expect("netlink");
        let mut neighbours = Reachability::new(Requests::open().expect("a socket"));
        let host = |last| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last);
        ip("-6 neigh add fe80::11 lladdr 02:00:00:00:00:11 dev a0 nud permanent");
        neighbours.probe(a0, host(0x11));
        assert!(ip("-6 neigh show fe80::11 dev a0").contains("PERMANENT"));

        // Nobody is there: one that was known a moment ago, and one that never was.
        ip("-6 neigh add fe80::12 lladdr 02:00:00:00:00:12 dev a0 nud stale");
        neighbours.probe(a0, host(0x12));
        assert!(ip("-6 neigh show fe80::12 dev a0").contains("PROBE"));
        neighbours.probe(a0, host(0x13));
        let mut failed = Vec::new();
        let wait = async {
            while failed.len() < 2 {
                if let KernelEvent::NeighbourFailed { ifindex, address } = netlink.next().await {
                    assert_eq!(ifindex, a0);
                    failed.push(address);
                }
            }
        };
        let result = tokio::time::timeout(Duration::from_secs(10), wait).await;
        assert!(result.is_ok(), "only {failed:?}");
        failed.sort();
        assert_eq!(failed, [host(0x12), host(0x13)]);
    });
}

#[test]
fn a_neighbour_that_moves_and_one_that_goes_are_told() {
    in_namespace(async || {
        pair();
        let mut netlink = Netlink::open().expect("netlink");
        for change in [
            "add fe80::11 lladdr 02:00:00:00:00:11",
            "replace fe80::11 lladdr 02:00:00:00:00:12",
            "del fe80::11",
        ] {
            ip(&format!("-6 neigh {change} dev a0"));
            let told = async { while netlink.next().await != KernelEvent::Neighbour {} };
            let result = tokio::time::timeout(Duration::from_secs(10), told).await;
            assert!(result.is_ok(), "{change}");
        }
    });
}

#[test]
fn interfaces_are_told_as_they_come_and_go() {
    in_namespace(async || {
        let mut netlink = Netlink::open().expect("netlink");
        let mut table = LinkTable::new(["a0".to_owned()]);
        table.replace(netlink.links().await.expect("a dump"));
        assert_eq!(table.differences(), []);
        let a0 = pair();
        let mut last = None;
        while !matches!(&last, Some(LinkInput::Link(link)) if link.up && link.link_local.is_some())
        {
            if let KernelEvent::Change(change) = netlink.next().await {
                table.apply(change);
            }
            last = table.differences().pop().or(last);
        }
        let Some(LinkInput::Link(link)) = last else {
            panic!("a link");
        };
        assert_eq!((link.ifindex, link.name.as_str()), (a0, "a0"));
        assert_eq!(
            link.link_local,
            Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xa))
        );
        table.replace(netlink.links().await.expect("a dump"));
        assert_eq!(table.differences(), [], "a dump says the same");

        ip("link del a0");
        loop {
            if let KernelEvent::Change(change) = netlink.next().await {
                table.apply(change);
            }
            if let [.., LinkInput::Gone { ifindex, .. }] = table.differences()[..] {
                assert_eq!(ifindex, a0);
                break;
            }
        }
    });
}

#[test]
fn packets_leave_as_the_core_made_them() {
    in_namespace(async || {
        let a0 = pair();
        let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0x1234, 0x5678);
        let b0 = nix::net::if_::if_nametoindex("b0").expect("b0");
        let receiver = UdpSocket::bind("[::]:4242").expect("bound");
        receiver.join_multicast_v6(&group, b0).expect("joined");
        receiver
            .set_read_timeout(Some(Duration::from_secs(5)))
            .expect("a timeout");

        let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xa);
        let mut packet = vec![0; 40 + 8 + 4];
        ipv6::header(&mut packet, source, group, 17, 1, 12).expect("a header");
        packet[40..48].copy_from_slice(&[0x10, 0x92, 0x10, 0x92, 0, 12, 0, 0]);
        packet[48..].copy_from_slice(b"core");
        let sum = checksum::transport(&source.octets(), &group.octets(), 17, &packet[40..]);
        packet[46..48].copy_from_slice(&sum.to_ne_bytes());

        let mut second = packet.clone();
        second[48..].copy_from_slice(b"reco"); // The same sum.
        let outgoing = [
            (Some(a0), packet.clone()),
            (Some(a0), packet[..30].to_vec()),
            (Some(9999), packet),
            (Some(a0), second),
        ];
        let mut failed = Vec::new();
        let mut sender = Sender::new().expect("a sender");
        sender.send_all(&outgoing, |(ifindex, packet), error| {
            failed.push((*ifindex, packet.len(), error.raw_os_error().is_some()));
        });
        assert_eq!(
            failed,
            [(Some(a0), 30, true), (Some(9999), 52, true)],
            "those without a destination and without an interface"
        );
        for expected in [b"core", b"reco"] {
            let mut octets = [0; 16];
            let (length, from) = receiver.recv_from(&mut octets).expect("received");
            assert_eq!(&octets[..length], expected);
            assert_eq!(from.ip(), SocketAddr::from((source, 0)).ip());
        }
    });
}

#[test]
fn groups_are_joined_once_and_left() {
    in_namespace(async || {
        let a0 = pair();
        let group = ipv6::solicited_node(B);
        let joined = || ip("-6 maddress show dev a0").contains(&group.to_string());
        let mut groups = Groups::new().expect("a socket");
        assert!(!joined());
        groups.join(a0, group).expect("joined");
        groups.join(a0, group).expect("idempotent");
        assert!(joined());
        groups.leave(a0, group).expect("left");
        groups.leave(a0, group).expect("idempotent");
        assert!(!joined());

        // An interface that is gone takes its memberships along; its number may come back.
        assert!(groups.join(9999, group).is_err());
        groups.forget(9999);
        groups.retry();
    });
}
