//! Maps are as large as they are told, and those with sessions in them stay.
#![allow(clippy::cast_possible_truncation, reason = "halves")]

use anycast_common::abi::{flow_table, roles::CORRESPONDENT};
use anycast_ctl::{
    core::{MapAction, Time},
    shell::dataplane::{Dataplane, Limits, Mode, OBJECT, OtherSize, Pins, Settings, Sizes},
};
use anyhow::{Context as _, Result, ensure};
use xtask::kernel_tests::Suite;

use crate::{harness::alone_with_pins, packets::address};

/// Its index, in every network namespace.
const LOOPBACK: u32 = 1;

pub fn tests(suite: Suite) -> Suite {
    suite.test_with_pins("sizes: of new maps, and of those taken over", taken_over)
}

fn load(sizes: Sizes) -> Result<Dataplane> {
    let settings = Settings {
        roles: CORRESPONDENT,
        require_router_alert: true,
        limits: Limits::NONE,
        sizes,
    };
    let mut dataplane = Dataplane::load_with(OBJECT, settings, Some(Pins::claim()?))?;
    // Maps stay where a program of theirs does.
    dataplane.attach(LOOPBACK, CORRESPONDENT, Mode::Generic)?;
    Ok(dataplane)
}

/// Pairs of a client and a care-of address, until there is no room for more.
fn fill(dataplane: &mut Dataplane, most: u32) -> Result<u32> {
    for number in 0..most {
        let [a, b] = [number >> 16, number & 0xffff].map(|half| half as u16);
        let set = MapAction::SetCareOf {
            client: std::net::Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, a, b),
            care_of: address("2001:db8:20::c1"),
            anycast: address("2001:db8:a::53"),
            expires: Time::from_nanos(u64::MAX / 2),
        };
        if dataplane.maps().apply(&set).is_err() {
            return Ok(number);
        }
    }
    Ok(most)
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
    let binding = |number: u16| MapAction::SetBinding {
        client: std::net::Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, number),
        anycast: address("2001:db8:a::53"),
        care_of: address("2001:db8:20::c1"),
        expires: Time::ZERO,
    };
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
