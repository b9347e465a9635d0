//! The table of pinned flows: what is put in is found, what must give way does, and CPUs that write at once
//! mix nothing up.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

use std::{
    cell::UnsafeCell,
    collections::HashMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use anycast_common::abi::{
    flow_table::{self, Found, Home, Inserted, SLOTS, Secret, Set, class},
    maps::{Flow, FlowKey},
};
use proptest::prelude::*;
use zerocopy::{FromZeros as _, IntoBytes as _};

const TICK: u64 = 1 << 30;
const SECRET: Secret = [
    0x0123_4567_89ab_cdef,
    0xfedc_ba98_7654_3210,
    0x0f1e_2d3c_4b5a_6978,
    0x8796_a5b4_c3d2_e1f0,
    0x1357_9bdf_0246_8ace,
];

struct Table(Vec<UnsafeCell<Set>>);

// SAFETY: this is what the table is for.
unsafe impl Sync for Table {}

impl Table {
    fn of(flows: u32) -> Self {
        let sets = flow_table::sets(flows);
        Self(
            (0..sets)
                .map(|_| UnsafeCell::new(Set::new_zeroed()))
                .collect(),
        )
    }

    fn home(&self, key: &FlowKey) -> Home {
        Home::of(key, &SECRET)
    }

    fn sets(&self, home: &Home) -> [*mut Set; 2] {
        let sets = self.0.len() as u32;
        [home.first(sets), home.second(sets)].map(|number| self.0[number as usize].get())
    }

    fn find(&self, key: &FlowKey) -> Option<(*mut Set, Found)> {
        let home = self.home(key);
        let sets = self.sets(&home);
        // SAFETY: the sets are there.
        sets.into_iter()
            .find_map(|set| Some((set, unsafe { flow_table::find(set, &home, key) }?)))
    }

    fn get(&self, key: &FlowKey) -> Option<Flow> {
        let (set, found) = self.find(key)?;
        // SAFETY: as above.
        Some(unsafe { (*flow_table::slot(set, found.number)).flow })
    }

    fn insert(&self, key: &FlowKey, flow: &Flow, now: u64) -> Inserted {
        self.insert_as(class::ONCE, key, flow, now)
    }

    fn insert_as(&self, class: u8, key: &FlowKey, flow: &Flow, now: u64) -> Inserted {
        let home = self.home(key);
        let sets = self.sets(&home);
        // SAFETY: as above.
        unsafe { flow_table::insert(sets, &home, key, flow, class, now) }
    }

    fn hear(&self, key: &FlowKey, now: u64) {
        let (set, found) = self.find(key).unwrap();
        // SAFETY: as above.
        unsafe { flow_table::heard(set, found.number, now) };
    }

    fn end(&self, key: &FlowKey) -> bool {
        let found = self.find(key);
        if let Some((set, found)) = found {
            // SAFETY: as above.
            unsafe { flow_table::end(set, found.number, &self.home(key)) };
        }
        found.is_some()
    }
}

fn key(number: u32) -> FlowKey {
    FlowKey {
        client: [0x20; 16],
        anycast: [0x21; 16],
        client_port: (number as u16).to_be_bytes(),
        service_port: ((number >> 16) as u16).to_be_bytes(),
        protocol: 6,
        reserved: [0; 3],
    }
}

/// One that tells its number.
fn flow(number: u32, last_in: u64) -> Flow {
    let mut care_of = [0xfd; 16];
    care_of[..4].copy_from_slice(&number.to_be_bytes());
    care_of[8..12].copy_from_slice(&number.to_be_bytes());
    Flow {
        care_of,
        pinned_at: u64::from(number),
        last_in,
        delta: number as u16,
        ..Flow::new_zeroed()
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Pin(u32),
    End(u32),
}

proptest! {
    #[test]
    fn finds_what_was_put_in(steps in prop::collection::vec(
        (any::<bool>(), 0_u32..300).prop_map(|(pin, number)| match pin {
            true => Step::Pin(number),
            false => Step::End(number),
        }),
        0..1000,
    )) {
        // Four times as much room as there are flows: nothing has to give way.
        let table = Table::of(1200);
        let mut model = HashMap::new();
        for step in steps {
            match step {
                Step::Pin(number) if model.contains_key(&number) => {}
                Step::Pin(number) => {
                    let value = flow(number, 0);
                    prop_assert_eq!(table.insert(&key(number), &value, 0), Inserted::Free);
                    model.insert(number, value);
                }
                Step::End(number) => {
                    prop_assert_eq!(table.end(&key(number)), model.remove(&number).is_some());
                }
            }
        }
        for number in 0..300 {
            prop_assert_eq!(table.get(&key(number)), model.get(&number).copied());
        }
    }

    #[test]
    fn sizes_go_there_and_back(wanted in 1_u32..16_777_216) {
        let made = flow_table::flows(flow_table::entries(wanted));
        prop_assert!((wanted..wanted + 6).contains(&made), "{} for {}", made, wanted);
    }
}

#[test]
fn holds_as_many_as_it_was_made_for() {
    const FLOWS: u32 = 100_000;
    let table = Table::of(FLOWS);
    let lost = (0..FLOWS)
        .filter(|number| table.insert(&key(*number), &flow(*number, 0), 0) == Inserted::Evicted)
        .count();
    assert!(lost <= 5, "{lost} flows of {FLOWS} gave way");
    let there = (0..FLOWS).filter(|number| table.get(&key(*number)) == Some(flow(*number, 0)));
    assert_eq!(there.count(), FLOWS as usize - lost);
}

#[test]
fn when_it_is_full_the_silent_give_way() {
    const FLOWS: u32 = 6000;
    let table = Table::of(FLOWS);
    let old = 0..FLOWS / 2;
    let heard = FLOWS / 2..FLOWS;
    for number in old.clone() {
        table.insert(&key(number), &flow(number, 0), TICK);
    }
    for number in heard.clone() {
        table.insert(&key(number), &flow(number, 0), 2 * TICK);
        table.hear(&key(number), 10 * TICK);
    }
    // As many again, a little later.
    for number in FLOWS..2 * FLOWS {
        table.insert(&key(number), &flow(number, 0), 11 * TICK);
    }
    let left = |mut numbers: std::ops::Range<u32>| {
        let total = numbers.len();
        let there = numbers
            .by_ref()
            .filter(|number| table.get(&key(*number)).is_some());
        there.count() as f64 / total as f64
    };
    let (old, heard) = (left(old), left(heard));
    assert!(
        old < 0.15 && heard > 0.6,
        "{old} of the silent, {heard} of the others"
    );
}

/// A table with room for a minute of 200 queries a second, and ten sessions that are silent for an hour.
#[test]
fn a_flood_of_queries_ends_no_silent_session() {
    const SESSIONS: u32 = 10;
    const A_SECOND: u32 = 200;
    let table = Table::of(60 * A_SECOND);
    for number in 0..SESSIONS {
        table.insert_as(class::SESSION, &key(number), &flow(number, 1), TICK);
    }
    for second in 0..600 {
        for query in 0..A_SECOND {
            let number = SESSIONS + second * A_SECOND + query;
            let now = TICK + u64::from(second) * TICK;
            table.insert(&key(number), &flow(number, 0), now);
        }
    }
    let there = (0..SESSIONS).filter(|number| table.get(&key(*number)).is_some());
    assert_eq!(there.count(), SESSIONS as usize);
}

/// Both sets of the table are the same one.
#[test]
fn what_is_worth_least_gives_way_first_and_then_what_was_silent_for_longest() {
    let table = Table::of(6);
    let worth = [
        (0, class::SESSION, 10),
        (1, class::SESSION, 90),
        (2, class::USED, 20),
        (3, class::USED, 80),
        (4, class::ONCE, 30),
        (5, class::ONCE, 70),
        (6, class::OPEN, 60),
        (7, class::OPEN, 40),
    ];
    for (number, class, heard) in worth {
        let inserted = table.insert_as(class, &key(number), &flow(number, 0), heard * TICK);
        assert_eq!(inserted, Inserted::Free);
    }
    for (more, gone) in (8..).zip([7, 6, 4, 5, 2, 3, 0, 1]) {
        let inserted = table.insert_as(class::SESSION, &key(more), &flow(more, 0), 100 * TICK);
        let wanted = match gone {
            6 | 7 => Inserted::EvictedOpen,
            _ => Inserted::Evicted,
        };
        assert_eq!(inserted, wanted);
        assert_eq!(table.get(&key(gone)), None, "{gone}");
    }
}

#[test]
fn open_flows_have_a_share_of_each_set_and_take_the_place_of_nothing_else() {
    let table = Table::of(6);
    let open = |number| table.insert_as(class::OPEN, &key(number), &flow(number, 0), TICK);
    assert_eq!([open(0), open(1)], [Inserted::Free; 2]);
    assert_eq!(open(2), Inserted::EvictedOpen);
    for number in 10..18 {
        table.insert_as(class::ONCE, &key(number), &flow(number, 0), TICK);
    }
    // All eight slots are of bound flows now.
    assert_eq!(open(3), Inserted::Refused);
    assert!((10..18).all(|number| table.get(&key(number)).is_some()));
}

/// Its tag and key are there already, or still, but the rest is half of another flow.
#[test]
fn a_slot_that_is_being_written_is_not_found() {
    let table = Table::of(6);
    table.insert(&key(1), &flow(1, 0), TICK);
    let (set, found) = table.find(&key(1)).unwrap();
    // SAFETY: the set is there.
    let slot = unsafe { &mut (*flow_table::slot(set, found.number)).flow };
    for half in [7, 15] {
        slot.care_of[half] ^= 1;
        assert_eq!(table.find(&key(1)), None);
        slot.care_of[half] ^= 1;
        assert_eq!(table.find(&key(1)), Some((set, found)));
    }
    slot.delta ^= 1;
    assert_eq!(table.find(&key(1)), None);
}

/// Between the look for a flow and its end, the slot may have gone to another.
#[test]
fn the_end_of_a_flow_leaves_a_slot_that_is_another_s_by_now() {
    let table = Table::of(6);
    table.insert(&key(1), &flow(1, 0), TICK);
    let (set, found) = table.find(&key(1)).unwrap();
    let (mine, other) = (table.home(&key(1)), table.home(&key(2)));
    assert_ne!(mine.tag, other.tag);
    // SAFETY: the set is there.
    unsafe { flow_table::end(set, found.number, &other) };
    assert!(table.find(&key(1)).is_some());
    // SAFETY: as above.
    unsafe { flow_table::end(set, found.number, &mine) };
    assert_eq!(table.find(&key(1)), None);
}

/// The clocks of two CPUs are on both sides of a tick.
#[test]
fn a_session_that_was_heard_a_moment_ahead_is_not_old() {
    let table = Table::of(6);
    for number in 0..8 {
        table.insert(&key(number), &flow(number, 0), 100 * TICK);
    }
    table.hear(&key(3), 101 * TICK);
    let fill = table.insert(&key(8), &flow(8, 0), 100 * TICK);
    assert_eq!(fill, Inserted::Evicted);
    assert!(table.get(&key(3)).is_some());
}

/// Tables outlive the programs that filled them: who changes the hash has to change
/// [`pins::LAYOUT`](anycast_common::abi::pins::LAYOUT) as well. It is made of the words of a key as the machine reads
/// them, so each byte order has its own.
#[test]
fn the_hash_is_what_it_was() {
    let home = Home::of(&key(1), &SECRET);
    let table = Table::of(600);
    table.insert(&key(1), &flow(1, 0), 0);
    let (set, found) = table.find(&key(1)).unwrap();
    // SAFETY: the set is there.
    let check = unsafe { (*flow_table::slot(set, found.number)).check };
    assert_eq!(
        (
            home.hash,
            home.tag,
            home.first(100),
            home.second(100),
            check
        ),
        if cfg!(target_endian = "big") {
            (
                14_800_779_795_114_164_896,
                52_582,
                27,
                64,
                10_927_846_104_302_766_729,
            )
        } else {
            (
                7_612_044_459_632_860_427,
                27_043,
                5,
                61,
                10_241_611_150_127_372_300,
            )
        }
    );
}

#[test]
fn without_a_secret_flows_spread_as_well() {
    let mut sets = vec![0_u32; 1000];
    for number in 0..6000 {
        let home = Home::of(&key(number), &[0; 5]);
        sets[home.first(1000) as usize] += 1;
        assert_ne!(home.tag, 0);
    }
    let most = sets.iter().max().unwrap();
    assert!(*most < 25, "{most} flows have the same first set");
}

/// CPUs that pin, end and look for the same few flows in two sets never see one flow's care-of address in another.
#[test]
fn writers_at_once_mix_nothing_up() {
    const KEYS: u32 = 64;
    let table = Table::of(2 * SLOTS as u32 - 4);
    let (torn, found) = (AtomicU64::new(0), AtomicU64::new(0));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for cpu in 0..3_u32 {
            let (table, torn, found, stop) = (&table, &torn, &found, &stop);
            scope.spawn(move || {
                let mut state = cpu + 1;
                for _ in 0..500_000 {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let number = (state >> 16) % KEYS;
                    match table.find(&key(number)) {
                        None => {
                            table.insert(&key(number), &flow(number, 0), 0);
                        }
                        Some(_) if state >> 28 == 0 => {
                            table.end(&key(number));
                        }
                        Some((_, seen)) => {
                            found.fetch_add(1, Ordering::Relaxed);
                            let right = flow(number, 0);
                            let same = seen.care_of.as_bytes() == right.care_of
                                && seen.delta == right.delta;
                            torn.fetch_add(u64::from(!same), Ordering::Relaxed);
                        }
                    }
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
                stop.store(true, Ordering::Relaxed);
            });
        }
    });
    let (torn, found) = (torn.into_inner(), found.into_inner());
    assert!(found > 10_000, "{found} were found");
    // The check word is of the flow that is looked for: half of another flow never goes with it.
    assert_eq!(torn, 0, "of {found} flows");
    // What is left is whole.
    for number in 0..KEYS {
        if let Some(left) = table.get(&key(number)) {
            assert_eq!(left.as_bytes(), flow(number, 0).as_bytes());
        }
    }
}
