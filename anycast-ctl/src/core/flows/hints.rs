//! Tests of what an ICMPv6 error about a flow causes, and what it does not cause.

#![allow(clippy::unwrap_used, reason = "a test may abort")]

use std::{net::Ipv6Addr, time::Duration};

use anycast_common::{
    abi::maps::{Flow, FlowKey, state, unattended},
    wire::ipv6,
};
use zerocopy::FromZeros as _;

use super::{limits::*, sweep::*};
use crate::core::{Time, notice::FailureCause};

const C: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 1);
const TCP: u8 = ipv6::NEXT_HEADER_TCP;
const UDP: u8 = ipv6::NEXT_HEADER_UDP;

/// Times in milliseconds at which TCP sends the same segment again, where the round trip is short.
const AGAIN: [u64; 5] = [0, 200, 600, 1400, 3000];

/// A time in milliseconds. All tests begin ten seconds after the start of the clock.
fn at(milliseconds: u64) -> Time {
    Time::ZERO + Duration::from_millis(10_000 + milliseconds)
}

/// Flows to one care-of address C, and what happened to them.
struct World {
    sweeper: Sweeper,
    flows: Vec<(FlowKey, Flow)>,
    ended: Vec<(u64, u8, End)>,
    failed: Vec<(u64, Ipv6Addr, FailureCause)>,
    contradicted: usize,
}

impl World {
    /// Makes `count` flows that were answered 100 ms ago.
    fn new(protocol: u8, count: u8) -> Self {
        let answered = at(0).as_nanos() - 100_000_000;
        let flow = |port: u8| {
            let key = FlowKey {
                client_port: [0, port],
                protocol,
                ..FlowKey::new_zeroed()
            };
            let flow = Flow {
                care_of: C.octets(),
                pinned_at: 1,
                last_out: answered - 50_000_000,
                last_in: answered,
                state: state::BOUND_FIRST,
                answered: 1,
                ..Flow::new_zeroed()
            };
            (key, flow)
        };
        let mut sweeper = Sweeper::new(Limits::default(), Time::ZERO);
        assert!(sweeper.due(at(0)));
        sweeper.sweep(at(0), &[], |_, _| false);
        Self {
            sweeper,
            flows: (0..count).map(flow).collect(),
            ended: Vec::new(),
            failed: Vec::new(),
            contradicted: 0,
        }
    }

    fn port(&mut self, port: u8) -> Option<&mut Flow> {
        let mut flows = self.flows.iter_mut();
        let found = flows.find(|(key, _)| key.client_port[1] == port);
        found.map(|(_, flow)| flow)
    }

    fn sends(&mut self, port: u8, now: u64) {
        if let Some(flow) = self.port(port) {
            if flow.last_out <= flow.last_in {
                flow.asked_at = unattended::tick(at(now).as_nanos());
            }
            flow.last_out = at(now).as_nanos();
        }
    }

    fn is_answered(&mut self, port: u8, now: u64) {
        if let Some(flow) = self.port(port) {
            flow.last_in = at(now).as_nanos();
        }
    }

    /// An ICMPv6 error arrives that quotes a packet of this flow.
    fn error(&mut self, port: u8, now: u64) {
        if let Some(flow) = self.port(port) {
            flow.unreachable_at = at(now).as_nanos();
        }
        self.sweeper.hint(at(now));
    }

    /// Makes a sweep if one is due.
    fn run(&mut self, now: u64) {
        if !self.sweeper.due(at(now)) {
            return;
        }
        let sweep = self.sweeper.sweep(at(now), &self.flows, |_, _| false);
        for (key, _, end) in &sweep.ended {
            self.ended.push((now, key.client_port[1], *end));
            self.flows.retain(|(other, _)| other != key);
        }
        let failed = sweep.failed.into_iter();
        self.failed
            .extend(failed.map(|(care_of, cause)| (now, care_of, cause)));
        self.contradicted += sweep.contradicted;
    }

    /// Runs through each millisecond up to `last`, and calls `happens` in each.
    fn each(&mut self, last: u64, mut happens: impl FnMut(&mut Self, u64)) {
        for now in 0..=last {
            happens(self, now);
            self.run(now);
        }
    }
}

#[test]
fn a_session_whose_member_is_gone_is_free_before_tcp_tries_for_the_fifth_time() {
    for (delay, spread) in [(1, 0), (40, 7), (300, 180)] {
        let mut world = World::new(TCP, 1);
        world.each(4000, |world, now| {
            if AGAIN.contains(&now) {
                world.sends(0, now);
            }
            // The router sends an error about each retransmission.
            if AGAIN
                .iter()
                .any(|sent| sent + delay + spread * (sent / 400) == now)
            {
                world.error(0, now);
            }
        });
        let [(when, 0, End::Unreachable)] = world.ended[..] else {
            panic!("{delay}: {:?}", world.ended);
        };
        assert!((2500..3000).contains(&when), "{delay}: {when}");
        assert_eq!(world.failed, [], "one flow proves nothing of the others");
    }
}

#[test]
fn a_router_that_gives_up_late_is_believed_within_two_seconds() {
    // A router tries for three seconds to resolve the address before it sends an error. TCP has sent five times by
    // then.
    let mut world = World::new(TCP, 1);
    world.each(6000, |world, now| {
        if AGAIN.contains(&now) {
            world.sends(0, now);
        }
        if now == 3060 {
            world.error(0, now);
        }
    });
    let [(when, 0, End::Unreachable)] = world.ended[..] else {
        panic!("{:?}", world.ended);
    };
    assert!((4500..5000).contains(&when), "{when}");
}

