//! Addresses that the daemon assigns, and whose packets it sends on.

use std::{collections::BTreeSet, time::Instant};

use super::*;
use crate::{
    model::address::Assigned,
    shell::addresses::{AGAIN, Addresses},
};

/// Whether packets of others to B are routed, by the route that keeps those of this machine.
fn is_sent_on() -> bool {
    let all = ip("-6 route show table all");
    let kept = |line: &str| line.contains(&B.to_string()) && line.contains("table 172");
    all.lines().any(kept)
}

#[test]
fn what_fails_is_tried_again_and_not_at_once() {
    in_namespace(async || {
        pair();
        let mut netlink = Netlink::open().expect("netlink");
        let mut links = LinkTable::new(["a0".to_owned()]);
        links.replace(netlink.links().expect("the links"));
        let mut addresses = Addresses::new(vec![Assigned {
            address: B,
            interface: "a0".to_owned(),
            detect_duplicates: false,
        }]);
        let mut now = Instant::now();
        assert_eq!(addresses.due(), None);
        addresses.reconcile(&mut netlink, &links, now);
        assert!(ip("address show dev a0").contains(&B.to_string()));
        assert_eq!(addresses.due(), None, "all is done");

        // There is no route by an interface that is down, and the kernel says so.
        ip("link set a0 down");
        addresses.send_on(BTreeSet::from([B]));
        addresses.reconcile(&mut netlink, &links, now);
        let mut waits = Vec::new();
        for _ in 0..12 {
            let due = addresses.due().expect("it is tried again");
            waits.push((due - now).as_millis());
            // Whatever happens meanwhile, and although it is news.
            addresses.notified();
            addresses.notified();
            let due = due.min(addresses.due().expect("it is tried again"));
            assert!(due >= now + AGAIN, "{waits:?}");
            addresses.reconcile(&mut netlink, &links, now + AGAIN / 2);
            now = due;
            addresses.reconcile(&mut netlink, &links, now);
        }
        println!("{waits:?} ms");
        assert!(!is_sent_on());
        ip("link set a0 up");
        addresses.notified();
        let due = addresses.due().expect("it is tried again");
        assert!(due <= now + AGAIN, "what is news is not left for long");
        addresses.reconcile(&mut netlink, &links, due);
        assert!(is_sent_on());
        assert_eq!(addresses.due(), None);
    });
}
