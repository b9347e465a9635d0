//! What the programs are told of rules and routes.

use super::*;
use crate::shell::{netlink::are_plain, plain_routes::PlainRoutes};

/// Whether the routes and rules are plain, as they are read.
fn read() -> bool {
    let mut requests = Requests::open().expect("a socket");
    are_plain(&mut requests).expect("the kernel tells")
}

/// What makes it so that more than the destination of a packet decides its next hop, and what ends it.
const ODD: [[&str; 2]; 6] = [
    [
        "-6 route add 2001:db8:20::/64 nexthop via fe80::11 dev a0 nexthop via fe80::12 dev a0",
        "-6 route del 2001:db8:20::/64",
    ],
    [
        "-6 route add unreachable 2001:db8:20::/64 from 2001:db8:1::/64",
        "-6 route del unreachable 2001:db8:20::/64 from 2001:db8:1::/64",
    ],
    [
        "-6 route add 2001:db8:20::/64 nhid 9",
        "-6 route del 2001:db8:20::/64",
    ],
    [
        "-6 rule add from 2001:db8:1::/64 lookup 77",
        "-6 rule del from 2001:db8:1::/64 lookup 77",
    ],
    [
        "-6 rule add dport 80 ipproto tcp lookup 77",
        "-6 rule del dport 80 ipproto tcp lookup 77",
    ],
    [
        "-6 rule add dsfield 0x10 lookup 77",
        "-6 rule del dsfield 0x10 lookup 77",
    ],
];

/// What changes nothing about it.
const PLAIN_LINES: [&str; 5] = [
    "-6 route add 2001:db8:30::/64 via fe80::11 dev a0",
    "-6 route add 2001:db8:31::/64 nhid 7",
    "-6 route add blackhole 2001:db8:32::/64 table 77",
    "-6 rule add to 2001:db8:30::/64 iif lo lookup 77",
    "-6 rule add fwmark 7 lookup 77",
];

fn set_up() {
    pair();
    for line in [
        "nexthop add id 7 via fe80::11 dev a0",
        "nexthop add id 8 via fe80::12 dev a0",
        "nexthop add id 9 group 7/8",
    ] {
        ip(line);
    }
}

#[test]
fn rules_and_routes_are_plain_until_more_than_the_destination_decides() {
    in_namespace(async || {
        set_up();
        assert!(read());
        for line in PLAIN_LINES {
            ip(line);
            assert!(read(), "{line}");
        }
        for [adds, ends] in ODD {
            ip(adds);
            assert!(!read(), "{adds}");
            ip(ends);
            assert!(read(), "{ends}");
        }
    });
}

/// Until what has been read is there.
fn looked(plain: &mut PlainRoutes, now: std::time::Instant) -> bool {
    plain.look(now);
    let (limit, again) = (Duration::from_secs(10), Duration::from_millis(1));
    xtask::net::wait::poll(limit, again, "the routes are read", || {
        Ok((!plain.is_reading()).then_some(()))
    })
    .expect("the routes are read");
    plain.look(now)
}

#[test]
fn what_is_told_of_them_ends_it_at_once() {
    in_namespace(async || {
        set_up();
        for [adds, ends] in ODD {
            let mut now = std::time::Instant::now();
            let mut netlink = Netlink::open().expect("netlink");
            let mut plain = PlainRoutes::default();
            assert!(looked(&mut plain, now));
            // A route that changes nothing about it is told first.
            ip("-6 route add 2001:db8:33::/64 via fe80::11 dev a0");
            ip(adds);
            let mut ended = false;
            let until = tokio::time::Instant::now() + Duration::from_secs(10);
            while !ended {
                let event = tokio::time::timeout_at(until, netlink.next()).await;
                let event = event.unwrap_or_else(|_| panic!("{adds}: it was not told"));
                ended = plain.notified(&event);
                if let KernelEvent::Route(news) = &event {
                    assert_eq!(ended, !news.is_plain);
                }
            }
            assert!(!looked(&mut plain, now), "{adds}: not read again so soon");
            now += Duration::from_secs(60);
            assert!(!looked(&mut plain, now), "{adds}: it is read again");
            ip(ends);
            ip("-6 route del 2001:db8:33::/64");
            while let Ok(event) =
                tokio::time::timeout(Duration::from_millis(200), netlink.next()).await
            {
                plain.notified(&event);
            }
            now += Duration::from_secs(60);
            assert!(looked(&mut plain, now), "{ends}");
        }
    });
}