#[test]
fn errors_about_flows_that_are_answered_end_nothing() {
    // An attacker who knows the ports of a session sends an error about it every 100 ms for a minute. The session sends
    // a request at regular intervals, and is answered after some time.
    let mut contradicted = 0;
    for (protocol, every, takes) in [
        (TCP, 50, 10),
        (UDP, 50, 10),
        (TCP, 200, 90),
        (UDP, 200, 90),
        (TCP, 1000, 300),
        (UDP, 1000, 300),
        // TCP acknowledges a request even if the application is slow.
        (TCP, 5000, 900),
        (UDP, 5000, 900),
        (TCP, 20_000, 900),
        (UDP, 20_000, 2000),
    ] {
        let mut world = World::new(protocol, 1);
        world.each(60_000, |world, now| {
            match now % every {
                0 => world.sends(0, now),
                when if when == takes => world.is_answered(0, now),
                // The client acknowledges the answer.
                when if protocol == TCP && when == takes + 30 => world.sends(0, now),
                _ => {}
            }
            if now % 100 == 37 {
                world.error(0, now);
            }
        });
        assert_eq!(world.ended, [], "{every}");
        assert_eq!(world.failed, [], "{every}");
        contradicted += world.contradicted;
    }
    assert!(contradicted > 10, "{contradicted} were seen to be wrong");
}

#[test]
fn errors_about_idle_flows_end_nothing() {
    let mut world = World::new(TCP, 10);
    world.each(60_000, |world, now| {
        if now % 100 == 37 {
            world.error(u8::try_from(now / 100 % 10).unwrap(), now);
        }
    });
    assert_eq!((world.ended, world.failed), (vec![], vec![]));
}

#[test]
fn flows_that_are_not_answered_are_not_the_failure_of_a_care_of_address_that_is_heard() {
    // Three flows are stuck, and errors arrive about them. A fourth flow is answered.
    let mut world = World::new(TCP, 4);
    world.each(6000, |world, now| {
        for stuck in 0..3 {
            if AGAIN.contains(&now) {
                world.sends(stuck, now);
            }
            if now % 500 == 1 {
                world.error(stuck, now);
            }
        }
        if now % 1000 == 0 {
            world.sends(3, now);
        }
        if now % 1000 == 20 {
            world.is_answered(3, now);
        }
    });
    let mut ended: Vec<_> = world
        .ended
        .iter()
        .map(|(_, port, end)| (*port, *end))
        .collect();
    ended.sort_unstable_by_key(|(port, _)| *port);
    assert_eq!(ended, [0, 1, 2].map(|port| (port, End::Unreachable)));
    assert_eq!(world.failed, []);
}

#[test]
fn several_that_are_not_answered_are_the_failure_of_all() {
    for active in [2, 3, 20] {
        // Five more flows are idle.
        let mut world = World::new(TCP, active + 5);
        world.each(6000, |world, now| {
            for port in 0..active {
                let begun = u64::from(port) * 40;
                if AGAIN.iter().any(|sent| sent + begun == now) {
                    world.sends(port, now);
                    // Routers limit the rate of their errors: here an error comes for about every second flow.
                    if port % 2 == 0 || active == 2 {
                        world.error(port, now);
                    }
                }
            }
        });
        let [(when, C, FailureCause::Unreachable)] = world.failed[..] else {
            panic!("{active}: {:?}", world.failed);
        };
        // A flow about which no error came counts as well when it has waited long enough.
        let soon = if active == 3 { 4500 } else { 3000 };
        assert!(when < soon, "{active}: {when}");
        assert!(
            world.flows.is_empty(),
            "{active}: the idle ones go with the others"
        );
    }
}

#[test]
fn datagrams_that_nobody_ever_answered_wait_for_nothing() {
    let mut world = World::new(UDP, 1);
    world.flows[0].1.last_in = 0;
    world.each(20_000, |world, now| {
        if now % 100 == 0 {
            world.sends(0, now);
        }
        if now % 1000 == 1 {
            world.error(0, now);
        }
    });
    assert_eq!((world.ended, world.failed), (vec![], vec![]));
}

#[test]
fn two_that_are_not_answered_are_not_the_failure_of_a_third_that_was_just_used() {
    let mut world = World::new(TCP, 3);
    world.each(3500, |world, now| {
        for port in [0, 1] {
            if AGAIN.contains(&now) {
                world.sends(port, now);
                world.error(port, now);
            }
        }
        if now == 2400 {
            world.sends(2, now);
        }
    });
    let ended: Vec<_> = world
        .ended
        .iter()
        .map(|(_, port, end)| (*port, *end))
        .collect();
    assert_eq!(ended, [(0, End::Unreachable), (1, End::Unreachable)]);
    assert_eq!(world.failed, []);
}

#[test]
fn a_request_some_time_after_an_acknowledgement_is_waited_for_by_itself() {
    let mut world = World::new(TCP, 1);
    world.each(6000, |world, now| {
        match now {
            0 | 2800 => world.is_answered(0, now),
            30 | 1600 | 1800 => world.sends(0, now),
            _ => {}
        }
        if now % 300 == 100 {
            world.error(0, now);
        }
    });
    assert_eq!((world.ended, world.failed), (vec![], vec![]));
}

#[test]
fn datagrams_that_wait_for_long_wait_no_shorter_after_an_error() {
    // No transport acknowledges them, so that an application may take its time.
    let mut world = World::new(UDP, 1);
    world.each(8000, |world, now| {
        if now % 1000 == 0 && now <= 4000 {
            world.sends(0, now);
        }
        match now {
            3060 => world.error(0, now),
            5000 => world.is_answered(0, now),
            _ => {}
        }
    });
    assert_eq!((world.ended, world.failed), (vec![], vec![]));
}
