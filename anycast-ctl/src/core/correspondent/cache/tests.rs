//! The Binding Cache against a plain list of what is bound until when.

use std::{collections::BTreeMap, ops::Bound::Unbounded};

use proptest::prelude::*;

use super::*;

const ROOM: Room = Room {
    bindings: 200_000,
    per_prefix: 200_000,
    per_member: 200_000,
    care_of: 200_000,
};

fn triple(client: u16, anycast: u16, care_of: u16) -> Triple {
    Triple {
        client: Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, client),
        anycast: Ipv6Addr::new(0x2001, 0xdb8, 0xb, 0, 0, 0, 0, anycast),
        care_of: Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, care_of),
    }
}

fn until(expires: Time) -> Live {
    Live {
        since: Time::ZERO,
        expires,
        sequence: 1,
        nonces: Time::ZERO,
        origin: Origin::Own,
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Makes or renews a binding for so many seconds.
    Put(Triple, u64),
    Unbind(Triple),
    /// Keeps a pair (A, C) for flows that are bound elsewhere, or of an earlier run.
    Keep(Triple, bool),
    /// Removes pairs, of which flows use these.
    Sweep(Vec<Triple>),
    /// Lets so many seconds pass, and ends what is over.
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let triple = || (0_u16..4, 0_u16..2, 0_u16..3).prop_map(|(a, b, c)| triple(a, b, c));
    prop_oneof![
        4 => (triple(), 1_u64..20).prop_map(|(triple, seconds)| Step::Put(triple, seconds)),
        1 => triple().prop_map(Step::Unbind),
        1 => (triple(), any::<bool>()).prop_map(|(triple, earlier)| Step::Keep(triple, earlier)),
        1 => prop::collection::vec(triple(), 0..4).prop_map(Step::Sweep),
        2 => (0_u64..10).prop_map(Step::Pass),
    ]
}

/// What steers the new flows of a pair, and until when.
fn steering(list: &BTreeMap<Triple, Time>, pair: Pair) -> Option<(Time, Triple)> {
    let of_pair = list.iter().filter(|(triple, _)| triple.pair() == pair);
    of_pair.map(|(triple, expires)| (*expires, *triple)).min()
}

proptest! {
    #[test]
    fn what_is_bound_ends_when_it_expires(steps in prop::collection::vec(step(), 0..200)) {
        let (mut cache, mut list) = (Cache::new(ROOM), BTreeMap::new());
        let mut now = Time::ZERO;
        // In the end all of it is over.
        for step in steps.into_iter().chain([Step::Pass(30)]) {
            match step {
                Step::Put(triple, seconds) => {
                    let expires = now + Duration::from_secs(seconds);
                    match cache.put(triple, until(expires)) {
                        Ok(bound) => {
                            prop_assert_eq!(bound.live.expires, expires);
                            prop_assert_eq!(bound.steered.map(|(triple, live)| (live.expires, triple)), steering(&list, triple.pair()));
                            let known = list.insert(triple, expires);
                            prop_assert_eq!(bound.before.map(|before| before.expires), known);
                            prop_assert_eq!(bound.steers.map(|(triple, live)| (live.expires, triple)), steering(&list, triple.pair()));
                            prop_assert_eq!(bound.steers, cache.steering(triple.pair()));
                        }
                        Err(refusal) => {
                            prop_assert_eq!(refusal, Refusal::CareOfTaken);
                            prop_assert!(!list.contains_key(&triple));
                        }
                    }
                }
                Step::Unbind(triple) => {
                    let gone = cache.unbind(now, triple).map(|live| live.expires);
                    prop_assert_eq!(gone, list.remove(&triple));
                }
                Step::Keep(triple, earlier) => {
                    let Triple { client, anycast, care_of } = triple;
                    if earlier {
                        cache.adopt(client, care_of, anycast);
                    } else if let Err(refusal) = cache.remember(now, client, care_of, anycast) {
                        prop_assert_eq!(refusal, Refusal::CareOfTaken);
                    }
                    prop_assert!(cache.has_way_back(triple));
                }
                Step::Sweep(used) => {
                    let pairs: Map<_, _> =
                        used.iter().map(|triple| ((triple.client, triple.care_of), Use::default())).collect();
                    let swept: BTreeSet<_> = cache.sweep(now, &pairs).into_iter().collect();
                    for triple in used.iter().chain(list.keys()) {
                        prop_assert!(!swept.contains(&(triple.client, triple.care_of)));
                    }
                    for (back, care_of) in &cache.care_of {
                        let stays = pairs.contains_key(&(back.client, back.care_of));
                        prop_assert!(stays || care_of.used_until + SWEEP_MARGIN > now);
                    }
                }
                Step::Pass(seconds) => {
                    now += Duration::from_secs(seconds);
                    let mut over = BTreeSet::new();
                    while let Some(triple) = cache.over(now) {
                        over.insert(triple);
                        prop_assert!(cache.unbind(now, triple).is_some());
                    }
                    let due: BTreeSet<_> = list.extract_if(.., |_, expires| *expires <= now).map(|(it, _)| it).collect();
                    prop_assert_eq!(over, due);
                }
            }
            let live: Vec<_> = cache.live().map(|(triple, live)| (triple, live.expires)).collect();
            prop_assert!(live.iter().copied().eq(list.iter().map(|(triple, expires)| (*triple, *expires))));
            // Each is looked at once, and in time.
            prop_assert_eq!(cache.order.len(), cache.live.len());
            for (triple, entry) in cache.live.from(Unbounded) {
                prop_assert!(cache.order.contains(&(entry.queued, triple)));
                prop_assert!(entry.queued <= entry.live.expires);
            }
            prop_assert!(cache.deadline() <= list.values().copied().min());
            // A sweep looks at those pairs that no binding uses, and at all of them.
            let used: BTreeSet<_> = list.keys().map(|triple| triple.back()).collect();
            let unbound: BTreeSet<_> = cache.care_of.keys().copied().filter(|back| !used.contains(back)).collect();
            prop_assert_eq!(&cache.unbound, &unbound);
            for (back, care_of) in &cache.care_of {
                prop_assert_eq!(care_of.used_until == BOUND, used.contains(back));
            }
        }
        prop_assert!(list.is_empty());
        prop_assert_eq!(cache.bound(), 0);
    }
}

#[test]
fn the_room_of_pairs_is_free_again_after_a_flood() {
    let mut cache = Cache::new(ROOM);
    for number in 0..100_000_u32 {
        let client = Ipv6Addr::from_bits(u128::from(number));
        let Triple {
            anycast, care_of, ..
        } = triple(0, 0, 0);
        cache.adopt(client, care_of, anycast);
    }
    let now = Time::ZERO + SWEEP_MARGIN;
    let stays = (Ipv6Addr::from_bits(7), triple(0, 0, 0).care_of);
    let in_use = [(stays, Use::default())].into_iter().collect();
    assert!(cache.care_of.capacity() >= 100_000);
    assert_eq!(cache.sweep(now, &in_use).len(), 99_999);
    assert_eq!(cache.pairs(), 1);
    let room = cache.care_of.capacity();
    assert!(room < 10_000, "{room}");
}
