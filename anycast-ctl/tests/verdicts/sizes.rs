//! Maps are as large as they are told, and those with sessions in them stay.
#![allow(clippy::cast_possible_truncation, reason = "halves")]

use std::net::Ipv6Addr;

use anycast_common::abi::{flow_table, maps::CareOf, roles::CORRESPONDENT};
use anycast_ctl::{
    core::{MapAction, Time},
    shell::dataplane::{
        Dataplane, DataplaneError, Limits, Mode, OBJECT, OtherSize, Pins, Settings, Sizes,
    },
};
use anyhow::{Context as _, Result, ensure};
use xtask::kernel_tests::Suite;

use crate::{harness::alone_with_pins, packets::address};

/// Its index, in every network namespace.
const LOOPBACK: u32 = 1;

pub fn tests(suite: Suite) -> Suite {
    let suite = suite.test_with_pins("sizes: of new maps, and of those taken over", taken_over);
    suite.test(
        "sizes: what is written together fills a map as one by one",
        together,
    )
}

fn settings(sizes: Sizes) -> Settings {
    Settings {
        roles: CORRESPONDENT,
        require_router_alert: true,
        limits: Limits::NONE,
        sizes,
    }
}

fn load(sizes: Sizes) -> Result<Dataplane> {
    let mut dataplane = Dataplane::load_with(OBJECT, settings(sizes), Some(Pins::claim()?))?;
    // Maps stay where a program of theirs does.
    dataplane.attach(LOOPBACK, CORRESPONDENT, Mode::Generic)?;
    Ok(dataplane)
}

/// Pairs of a client and a care-of address, until there is no room for more.
fn fill(dataplane: &mut Dataplane, most: u32) -> Result<u32> {
    for number in 0..most {
        let set = way_back(number, Time::from_nanos(u64::MAX / 2));
        if dataplane.maps().apply(&set).is_err() {
            return Ok(number);
        }
    }
    Ok(most)
}

fn way_back(number: u32, expires: Time) -> MapAction {
    let [a, b] = [number >> 16, number & 0xffff].map(|half| half as u16);
    MapAction::SetCareOf {
        client: Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, a, b),
        care_of: address("2001:db8:20::c1"),
        anycast: address("2001:db8:a::53"),
        expires,
    }
}

fn binding(number: u32) -> MapAction {
    let [a, b] = [number >> 16, number & 0xffff].map(|half| half as u16);
    MapAction::SetBinding {
        client: Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, a, b),
        anycast: address("2001:db8:a::53"),
        care_of: address("2001:db8:20::c1"),
        expires: Time::ZERO,
    }
}

fn together() -> Result<()> {
    const ROOM: u32 = 2048;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let _guard = runtime.enter();
    let sizes = Sizes {
        bindings: ROOM,
        flows: 4096,
        ..Sizes::default()
    };
    let mut dataplane = Dataplane::load_with(OBJECT, settings(sizes), None)?;
    let (early, late) = (Time::from_nanos(1), Time::from_nanos(2));
    // Some more than there is room for; something else among them, of which there is none; and entries after those that
    // are refused, some of them known.
    let MapAction::SetBinding {
        client, anycast, ..
    } = binding(0)
    else {
        unreachable!()
    };
    let mut actions: Vec<_> = (0..1500).map(|number| way_back(number, early)).collect();
    actions.extend((0..ROOM).map(binding));
    actions.push(MapAction::RemoveBinding { client, anycast });
    actions.extend((1500..ROOM + 40).map(|number| way_back(number, early)));
    actions.extend((0..100).map(|number| way_back(number, late)));
    actions.extend([binding(0), binding(ROOM), binding(1)]);
    let mut refused = Vec::new();
    let failed = |action: &MapAction, error: DataplaneError| {
        refused.push((action.clone(), error.to_string()));
    };
    dataplane.maps().apply_all(&actions, failed);
    let wanted = (ROOM..ROOM + 40).map(|number| way_back(number, early));
    let wanted: Vec<_> = wanted.chain([binding(ROOM)]).collect();
    let which: Vec<_> = refused.iter().map(|(action, _)| action.clone()).collect();
    ensure!(which == wanted, "{refused:?}");
    // Each with the error that it has alone.
    for (action, error) in &refused {
        let alone = dataplane.maps().apply(action).err().context("no room")?;
        ensure!(alone.to_string() == *error, "{alone}, not {error}");
    }
    let pairs: Vec<_> = dataplane.maps().care_of().collect();
    let is_late = |(_, pair): &&(_, CareOf)| pair.expires == late.as_nanos();
    let late = pairs.iter().filter(is_late).count();
    ensure!(
        (pairs.len(), late) == (ROOM as usize, 100),
        "{late} of {}",
        pairs.len()
    );
    gone(&mut dataplane, ROOM)?;
    dataplane.end()?;
    Ok(())
}

