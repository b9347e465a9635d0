//! Random sequences of events against a simple model.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::core::GroupAction;

/// Something that happens.
#[derive(Clone, Copy, Debug)]
enum Event {
    Report { ifindex: u32, member: u8, group: u8 },
    Done { ifindex: u32, member: u8, group: u8 },
    LowerQuery,
    SpecificQuery { group: u8 },
    V2Query,
    Up { ifindex: u32, address: bool },
    Down { ifindex: u32 },
    Advance { millis: u64 },
}

fn event() -> impl Strategy<Value = Event> {
    let ifindex = prop_oneof![3 => Just(LAN), 1 => Just(DMZ)];
    let pair = (ifindex.clone(), 0..3_u8, 0..3_u8);
    prop_oneof![
        8 => pair.clone().prop_map(|(ifindex, member, group)| Event::Report {
            ifindex, member, group
        }),
        4 => pair.prop_map(|(ifindex, member, group)| Event::Done { ifindex, member, group }),
        1 => Just(Event::LowerQuery),
        1 => (0..3_u8).prop_map(|group| Event::SpecificQuery { group }),
        1 => Just(Event::V2Query),
        1 => (ifindex.clone(), prop::bool::weighted(0.8))
            .prop_map(|(ifindex, address)| Event::Up { ifindex, address }),
        1 => ifindex.prop_map(|ifindex| Event::Down { ifindex }),
        6 => (0..5_000_u64).prop_map(|millis| Event::Advance { millis }),
        2 => (0..300_000_u64).prop_map(|millis| Event::Advance { millis }),
    ]
}

const MEMBERS: [Ipv6Addr; 3] = [M1, M2, M3];
const GROUPS: [Ipv6Addr; 3] = [B1, B2, B3];

/// The member is there until `from` at least and until `to` at most, unless it reports.
#[derive(Clone, Copy, Debug)]
struct Life {
    from: Time,
    to: Time,
    checking: bool,
}

/// What must be true of the router, told without timers: (interface, group, member) and a life.
#[derive(Default)]
struct Model {
    lives: BTreeMap<(u32, Ipv6Addr, Ipv6Addr), Life>,
    /// Links that are up, and whether they have an address.
    up: BTreeMap<u32, bool>,
    /// Another Querier is present on the LAN until then.
    other: Option<Time>,
}

impl Model {
    fn is_querier(&self, ifindex: u32, now: Time) -> bool {
        let other = ifindex == LAN && self.other.is_some_and(|until| now < until);
        self.up.get(&ifindex) == Some(&true) && !other
    }

    fn apply(&mut self, event: Event, now: Time) {
        self.lives.retain(|_, life| now < life.to);
        match event {
            Event::Report {
                ifindex,
                member,
                group,
            } => {
                if self.up.contains_key(&ifindex) {
                    let life = Life {
                        from: now + LISTENER,
                        // A Non-Querier asks before it lets go.
                        to: now + LISTENER + CHECK + SECOND,
                        checking: false,
                    };
                    self.lives.insert(key(ifindex, group, member), life);
                }
            }
            Event::Done {
                ifindex,
                member,
                group,
            } => {
                let querier = self.is_querier(ifindex, now);
                if let Some(life) = self.lives.get_mut(&key(ifindex, group, member))
                    && querier
                    && !life.checking
                {
                    // The first Query may have to wait for one that was just sent.
                    life.from = life.from.min(now + CHECK);
                    life.to = life.to.min(now + CHECK + SECOND);
                    life.checking = true;
                }
            }
            Event::LowerQuery => self.lower(now),
            Event::SpecificQuery { group } => {
                self.lower(now);
                // Without an address nobody can be asked.
                if self.up.get(&LAN) != Some(&true) {
                    return;
                }
                for ((ifindex, anycast, _), life) in &mut self.lives {
                    if *ifindex == LAN && *anycast == GROUPS[usize::from(group)] && !life.checking {
                        life.from = life.from.min(now + CHECK);
                        life.to = life.to.min(now + CHECK + SECOND);
                        life.checking = true;
                    }
                }
            }
            Event::V2Query => {}
            Event::Up { ifindex, address } => {
                let before = self.up.insert(ifindex, address);
                if ifindex == LAN && before != Some(address) {
                    self.other = None;
                }
            }
            Event::Down { ifindex } => {
                self.up.remove(&ifindex);
                self.lives.retain(|(link, ..), _| *link != ifindex);
                if ifindex == LAN {
                    self.other = None;
                }
            }
            Event::Advance { .. } => {}
        }
    }

