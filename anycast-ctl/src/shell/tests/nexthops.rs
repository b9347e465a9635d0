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

#[test]
fn an_object_that_goes_or_changes_is_told() {
    in_namespace(async || {
        let a0 = pair();
        let mut netlink = Netlink::open().expect("netlink");
        let mut routes = routes_of(RESILIENT, Duration::ZERO);
        routes.set(B, vec![hop(0x11, a0), hop(0x12, a0)]);
        routes.flush();
        // The route names its group, and the group its members.
        let hops = || {
            let route = route();
            let mut id = route.split_whitespace().skip_while(|word| *word != "nhid");
            let id = id.nth(1).unwrap_or("-");
            let group = objects(&format!("id {id} group"));
            let all = objects("via ");
            let of = |via: &str| {
                let hop = all.iter().find(|object| object.contains(via));
                let number = hop.and_then(|hop| hop.split_whitespace().nth(1));
                number.is_some_and(|number| group.iter().any(|group| group.contains(number)))
            };
            ["fe80::11", "fe80::12", "fe80::99"].map(of)
        };
        assert_eq!((hops(), objects("").len()), ([true, true, false], 3));
        let quiet = routes.due();
        settle(&mut routes, &mut netlink).await;
        assert_eq!(routes.due(), quiet, "our own changes are no news");
        // Objects of others are none either.
        ip("nexthop add id 7 via fe80::11 dev a0 proto bird");
        ip("nexthop del id 7");
        settle(&mut routes, &mut netlink).await;
        assert_eq!(routes.due(), quiet);
        let first = || {
            let all = objects("via ");
            all[0]
                .split_whitespace()
                .nth(1)
                .expect("a number")
                .to_owned()
        };
        // With 0 the kernel tells of objects alone, and not of the routes that go with them.
        for compat in ["0", "1"] {
            let file = "/proc/sys/net/ipv4/nexthop_compat_mode";
            std::fs::write(file, compat).expect("a setting of this kernel");
            for change in [
                "nexthop flush proto 172".to_owned(),
                format!(
                    "nexthop replace id {} via fe80::99 dev a0 proto 172",
                    first()
                ),
                "nexthop add id 77 via fe80::77 dev a0 proto 172".to_owned(),
            ] {
                ip(&change);
                settle(&mut routes, &mut netlink).await;
                let left = objects("");
                assert_eq!(
                    (hops(), left.len()),
                    ([true, true, false], 3),
                    "{change}: {left:?}"
                );
            }
        }
    });
}
