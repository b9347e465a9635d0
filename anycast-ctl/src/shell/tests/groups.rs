//! Multicast groups.

use std::fs;

use anycast_common::wire::ipv6;

use super::*;

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
        assert_eq!(groups.missing(), 1);
        groups.leave_all(9999);
        groups.retry();
        assert_eq!((groups.missing(), groups.error()), (0, None));
        groups.join(a0, group).expect("joined");
        ip("link del a0");
        groups.leave_all(a0);
        ip(&format!("link add a0 index {a0} type veth peer name b0"));
        ip("link set a0 up");
        groups.join(a0, group).expect("joined");
        assert!(joined(), "another interface of the same number");
    });
}

#[test]
fn more_groups_than_one_socket_takes() {
    const GROUPS: u32 = 2400;
    const OPTMEM: &str = "/proc/sys/net/core/optmem_max";
    in_namespace(async || {
        let a0 = pair();
        // Before Linux 6.8 it is the whole machine's, and not to be changed here.
        let limited = fs::write(OPTMEM, "20480").is_ok();
        let listed = || {
            let table = fs::read_to_string("/proc/thread-self/net/igmp6").expect("a table");
            table.matches("ff0500000000000000000000").count()
        };
        let group = |number: u32| Ipv6Addr::from_bits((0xff05 << 112) | u128::from(number + 1));
        let mut groups = Groups::new().expect("a socket");
        for number in 0..GROUPS {
            groups.join(a0, group(number)).expect("joined");
        }
        assert_eq!(listed(), 2400);
        // Room that becomes free is used again.
        for number in 0..GROUPS {
            groups.leave(a0, group(number)).expect("left");
        }
        assert_eq!(listed(), 0);
        for number in 0..GROUPS {
            groups.join(a0, group(number)).expect("joined again");
        }
        assert_eq!(
            (listed(), groups.missing(), groups.error()),
            (2400, 0, None)
        );

        // Where there is no room at all, that is told once, and tried again.
        if limited {
            fs::write(OPTMEM, "0").expect("written");
            for number in 0..10 {
                groups.apply(GroupAction::Join {
                    ifindex: a0,
                    group: group(GROUPS + number),
                });
            }
            groups.retry();
            assert_eq!((listed(), groups.missing()), (2400, 10));
            assert!(groups.error().is_some());
            fs::write(OPTMEM, "20480").expect("written");
            groups.retry();
            assert_eq!(
                (listed(), groups.missing(), groups.error()),
                (2410, 0, None)
            );
        }
        groups.leave_all(a0);
        assert_eq!(listed(), 0);
    });
}

#[test]
fn a_router_accepts_all_multicasts_until_it_ends() {
    in_namespace(async || {
        let a0 = pair();
        let all = || ip("-d link show dev a0").contains(" allmulti 1 ");
        let mut groups = Groups::new().expect("a socket");
        groups.join(a0, ipv6::solicited_node(B)).expect("joined");
        assert!(!all());
        for _ in 0..2 {
            groups.begin_router(a0, "a0");
            groups.begin_router(a0, "a0");
            assert!(all());
            groups.end_router(a0);
            assert!(!all());
        }
        groups.begin_router(a0, "a0");
        assert_eq!(groups.not_all().count(), 0);
        groups.leave_all(a0);
        assert!(!all());
        groups.begin_router(a0, "a0");
        drop(groups);
        assert!(!all());

        let mut groups = Groups::new().expect("a socket");
        groups.begin_router(9999, "gone0");
        let refused: Vec<_> = groups.not_all().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(refused, ["gone0"]);
        groups.retry();
        groups.leave_all(9999);
        assert_eq!(groups.not_all().count(), 0);
    });
}
