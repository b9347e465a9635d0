//! What has ended at other gateways of the fleet, and how a correspondent joins their bus.

use std::{
    collections::{HashMap, VecDeque},
    net::Ipv6Addr,
    time::Duration,
};

use anycast_common::abi::maps::{Flow, FlowKey};
use rand::SeedableRng as _;

use super::selection::Selection;
use crate::core::{
    Time,
    fleet::{self, Bus, End},
    rr::Generator,
};

/// Ends that wait for the next reading of the flows. Gateways of the fleet alone can say more in that time.
const MOST: usize = 1024;

/// What has ended is remembered for so long, which is longer than a snapshot takes, and so many of it.
const REMEMBERED: Duration = Duration::from_secs(90);
const MOST_REMEMBERED: usize = 16_384;
/// Who gives a snapshot hears of an end so much later, and the snapshot is so long on its way, at most. What begins
/// anew within this time is told by itself.
const ON_THE_WAY: Duration = Duration::from_secs(5);

/// What has ended elsewhere, and ends here when the flows have been read.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    waiting: Vec<(Time, End)>,
    /// What was ended of late, here or elsewhere. A snapshot that was taken before may still have it.
    of_late: VecDeque<(Time, End)>,
    /// When a care-of address failed last, here or elsewhere. Another gateway may have kept its idle connections.
    failed: HashMap<Ipv6Addr, Time>,
}

impl Elsewhere {
    /// Notes that something has ended.
    pub(super) fn note(&mut self, now: Time, end: End) {
        if self.waiting.len() < MOST {
            self.waiting.push((now, end));
        }
    }

    /// What had ended when the reading of the flows began.
    pub(super) fn take(&mut self, began: Time) -> Vec<End> {
        let due = self.waiting.extract_if(.., |(at, _)| *at <= began);
        due.map(|(_, end)| end).collect()
    }

    /// Remembers that something has ended, for snapshots.
    pub(super) fn remember(&mut self, now: Time, end: End) {
        if let End::Failed(care_of) = end {
            if self.failed.len() >= MOST {
                let oldest = self
                    .failed
                    .iter()
                    .min_by_key(|(care_of, at)| (**at, **care_of));
                let oldest = oldest.map(|(care_of, _)| *care_of);
                oldest.map(|care_of| self.failed.remove(&care_of));
            }
            self.failed.insert(care_of, now);
            return;
        }
        let old = |(at, _): &(Time, End)| now.since(*at) >= REMEMBERED;
        while self.of_late.len() >= MOST_REMEMBERED || self.of_late.front().is_some_and(old) {
            self.of_late.pop_front();
        }
        self.of_late.push_back((now, end));
    }

    /// Whether a flow that another gateway tells is of before its member failed.
    pub(super) fn is_over(&self, care_of: Ipv6Addr, flow: &Flow) -> bool {
        let heard = Time::from_nanos(flow.last_out.max(flow.last_in));
        self.failed.get(&care_of).is_some_and(|at| heard < *at)
    }

    /// Whether a care-of address failed at this time or later.
    pub(super) fn has_failed(&self, care_of: Ipv6Addr, since: Time) -> bool {
        self.failed.get(&care_of).is_some_and(|at| *at >= since)
    }

    /// What has ended since a snapshot was taken.
    pub(super) fn since(&self, taken: Time) -> Over {
        let (mut over, taken) = (Over::default(), taken.before(ON_THE_WAY));
        for (_, end) in self.of_late.iter().filter(|(at, _)| *at >= taken) {
            match *end {
                End::Flushed {
                    client,
                    anycast,
                    care_of,
                } => over.flushed.push(Selection {
                    client,
                    anycast,
                    care_of,
                }),
                End::Opened(key, care_of) => {
                    over.opened.insert(key, care_of);
                }
                // It is remembered apart.
                End::Failed(_) => {}
            }
        }
        over
    }
}

/// What is over of a snapshot.
#[derive(Debug, Default)]
pub(super) struct Over {
    flushed: Vec<Selection>,
    opened: HashMap<FlowKey, Ipv6Addr>,
}

impl Over {
    /// Takes out of a snapshot what is over.
    pub(super) fn take_out(&self, snapshot: &mut Vec<fleet::Pins>) {
        if !self.flushed.is_empty() {
            snapshot.retain(|pins| {
                let mut flushed = self.flushed.iter();
                !flushed.any(|which| which.holds(pins.client, pins.anycast, pins.care_of))
            });
        }
        if !self.opened.is_empty() {
            for pins in snapshot {
                let care_of = pins.care_of;
                pins.flows
                    .retain(|(key, _)| self.opened.get(key) != Some(&care_of));
            }
        }
    }
}

/// Joins the bus of the fleet, where there is one.
pub(super) fn join(fleet: Option<&fleet::Settings>, now: Time, rng: &mut Generator) -> Option<Bus> {
    let fleet = fleet?;
    let secrets = [Some(&fleet.secret), fleet.previous.as_ref()];
    let name = fleet.name.clone()?;
    let rng = Generator::from_rng(rng);
    Some(Bus::new(secrets.into_iter().flatten(), name, now, rng))
}