    fn lower(&mut self, now: Time) {
        if self.up.get(&LAN) == Some(&true) {
            self.other = Some(now + OTHER_QUERIER);
        }
    }
}

fn key(ifindex: u32, group: u8, member: u8) -> (u32, Ipv6Addr, Ipv6Addr) {
    (
        ifindex,
        GROUPS[usize::from(group)],
        MEMBERS[usize::from(member)],
    )
}

fn apply(world: &mut World, event: Event) {
    match event {
        Event::Report {
            ifindex,
            member,
            group,
        } => {
            let (_, address, source) = key(ifindex, group, member);
            world.message(ifindex, source, mld::Message::Report { address });
        }
        Event::Done {
            ifindex,
            member,
            group,
        } => {
            let (_, address, source) = key(ifindex, group, member);
            world.message(ifindex, source, mld::Message::Done { address });
        }
        Event::LowerQuery => world.query(LOWER),
        Event::SpecificQuery { group } => {
            world.query_about(LOWER, GROUPS[usize::from(group)], Duration::ZERO);
        }
        Event::V2Query => world.query_v2(LOWEST),
        Event::Up { ifindex, address } => world.link(&Link {
            link_local: address.then_some(OWN),
            ..link(ifindex)
        }),
        Event::Down { ifindex } => world.link(&Link {
            up: false,
            ..link(ifindex)
        }),
        Event::Advance { millis } => world.advance(Duration::from_millis(millis)),
    }
}

type Routes = BTreeMap<Ipv6Addr, Vec<NextHop>>;

/// What the actions so far have led to outside of the router.
#[derive(Default)]
struct Outside {
    routes: Routes,
    /// Where it is in its multicast group.
    joined: BTreeSet<u32>,
}

/// Carries out the actions of one event and checks each.
fn carry_out(actions: Vec<Action>, model: &Model, outside: &mut Outside) {
    let Outside { routes, joined } = outside;
    for action in actions {
        match action {
            Action::Send { ifindex, packet } => {
                let ifindex = ifindex.unwrap();
                assert_eq!(model.up.get(&ifindex), Some(&true), "sent on {ifindex}");
                assert_eq!(ipv6::Packet::parse(&packet).unwrap().source, OWN);
                sent(ifindex, &packet);
            }
            Action::Route(RouteAction::Set { anycast, next_hops }) => {
                assert!(next_hops.is_sorted() && !next_hops.is_empty());
                let down = next_hops
                    .iter()
                    .find(|hop| !model.up.contains_key(&hop.ifindex));
                assert_eq!(down, None, "a route over a link that is down");
                let old = routes.insert(anycast, next_hops.clone());
                assert_ne!(old, Some(next_hops), "an action that changes nothing");
            }
            Action::Route(RouteAction::Remove { anycast }) => {
                assert!(routes.remove(&anycast).is_some(), "there was no route");
            }
            Action::Group(GroupAction::Join { ifindex, group }) => {
                assert!(group.is_multicast() && model.up.get(&ifindex) == Some(&true));
                assert!(joined.insert(ifindex), "joined twice on {ifindex}");
            }
            Action::Group(GroupAction::Leave { ifindex, .. }) => {
                assert!(joined.remove(&ifindex), "left twice on {ifindex}");
            }
            Action::Notice(_) => {}
            other => panic!("not a router's: {other:?}"),
        }
    }
}

