//! The shell against a real kernel, each test in a network namespace of its own.

use std::{
    net::{Ipv6Addr, SocketAddr, UdpSocket},
    process::Command,
    time::Duration,
};

use anycast_common::wire::{checksum, ipv6};
use nix::sched::{CloneFlags, unshare};

use super::{
    netlink::{KernelEvent, LinkInput, LinkTable, Netlink, RoutePlace},
    routes::Routes,
    sockets::{Groups, Sender},
};
use crate::core::NextHop;

const PLACE: RoutePlace = RoutePlace {
    table: 254,
    metric: 512,
    protocol: 172,
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

/// Reconciles whenever it is due, for a while.
async fn settle(routes: &mut Routes, netlink: &mut Netlink) {
    let end = tokio::time::Instant::now() + Duration::from_millis(400);
    loop {
        let due = routes.due().into();
        tokio::select! {
            () = tokio::time::sleep_until(end) => return,
            () = tokio::time::sleep_until(due) => routes.reconcile(netlink).await,
            event = netlink.next() => {
                if let KernelEvent::Route(destination) = event {
                    routes.notified(destination);
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
        let mut routes = Routes::new(PLACE, Duration::ZERO);

        routes.set(&netlink, B, vec![hop(0x11, a0)]).await;
        let one = route();
        assert!(
            one.contains("via fe80::11 dev a0 proto 172 metric 512"),
            "{one}"
        );
        routes
            .set(&netlink, B, vec![hop(0x11, a0), hop(0x12, a0)])
            .await;
        let two = route();
        assert!(two.contains("nexthop via fe80::11 dev a0"), "{two}");
        assert!(two.contains("nexthop via fe80::12 dev a0"), "{two}");
        let on_link = NextHop {
            via: None,
            ifindex: a0,
        };
        routes.set(&netlink, B, vec![on_link]).await;
        assert!(route().contains("dev a0 proto 172"), "{}", route());
        assert!(!route().contains("via"), "{}", route());
        routes.set(&netlink, B, vec![hop(0x12, a0)]).await;
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

        routes.remove(&netlink, B).await;
        assert_eq!(route(), "");
        // Twice does no harm.
        routes.remove(&netlink, B).await;
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
        let mut routes = Routes::new(PLACE, Duration::ZERO);
        routes.set(&netlink, B, vec![hop(0x11, a0)]).await;
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

        routes.withdraw(&netlink).await;
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
        let mut routes = Routes::new(PLACE, Duration::from_millis(300));
        routes.reconcile(&netlink).await;
        assert!(
            ip("-6 route show proto 172").lines().count() == 2,
            "both stay at first"
        );
        routes.set(&netlink, B, vec![hop(0x11, a0)]).await;
        settle(&mut routes, &mut netlink).await;
        let left = ip("-6 route show proto 172");
        assert_eq!(left.lines().count(), 1, "{left}");
        assert!(left.contains("2001:db8:a::53"), "{left}");
    });
}

#[test]
fn a_table_of_its_own_works() {
    in_namespace(async || {
        let a0 = pair();
        let netlink = Netlink::open().expect("netlink");
        let place = RoutePlace {
            table: 10_000,
            ..PLACE
        };
        let mut routes = Routes::new(place, Duration::ZERO);
        assert_eq!(netlink.routes(place).await.expect("no such table yet"), []);
        routes.set(&netlink, B, vec![hop(0x11, a0)]).await;
        assert_eq!(netlink.routes(place).await.expect("a table").len(), 1);
        assert_eq!(netlink.routes(PLACE).await.expect("main").len(), 0);
        routes.withdraw(&netlink).await;
        assert_eq!(netlink.routes(place).await.expect("a table"), []);
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

        let sender = Sender::new().expect("a sender");
        sender.send(Some(a0), &packet).expect("sent");
        let mut octets = [0; 16];
        let (length, from) = receiver.recv_from(&mut octets).expect("received");
        assert_eq!(&octets[..length], b"core");
        assert_eq!(from.ip(), SocketAddr::from((source, 0)).ip());

        assert!(
            sender.send(Some(a0), &packet[..30]).is_err(),
            "no destination"
        );
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
