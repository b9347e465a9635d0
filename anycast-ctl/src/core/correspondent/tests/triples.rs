//! Several members are bound to one (A, B): which of them steers, and what ends which.

use super::*;

/// What new flows go to from now on, if that changed: a care-of address and until when, or nothing.
fn steers(output: &Output) -> Vec<Option<(Ipv6Addr, Time)>> {
    let steers = |action: &Action| match action {
        Action::Map(MapAction::SetBinding {
            client: CLIENT,
            anycast: ANYCAST,
            care_of,
            expires,
        }) => Some(Some((*care_of, *expires))),
        Action::Map(MapAction::RemoveBinding {
            client: CLIENT,
            anycast: ANYCAST,
        }) => Some(None),
        _ => None,
    };
    output.actions.iter().filter_map(steers).collect()
}

fn moves(output: &Output) -> Vec<(Ipv6Addr, Ipv6Addr)> {
    let moved = |action: &Action| match action {
        Action::Notice(Notice::Binding {
            care_of,
            change: BindingChange::Moved,
            moved_from: Some(from),
            ..
        }) => Some((*from, *care_of)),
        _ => None,
    };
    output.actions.iter().filter_map(moved).collect()
}

fn bench() -> Bench {
    Bench::new(Settings {
        max_bindings: 20,
        max_per_prefix: 20,
        max_per_member: 20,
        max_care_of: 20,
        ..settings()
    })
}

fn views(bench: &Bench, now: Time) -> Vec<(Ipv6Addr, bool)> {
    let views = bench.correspondent.bindings(now);
    views
        .iter()
        .map(|view| (view.care_of, view.steers))
        .collect()
}

#[test]
fn the_one_that_was_there_first_steers_until_its_time_is_over() {
    let mut bench = bench();
    let first = bench.bind(at(10), CLIENT, OTHER_CARE_OF, 1);
    assert_eq!(steers(&first), [Some((OTHER_CARE_OF, at(26)))]);
    let second = bench.bind(at(15), CLIENT, CARE_OF, 1);
    assert_eq!(second.changes(), [BindingChange::Created]);
    assert_eq!(steers(&second), [], "the first steers on");
    assert_eq!(
        views(&bench, at(16)),
        [(CARE_OF, false), (OTHER_CARE_OF, true)]
    );
    assert_eq!(bench.correspondent.bound(), 2);

    let over = bench.poll(at(26));
    assert_eq!(
        over.changes(),
        [BindingChange::Expired, BindingChange::Moved]
    );
    assert_eq!(steers(&over), [Some((CARE_OF, at(31)))]);
    assert_eq!(moves(&over), [(OTHER_CARE_OF, CARE_OF)]);
    assert_eq!(views(&bench, at(26)), [(CARE_OF, true)]);
    let over = bench.poll(at(31));
    assert_eq!(steers(&over), [None]);
    assert_eq!(over.changes(), [BindingChange::Expired]);
}

#[test]
fn one_that_is_renewed_goes_to_the_end_of_the_row() {
    let mut bench = bench();
    bench.bind(at(10), CLIENT, CARE_OF, 1);
    bench.bind(at(12), CLIENT, OTHER_CARE_OF, 1);
    let renewed = bench.bind(at(20), CLIENT, CARE_OF, 2);
    assert_eq!(
        renewed.changes(),
        [BindingChange::Renewed, BindingChange::Moved]
    );
    assert_eq!(steers(&renewed), [Some((OTHER_CARE_OF, at(28)))]);
    assert_eq!(steers(&bench.poll(at(28))), [Some((CARE_OF, at(36)))]);
    // Alone it steers on.
    let renewed = bench.bind(at(30), CLIENT, CARE_OF, 3);
    assert_eq!(steers(&renewed), [Some((CARE_OF, at(46)))]);
}

#[test]
fn the_end_of_one_leaves_the_other() {
    for ends_first in [true, false] {
        let mut bench = bench();
        let one = bench.peer_at(at(10), CARE_OF);
        bench.update(at(10), &one, one.good(1));
        let other = bench.peer_at(at(11), OTHER_CARE_OF);
        bench.update(at(11), &other, other.good(1));
        let (gone, left) = if ends_first {
            (&one, &other)
        } else {
            (&other, &one)
        };
        let deleted = bench.update(at(12), gone, gone.deletion_named(2));
        assert_eq!(deleted.ack().status, 0);
        assert_eq!(deleted.changes()[0], BindingChange::Deleted);
        assert_eq!(!moves(&deleted).is_empty(), ends_first);
        assert_eq!(views(&bench, at(12)), [(left.care_of, true)]);
        // Recorded updates of the one that is gone do not bring it back.
        let ack = bench.update(at(13), gone, gone.good(1)).ack();
        assert_eq!((ack.status, ack.sequence), (135, 2));
        let barred = bench.update(at(13), gone, gone.good(3));
        assert_eq!(barred.refusals(), ["binding_update_barred"]);
    }
}

#[test]
fn a_deletion_that_names_nobody_ends_all_that_it_is_newer_than() {
    let mut bench = bench();
    let one = bench.peer_at(at(10), CARE_OF);
    bench.update(at(10), &one, one.good(10));
    let other = bench.peer_at(at(11), OTHER_CARE_OF);
    bench.update(at(11), &other, other.good(20));
    let old = bench.update(at(12), &one, one.deletion(10)).ack();
    assert_eq!(old.status, 135);
    let deletion = one.sealed(one.deletion(15));
    let deleted = bench.octets(at(12), &deletion);
    assert_eq!(
        deleted.changes(),
        [BindingChange::Deleted, BindingChange::Moved]
    );
    assert_eq!(views(&bench, at(12)), [(OTHER_CARE_OF, true)]);
    // The same again ends nothing, although a member has counted anew meanwhile.
    bench.poll(at(43));
    let again = bench.peer_of(at(43), CLIENT, ANYCAST, CARE_OF);
    bench.update(at(43), &again, again.good(16));
    let replayed = bench.octets(at(44), &deletion).ack();
    assert_eq!((replayed.status, replayed.sequence), (135, 15));
    let all = bench.update(at(44), &again, again.deletion(30));
    assert_eq!(all.changes(), [BindingChange::Deleted]);
    assert_eq!(bench.correspondent.bound(), 0);
}

#[test]
fn a_flush_ends_what_it_names() {
    let mut bench = bench();
    bench.bind(at(10), CLIENT, CARE_OF, 1);
    bench.bind(at(11), CLIENT, OTHER_CARE_OF, 1);
    let which = Selection {
        care_of: Some(CARE_OF),
        ..Selection::default()
    };
    let mut actions = Vec::new();
    assert_eq!(bench.correspondent.flush(at(12), &which, &mut actions), 1);
    let flushed = Output { actions };
    assert_eq!(steers(&flushed), [Some((OTHER_CARE_OF, at(27)))]);
    assert_eq!(views(&bench, at(12)), [(OTHER_CARE_OF, true)]);
}

#[test]
fn bindings_of_several_members_are_paged_one_by_one() {
    let mut bench = bench();
    let all: Vec<Ipv6Addr> = (1..=7)
        .map(|number| Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, number))
        .collect();
    for care_of in &all {
        bench.bind(at(10), CLIENT, *care_of, 1);
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let which = Selection::default();
        let page = bench.correspondent.bindings_page(at(11), &which, after, 3);
        seen.extend(page.0.iter().map(|view| view.care_of));
        after = page.1;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, all);
}
