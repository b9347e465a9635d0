//! The router's machines alone, in virtual time.

use std::{
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use anycast_common::{
    abi::event::kind,
    wire::{
        ipv6::Packet,
        mld::{Message, PACKET_LEN, RouterAlert},
    },
};
use anycast_ctl::core::{
    Action, Actions, Link, Received, Time,
    controller::{Controller, Input, Settings},
    router::{self, Filter, GeneralQueries, LinkSettings, NextHopChoice, Policy, Rule},
    rr::Generator,
};
use anyhow::Result;
use rand::SeedableRng as _;

use super::{
    common::{median, rate, timed},
    hosts::{PAIRS, Pair, SHAPES, pairs},
    memory,
};

const LAN: u32 = 2;
const START: Time = Time::from_nanos(1_000_000_000);
const ROUNDS: usize = 7;
/// As the default configuration has it.
const PROBE: Duration = Duration::from_secs(10);
/// Query Intervals for which the timers run.
const INTERVALS: u32 = 4;
const PAGE: usize = 1000;

pub fn run() -> Result<()> {
    println!("core: {PAIRS} pairs of a group and a member, raw packets in, actions out");
    for (groups, members) in SHAPES {
        println!("  {groups} groups of {members}");
        membership(groups, members);
    }
    println!("timers: share of one core, default intervals, each member answers each Query");
    for (groups, members) in SHAPES {
        for queries in [GeneralQueries::Always, GeneralQueries::Never] {
            timers(groups, members, queries);
        }
    }
    Ok(())
}

/// Joins, refreshes, memory and views.
fn membership(groups: usize, members: usize) {
    let pairs = pairs(groups, members);
    let reports: Vec<_> = pairs.iter().map(Pair::report).collect();
    let mut world = World::new(GeneralQueries::Always);
    let before = memory::live();
    let joined = world.reports(&pairs, &reports);
    let each = (memory::live() - before) as f64 / PAIRS as f64;
    let refreshed = median(
        (0..ROUNDS)
            .map(|_| world.reports(&pairs, &reports))
            .collect(),
    );
    println!(
        "    Reports: joins {:.0}k/s, refreshes {:.0}k/s; {each:.0} octets a pair",
        rate(PAIRS, joined),
        rate(PAIRS, refreshed),
    );

    let router = world.controller.router().unwrap();
    let (mut rows, mut slowest, start) = (0, Duration::ZERO, Instant::now());
    let mut after = None;
    loop {
        let page = Instant::now();
        let (found, next) = router.members_page(world.now, Filter::default(), after.as_ref(), PAGE);
        slowest = slowest.max(page.elapsed());
        rows += found.len();
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(rows, PAIRS);
    let whole = start.elapsed();
    let mut group_pages = Duration::ZERO;
    let mut after = None;
    loop {
        let page = Instant::now();
        let (_, next) = router.groups_page(world.now, after.as_ref(), PAGE);
        group_pages = group_pages.max(page.elapsed());
        after = next;
        if after.is_none() {
            break;
        }
    }
    println!(
        "    views: all members in {whole:.1?}, slowest page {slowest:.1?}; of groups {group_pages:.1?}"
    );
}

/// What a router costs whose members do nothing but stay.
fn timers(groups: usize, members: usize, queries: GeneralQueries) {
    let pairs = pairs(groups, members);
    let reports: Vec<_> = pairs.iter().map(Pair::report).collect();
    let mut world = World::new(queries);
    world.reports(&pairs, &reports);
    let settings = LinkSettings::new("lan").timers;
    let interval = settings.query_interval;
    let end = world.now + interval * INTERVALS;
    let pause = settings.query_response_interval / u32::try_from(PAIRS).unwrap();
    let (mut polling, mut reporting) = (Duration::ZERO, Duration::ZERO);
    // The next pair that answers a General Query, and when.
    let mut answer: Option<(usize, Time)> = None;
    loop {
        let deadline = world.controller.deadline().unwrap();
        if let Some((pair, at)) = answer.filter(|(_, at)| *at <= deadline) {
            world.now = at;
            reporting += world.reports(&pairs[pair..=pair], &reports[pair..=pair]);
            answer = (pair + 1 < PAIRS).then(|| (pair + 1, at + pause));
            continue;
        }
        if deadline > end {
            break;
        }
        world.now = deadline;
        polling += timed(|| world.controller.poll(world.now, &mut world.actions));
        for group in world.asked() {
            let Some(group) = group else {
                answer = Some((0, world.now));
                continue;
            };
            for pair in (group..PAIRS).step_by(groups) {
                reporting += world.reports(&pairs[pair..=pair], &reports[pair..=pair]);
            }
        }
    }
    let (found, kept) = world.controller.router().unwrap().totals();
    assert_eq!((found, kept), (groups, PAIRS), "nobody timed out");
    let share =
        |spent: Duration| 100.0 * spent.as_secs_f64() / (interval * INTERVALS).as_secs_f64();
    println!(
        "  {groups} groups of {members}, general_queries {queries:?}: timers {:.2} %, Reports {:.2} %",
        share(polling),
        share(reporting),
    );
}

/// A router with one link, and its clock.
struct World {
    controller: Controller,
    now: Time,
    actions: Actions,
}

impl World {
    fn new(general_queries: GeneralQueries) -> Self {
        let link = LinkSettings {
            general_queries,
            probe_interval: Some(PROBE),
            ..LinkSettings::new("lan")
        };
        let everybody = Rule {
            interface: None,
            source: "fe80::/10".parse().unwrap(),
            mac: None,
            anycast: "2001:db8::/32".parse().unwrap(),
            allow: true,
            max_members_per_group: None,
            max_groups_per_member: None,
        };
        let settings = Settings {
            router: Some(router::Settings {
                links: vec![link],
                policy: Policy::new(vec![everybody]),
                next_hops: NextHopChoice::All,
            }),
            router_alert: RouterAlert::Required,
            ..Settings::default()
        };
        let mut world = Self {
            controller: Controller::new(settings, START, Generator::seed_from_u64(1)),
            now: START,
            actions: Actions::new(),
        };
        let up = Link {
            ifindex: LAN,
            name: "lan".to_owned(),
            up: true,
            link_local: Some("fe80::1".parse().unwrap()),
        };
        let controller = &mut world.controller;
        controller.handle(START, Input::Link(up), &mut world.actions);
        world
    }

    /// How long the Reports take, their actions included.
    fn reports(&mut self, pairs: &[Pair], reports: &[[u8; PACKET_LEN]]) -> Duration {
        timed(|| {
            for (pair, report) in pairs.iter().zip(reports) {
                let input = Input::Packet {
                    kind: kind::MLD,
                    received: Received {
                        ifindex: LAN,
                        mac: pair.mac,
                        packet: report,
                    },
                };
                self.controller.handle(self.now, input, &mut self.actions);
                self.actions.clear();
            }
        })
    }

    /// The groups that were asked, by their number; none is a General Query.
    fn asked(&mut self) -> Vec<Option<usize>> {
        let query = |action| match action {
            Action::Send { packet, .. } => {
                let packet = Packet::parse(&packet).unwrap();
                match Message::parse(&packet, RouterAlert::Required).unwrap() {
                    Message::Query(query) => Some(number(query.address)),
                    other => panic!("a router sends {other:?}"),
                }
            }
            _ => None,
        };
        self.actions.drain(..).filter_map(query).collect()
    }
}

fn number(group: Ipv6Addr) -> Option<usize> {
    let low = u32::try_from(group.to_bits() & u128::from(u32::MAX)).unwrap();
    (!group.is_unspecified()).then_some(usize::try_from(low).unwrap())
}
