//! Many routes.

use super::*;

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