/// What goes together leaves the rest there, and so it is where a thread does it.
fn gone(dataplane: &mut Dataplane, room: u32) -> Result<()> {
    let maps = dataplane.maps();
    let gone = |numbers: std::ops::Range<u32>| {
        let ways = numbers
            .clone()
            .filter_map(|number| match way_back(number, Time::ZERO) {
                MapAction::SetCareOf {
                    client, care_of, ..
                } => Some(MapAction::RemoveCareOf { client, care_of }),
                _ => None,
            });
        let bindings = numbers.filter_map(|number| match binding(number) {
            MapAction::SetBinding {
                client, anycast, ..
            } => Some(MapAction::RemoveBinding { client, anycast }),
            _ => None,
        });
        ways.chain(bindings).collect::<Vec<_>>()
    };
    // One that is not there first, in the middle and at the end; then one that is there again.
    let mut actions = gone(0..1);
    actions.extend(gone(0..1400));
    actions.extend(gone(room + 100..room + 101));
    actions.push(way_back(7, Time::from_nanos(3)));
    let mut refused = Vec::new();
    maps.apply_all(&actions, |action, error| {
        refused.push((action.clone(), error.to_string()));
    });
    ensure!(refused.is_empty(), "{refused:?}");
    let left = maps.care_of().count();
    ensure!(left == (room - 1400 + 1) as usize, "{left} are left");
    // By a thread: all of the others go, all come, and some for which there is no room are told.
    maps.apply_later(gone(1400..room), |_, _| {});
    let ways = (0..room + 9).map(|number| way_back(number, Time::from_nanos(4)));
    let ways: Vec<_> = ways.collect();
    maps.apply_later(ways, |_, _| {});
    maps.settle(|action, _| refused.push((action.clone(), String::new())));
    let which: Vec<_> = refused.iter().map(|(action, _)| action.clone()).collect();
    let wanted = (room..room + 9).map(|number| way_back(number, Time::from_nanos(4)));
    ensure!(which == wanted.collect::<Vec<_>>(), "{refused:?}");
    let pairs: Vec<_> = maps.care_of().collect();
    let new = pairs.iter().filter(|(_, pair)| pair.expires == 4).count();
    ensure!(
        (pairs.len(), new) == (room as usize, room as usize),
        "{new} of {}",
        pairs.len()
    );
    Ok(())
}

/// For how many flows a table is that was made for so many.
fn whole_sets(flows: u32) -> u32 {
    flow_table::flows(flow_table::entries(flows))
}

fn taken_over() -> Result<()> {
    let _alone = alone_with_pins();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let _guard = runtime.enter();
    let small = Sizes {
        bindings: 2048,
        flows: 4096,
        ..Sizes::default()
    };
    let large = Sizes {
        bindings: 300_000,
        flows: 1_000_000,
        ..small
    };

    let mut first = load(small)?;
    ensure!(first.other_sizes().is_empty(), "{:?}", first.other_sizes());
    let room = fill(&mut first, 200_000)?;
    ensure!(room == small.bindings, "room for {room}");
    drop(first);

    let mut second = load(large)?;
    let mut found = second.other_sizes().to_vec();
    found.sort_by_key(|size| size.map);
    let kept = |map, entries, configured| OtherSize {
        map,
        entries,
        configured,
    };
    let wanted = [
        kept("CARE_OF", small.bindings, large.bindings),
        kept("FLOWS", whole_sets(small.flows), large.flows),
    ];
    ensure!(found == wanted, "{found:?}");
    let pairs = second.maps().care_of().count();
    ensure!(pairs == small.bindings as usize, "{pairs} pairs were kept");
    // What is not taken over is as large as it is told.
    for number in 0..4096 {
        let set = second.maps().apply(&binding(number));
        set.with_context(|| format!("binding {number}"))?;
    }
    second.end()?;

    let mut third = load(large)?;
    ensure!(third.other_sizes().is_empty(), "{:?}", third.other_sizes());
    let room = fill(&mut third, 200_000)?;
    ensure!(room == 200_000, "room for {room}");
    third.end()?;
    Ok(())
}