fn check(world: &World, model: &Model, choice: NextHopChoice, routes: &Routes) {
    let mut actual = BTreeSet::new();
    let mut union: Routes = BTreeMap::new();
    for group in world.router.groups(world.now) {
        assert!(!group.members.is_empty(), "an empty group");
        let ifindex = if group.interface == "lan" { LAN } else { DMZ };
        for member in &group.members {
            actual.insert((ifindex, group.group, member.address));
            assert!(member.expires_in <= LISTENER);
            let via = Some(member.address);
            union
                .entry(group.group)
                .or_default()
                .push(NextHop { via, ifindex });
        }
        let checking = group.members.iter().any(|member| member.checking);
        assert_eq!(group.state == GroupState::CheckingListeners, checking);
    }
    for key in &actual {
        let life = model.lives.get(key);
        assert!(
            life.is_some_and(|life| world.now < life.to),
            "{key:?} is there"
        );
    }
    for (key, life) in &model.lives {
        assert!(
            life.from <= world.now || actual.contains(key),
            "{key:?} is not there"
        );
    }
    for hops in union.values_mut() {
        hops.sort();
    }
    assert_eq!(
        union.keys().collect::<Vec<_>>(),
        routes.keys().collect::<Vec<_>>()
    );
    for (anycast, hops) in &union {
        match choice {
            NextHopChoice::All => assert_eq!(&routes[anycast], hops),
            NextHopChoice::Best => {
                assert_eq!(routes[anycast].len(), 1);
                assert!(hops.contains(&routes[anycast][0]));
            }
            NextHopChoice::OnLink => {
                let links: BTreeSet<u32> = hops.iter().map(|hop| hop.ifindex).collect();
                let routed = routes[anycast].iter().map(|hop| hop.ifindex);
                assert_eq!(routed.collect::<BTreeSet<_>>(), links);
            }
        }
    }
    for (view, ifindex) in world.router.links(world.now).iter().zip([LAN, DMZ]) {
        assert_eq!(view.ours, model.is_querier(ifindex, world.now), "{ifindex}");
    }
    if let Some(deadline) = world.router.deadline() {
        assert!(deadline > world.now, "a deadline in the past");
    }
}

fn run(settings: Settings, events: &[Event]) -> Vec<(Time, Action)> {
    let choice = settings.next_hops;
    let mut world = World::new(settings);
    let mut model = Model::default();
    let mut outside = Outside::default();
    let mut log = Vec::new();
    world.now = Time::ZERO + SECOND;
    let start = [LAN, DMZ].map(|ifindex| Event::Up {
        ifindex,
        address: true,
    });
    for event in start.iter().chain(events) {
        model.apply(*event, world.now);
        apply(&mut world, *event);
        log.extend(world.actions.iter().cloned());
        carry_out(world.take(), &model, &mut outside);
        check(&world, &model, choice, &outside.routes);
    }
    world.step(Router::shutdown);
    carry_out(world.take(), &model, &mut outside);
    assert_eq!(outside.routes, Routes::new());
    assert_eq!(outside.joined, BTreeSet::new());
    log
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn members_and_routes_follow_the_model(
        events in vec(event(), 1..80),
        next_hops in prop_oneof![
            Just(NextHopChoice::All), Just(NextHopChoice::Best), Just(NextHopChoice::OnLink)
        ],
        general_queries in prop_oneof![
            Just(GeneralQueries::Always), Just(GeneralQueries::Polite), Just(GeneralQueries::Never)
        ],
    ) {
        let settings = || {
            let mut settings = Settings { next_hops, ..with(general_queries) };
            settings.links[1].general_queries = general_queries;
            settings
        };
        let log = run(settings(), &events);
        prop_assert_eq!(log, run(settings(), &events), "the same again");
    }
}
