//! How much one table holds, and who may take how much of it.

use super::*;

fn client(network: u16, number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xa, network, 0, 0, 0, number)
}

fn care_of(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, number)
}

fn room(max_bindings: usize) -> Settings {
    Settings {
        max_bindings,
        max_per_prefix: max_bindings,
        max_per_member: max_bindings,
        max_care_of: max_bindings,
        ..settings()
    }
}

#[test]
fn a_full_table_refuses_with_130() {
    for flags in [Flags::ACKNOWLEDGE | Flags::EQUIVALENT, Flags::EQUIVALENT] {
        let mut bench = Bench::new(room(0));
        let peer = bench.peer(at(10));
        let update = BindingUpdate {
            flags,
            ..peer.good(77)
        };
        let output = bench.update(at(11), &peer, update);
        assert_eq!(output.ack().status, 130);
        assert_eq!(output.data_plane(), []);
        assert_eq!(output.refusals(), ["binding_table_full"]);
        let octets = output.packets().next().unwrap();
        let packet = ipv6::Packet::parse(octets).unwrap();
        assert!(rr::verify(&peer.binding_key(), CARE_OF, CLIENT, &packet));
    }
}

#[test]
fn a_full_table_still_renews() {
    let mut bench = Bench::new(room(1));
    let peer = bench.peer(at(10));
    assert_eq!(bench.update(at(11), &peer, peer.good(77)).ack().status, 0);
    assert_eq!(bench.update(at(12), &peer, peer.good(78)).ack().status, 0);
    let full = bench.bind(at(13), CLIENT, OTHER_CARE_OF, 1);
    assert_eq!(full.refusals(), ["binding_table_full"]);
}

#[test]
fn what_has_expired_gives_way_to_what_is_live() {
    let mut bench = Bench::new(room(1));
    bench.bind(at(0), CLIENT, CARE_OF, 1);
    bench.poll(at(16));
    // The pair (A, C) is in the data plane until a sweep says that no flow uses it, which is wanted now.
    let full = bench.bind(at(16), client(0, 2), CARE_OF, 1);
    assert_eq!(full.refusals(), ["binding_table_full"]);
    let mut actions = Vec::new();
    bench
        .correspondent
        .flows(at(17), at(17), &Arc::default(), &mut actions);
    // All the numbers of before are known still.
    let bound = bench.bind(at(17), client(0, 2), CARE_OF, 2);
    assert_eq!(bound.changes(), [BindingChange::Created]);
    assert_eq!(bench.correspondent.sequences.len(), 2);
}

#[test]
fn a_crowd_that_does_not_exist_keeps_nobody_from_binding() {
    // 24 handshakes a second of forged clients of all networks, by one member, for five minutes: fifteen times
    // as many as the table holds, and live ones up to the member's share.
    let mut bench = Bench::new(Settings {
        max_bindings: 480,
        max_per_prefix: 120,
        max_per_member: 360,
        max_care_of: 1000,
        ..settings()
    });
    let mut forged = 0u16;
    for second in 1..=300 {
        bench.poll(at(second));
        if second % 10 == 0 {
            let mut actions = Vec::new();
            bench
                .correspondent
                .flows(at(second), at(second), &Arc::default(), &mut actions);
        }
        for _ in 0..24 {
            forged += 1;
            bench.bind(at(second), client(forged, 1), CARE_OF, 1);
        }
        if second % 50 == 0 {
            let real = client(9, 9999);
            let sequence = u16::try_from(second).unwrap();
            let bound = bench.bind(at(second), real, OTHER_CARE_OF, sequence);
            assert_eq!(bound.changes(), [BindingChange::Created], "{second}");
        }
    }
    assert!(
        bench.count(Counter::BindingMemberFull) > 0,
        "its share was full"
    );
    assert_eq!(bench.count(Counter::BindingTableFull), 0);
    assert!(bench.correspondent.bound() <= 361);
}

#[test]
fn the_clients_of_one_network_leave_room_for_others() {
    let mut bench = Bench::new(Settings {
        max_per_prefix: 2,
        ..room(4)
    });
    for number in 1..=2 {
        let bound = bench.bind(at(1), client(7, number), CARE_OF, 1);
        assert_eq!(bound.changes(), [BindingChange::Created]);
    }
    let full = bench.bind(at(2), client(7, 3), CARE_OF, 1);
    assert_eq!(full.refusals(), ["binding_prefix_full"]);
    assert!(matches!(
        full.messages()[..],
        [(.., Message::BindingAck(BindingAck { status: 130, .. }))]
    ));
    let renewed = bench.bind(at(2), client(7, 1), CARE_OF, 2);
    assert_eq!(renewed.changes(), [BindingChange::Renewed]);
    let other = bench.bind(at(2), client(8, 1), CARE_OF, 1);
    assert_eq!(other.changes(), [BindingChange::Created]);
    bench.poll(at(17));
    let again = bench.bind(at(17), client(7, 3), CARE_OF, 2);
    assert_eq!(again.changes(), [BindingChange::Created]);
}

#[test]
fn one_member_leaves_room_for_others() {
    let mut bench = Bench::new(Settings {
        max_per_member: 2,
        ..room(4)
    });
    for number in 1..=2 {
        bench.bind(at(1), client(number, 1), CARE_OF, 1);
    }
    let full = bench.bind(at(2), client(3, 1), CARE_OF, 1);
    assert_eq!(full.refusals(), ["binding_member_full"]);
    let other = bench.bind(at(2), client(3, 1), OTHER_CARE_OF, 1);
    assert_eq!(other.changes(), [BindingChange::Created]);
}

#[test]
fn eight_members_may_be_bound_to_one_pair() {
    let mut bench = Bench::new(room(100));
    for number in 1..=8 {
        let bound = bench.bind(at(1), CLIENT, care_of(number), 1);
        assert_eq!(bound.changes(), [BindingChange::Created]);
    }
    let ninth = bench.bind(at(2), CLIENT, care_of(9), 1);
    assert_eq!(ninth.refusals(), ["binding_pair_full"]);
    assert!(matches!(
        ninth.messages()[..],
        [(.., Message::BindingAck(BindingAck { status: 130, .. }))]
    ));
    let renewed = bench.bind(at(2), CLIENT, care_of(8), 2);
    assert_eq!(renewed.changes()[0], BindingChange::Renewed);
    let other = bench.bind(at(2), client(0, 2), care_of(9), 1);
    assert_eq!(other.changes(), [BindingChange::Created]);
    bench.poll(at(17));
    let ninth = bench.bind(at(17), CLIENT, care_of(9), 2);
    assert_eq!(ninth.changes(), [BindingChange::Created]);
}
