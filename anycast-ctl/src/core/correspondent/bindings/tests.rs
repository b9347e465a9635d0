//! The table of bindings against an ordered map.

use proptest::prelude::*;

use super::{
    super::{live::Live, origin::Origin},
    *,
};
use crate::core::Time;

fn triple(client: u16, anycast: u16, care_of: u16) -> Triple {
    let [client, anycast, care_of] =
        [client, anycast, care_of].map(|last| Ipv6Addr::from_bits(u128::from(last)));
    Triple {
        client,
        anycast,
        care_of,
    }
}

fn entry(sequence: u16) -> Entry {
    Entry::of(Live {
        since: Time::ZERO,
        expires: Time::ZERO,
        sequence,
        nonces: Time::ZERO,
        origin: Origin::Own,
    })
}

fn sequences<'a>(
    all: impl Iterator<Item = (Triple, &'a Entry)>,
) -> impl Iterator<Item = (Triple, u16)> {
    all.map(|(triple, entry)| (triple, entry.live.sequence))
}

#[derive(Clone, Debug)]
enum Step {
    Put(Triple, u16),
    Remove(Triple),
    GiveBack,
    Reserve(usize),
}

fn any_triple() -> impl Strategy<Value = Triple> {
    (0_u16..3, 0_u16..2, 0_u16..10).prop_map(|(a, b, c)| triple(a, b, c))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (any_triple(), any::<u16>()).prop_map(|(triple, sequence)| Step::Put(triple, sequence)),
        6 => any_triple().prop_map(Step::Remove),
        1 => Just(Step::GiveBack),
        1 => (0_usize..100).prop_map(Step::Reserve),
    ]
}

proptest! {
    #[test]
    fn it_is_an_ordered_map_of_triples(steps in prop::collection::vec(step(), 0..200), from in any_triple()) {
        let (mut table, mut map) = (Bindings::default(), BTreeMap::new());
        for step in steps {
            match step {
                Step::Put(triple, sequence) => {
                    match table.get_mut(triple) {
                        Some(known) => known.live.sequence = sequence,
                        None => table.insert(triple, entry(sequence)),
                    }
                    map.insert(triple, sequence);
                }
                Step::Remove(triple) => {
                    let gone = table.remove(triple).map(|entry| entry.live.sequence);
                    prop_assert_eq!(gone, map.remove(&triple));
                }
                Step::GiveBack => table.give_back(),
                Step::Reserve(number) => table.reserve(number),
            }
            prop_assert_eq!(table.len(), map.len());
            prop_assert_eq!(table.last(), map.last_key_value().map(|(triple, _)| triple.pair()));
            for bound in [Bound::Unbounded, Bound::Included(from), Bound::Excluded(from)] {
                let expected = map.range((bound, Bound::Unbounded));
                prop_assert!(sequences(table.from(bound)).eq(expected.map(|(triple, sequence)| (*triple, *sequence))));
            }
            let of_pair = map.iter().filter(|(triple, _)| triple.pair() == from.pair());
            let of_pair: Vec<_> = of_pair.map(|(triple, sequence)| (*triple, *sequence)).collect();
            prop_assert!(sequences(table.of(from.pair())).eq(of_pair.iter().copied()));
            let mut same = table.of_mut(from.pair());
            prop_assert!(sequences(same.all()).eq(of_pair.iter().copied()));
            let known = same.get_mut(from.care_of).map(|entry| entry.live.sequence);
            prop_assert_eq!(known, map.get(&from).copied());
            prop_assert_eq!(table.get(from).map(|entry| entry.live.sequence), known);
        }
    }
}

#[test]
fn its_room_is_free_again_after_a_flood() {
    let mut table = Bindings::default();
    let all = || (0..50_000_u16).map(|client| triple(client, client % 3, client % 5));
    for triple in all() {
        table.insert(triple, entry(1));
    }
    for triple in all().skip(10) {
        assert!(table.remove(triple).is_some());
    }
    let room = (table.places.capacity(), table.first.capacity());
    assert!(room.0 <= 8 * ROOM && room.1 <= 8 * ROOM, "{room:?}");
    assert!(
        table
            .from(Bound::Unbounded)
            .map(|(triple, _)| triple)
            .eq(all().take(10))
    );
    assert!(all().take(10).all(|triple| table.get(triple).is_some()));
}
