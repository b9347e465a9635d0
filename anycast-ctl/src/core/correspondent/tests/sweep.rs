//! Pairs (A, C) stand while a binding or a pinned flow uses them.

use super::*;

fn removed(care_of: Ipv6Addr) -> Action {
    Action::Map(MapAction::RemoveCareOf {
        client: CLIENT,
        care_of,
    })
}

impl Bench {
    fn sweep(&mut self, now: Time, pinned: &[(Ipv6Addr, Ipv6Addr)]) -> Actions {
        let mut actions = Vec::new();
        let pinned = pinned.iter().map(|pair| (*pair, Use::default())).collect();
        self.correspondent.used(now, pinned, &mut actions);
        actions
    }
}

#[test]
fn a_pair_outlives_its_binding_while_flows_are_pinned_to_it() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(10));
    bench.update(at(10), &peer, peer.good(77));
    assert_eq!(bench.sweep(at(20), &[]), [], "the binding uses it");
    bench.poll(at(26));
    assert_eq!(bench.sweep(at(26), &[]), [], "a flow may just be pinned");
    assert_eq!(bench.sweep(at(1000), &[(CLIENT, CARE_OF)]), []);
    assert_eq!(bench.sweep(at(1001), &[]), [removed(CARE_OF)]);
    assert_eq!(bench.sweep(at(1002), &[]), []);
}

#[test]
fn a_renewed_binding_keeps_its_pair() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(10));
    bench.update(at(10), &peer, peer.good(77));
    bench.update(at(20), &peer, peer.good(78));
    assert_eq!(bench.sweep(at(35), &[]), []);
    bench.poll(at(36));
    assert_eq!(bench.sweep(at(37), &[]), [removed(CARE_OF)]);
}

#[test]
fn a_deletion_frees_its_pair() {
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(10));
    bench.update(at(10), &peer, peer.good(77));
    bench.update(at(11), &peer, peer.deletion(78));
    assert_eq!(bench.sweep(at(11), &[]), []);
    assert_eq!(bench.sweep(at(12), &[]), [removed(CARE_OF)]);
}

#[test]
fn a_pair_is_not_taken_over_by_another_anycast_address() {
    // Flows pinned to the first would see packets of a stranger.
    let second: Ipv6Addr = "2001:db8:b::2".parse().unwrap();
    let mut bench = Bench::new(settings());
    let peer = bench.peer(at(10));
    bench.update(at(10), &peer, peer.good(77));

    let peer = bench.peer_of(at(11), CLIENT, second, CARE_OF);
    let output = bench.update(at(11), &peer, peer.good(1));
    assert_eq!(output.refusals(), ["binding_update_care_of_taken"]);
    let messages = output.messages();
    assert!(matches!(
        messages.as_slice(),
        [(CLIENT, to, Message::BindingAck(BindingAck { status: 129, .. }))] if *to == second
    ));
    // When nothing uses it any more, it can be.
    bench.poll(at(26));
    bench.sweep(at(27), &[]);
    assert_eq!(
        bench.update(at(27), &peer, peer.good(2)).changes(),
        [BindingChange::Created]
    );
}
