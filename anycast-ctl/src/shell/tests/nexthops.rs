//! Resilient groups, and what is done without them.

use super::*;

/// What is there of next-hop objects, by `ip`.
fn objects(filter: &str) -> Vec<String> {
    let all = ip("nexthop show");
    let wanted = all.lines().filter(|line| line.contains(filter));
    wanted.map(str::to_owned).collect()
}

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
