//! Routes follow the core, and those of others stay.

use super::*;

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
