//! Neighbours and interfaces.

use netlink_packet_route::neighbour::NeighbourState;

use super::*;

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
        for (change, last) in [
            ("add fe80::11 lladdr 02:00:00:00:00:11", Some(0x11)),
            ("replace fe80::11 lladdr 02:00:00:00:00:12", Some(0x12)),
            ("del fe80::11", None),
        ] {
            ip(&format!("-6 neigh {change} dev a0"));
            let is_told = |event| {
                matches!(event, KernelEvent::Neighbour { address, mac, .. }
                    if address == Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x11) && mac == last.map(|last| [2, 0, 0, 0, 0, last]))
            };
            let told = async { while !is_told(netlink.next().await) {} };
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
        table.replace(netlink.links().expect("a dump"));
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
        table.replace(netlink.links().expect("a dump"));
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
fn a_port_is_told_as_one_when_it_becomes_one_and_no_longer_when_it_leaves() {
    in_namespace(async || {
        let a0 = pair();
        ip("link add br0 type bridge");
        let mut netlink = Netlink::open().expect("netlink");
        let mut table = LinkTable::new([]);
        table.replace(netlink.links().expect("a dump"));
        assert_eq!(table.port_of(a0), None);
        for (change, expected) in [("master br0", Some("bridge")), ("nomaster", None)] {
            ip(&format!("link set a0 {change}"));
            let told = async {
                while table.port_of(a0) != expected {
                    if let KernelEvent::Change(change) = netlink.next().await {
                        table.apply(change);
                    }
                }
            };
            let result = tokio::time::timeout(Duration::from_secs(10), told).await;
            assert!(result.is_ok(), "{change}");
            table.replace(netlink.links().expect("a dump"));
            assert_eq!(table.port_of(a0), expected, "a dump says the same");
        }
    });
}

#[test]
fn the_way_to_an_address_is_what_the_kernel_says_of_it() {
    in_namespace(async || {
        pair();
        let mut kernel = Requests::open().expect("a socket");
        let to: Ipv6Addr = "2001:db8:7::1".parse().expect("an address");
        assert_eq!(way::to(&mut kernel, to), None);
        ip("link set a0 mtu 1400");
        ip("-6 route add 2001:db8:7::/64 via fe80::b dev a0");
        let by = |next_hop| way::Way {
            interface: "a0".to_owned(),
            next_hop,
            mtu: Some(1400),
            neighbour: None,
        };
        let next_hop = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xb);
        assert_eq!(way::to(&mut kernel, to), Some(by(Some(next_hop))));
        ip("-6 route replace 2001:db8:7::/64 dev a0");
        assert_eq!(way::to(&mut kernel, to), Some(by(None)));
        // What is known of the path, and of the neighbour.
        ip("-6 route replace 2001:db8:7::/64 via fe80::b dev a0 mtu 1300");
        ip("-6 neighbour replace fe80::b dev a0 lladdr 02:00:00:00:00:0b nud permanent");
        let found = way::to(&mut kernel, to).expect("a way");
        assert_eq!(found.mtu, Some(1300));
        let at = Some(vec![2, 0, 0, 0, 0, 0xb]);
        assert_eq!(found.neighbour, Some((NeighbourState::Permanent, at)));
    });
}
