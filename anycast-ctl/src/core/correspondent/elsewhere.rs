//! What has ended at other gateways of the fleet, and how a correspondent joins their bus.

use std::{
    collections::{HashMap, VecDeque},
    net::Ipv6Addr,
    time::Duration,
};

use anycast_common::abi::maps::{Flow, FlowKey};
use rand::SeedableRng as _;

use super::{selection::Selection, triple::Triple};
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
/// So many flushes are looked at when another gateway tells of flows.
const MOST_FLUSHES: usize = 1024;
/// Who gives a snapshot hears of an end so much later, and the snapshot is so long on its way, at most. What begins
/// anew within this time is told by itself.
const ON_THE_WAY: Duration = Duration::from_secs(5);
/// For so long after an end another gateway may tell of a flow that has not heard of it, or has not read its flows.
const STILL_TOLD: Duration = Duration::from_secs(3);

/// What has ended elsewhere, and ends here when the flows have been read.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    waiting: Vec<(Time, End)>,
    /// What was flushed of late, here or elsewhere. Another gateway may still have it, and so may a snapshot that was
    /// taken before.
    flushed: VecDeque<(Time, Selection)>,
    /// The same of flows that were opened, and when and in which order.
    opened: HashMap<FlowKey, (Time, Ipv6Addr)>,
    order: VecDeque<(Time, FlowKey)>,
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

    /// Remembers that something has ended, for what others may still tell.
    pub(super) fn remember(&mut self, now: Time, end: End) {
        let old = |at: Time| now.since(at) >= REMEMBERED;
        match end {
            End::Failed(care_of) => {
                if self.failed.len() >= MOST {
                    let oldest = self
                        .failed
                        .iter()
                        .min_by_key(|(care_of, at)| (**at, **care_of));
                    let oldest = oldest.map(|(care_of, _)| *care_of);
                    oldest.map(|care_of| self.failed.remove(&care_of));
                }
                self.failed.insert(care_of, now);
            }
            End::Flushed {
                client,
                anycast,
                care_of,
            } => {
                let full = self.flushed.len() >= MOST_REMEMBERED;
                let over = |(at, _): &mut (Time, Selection)| full || old(*at);
                self.flushed.pop_front_if(over);
                let which = Selection {
                    client,
                    anycast,
                    care_of,
                };
                self.flushed.push_back((now, which));
            }
            End::Opened(key, care_of) => {
                while self.order.len() >= MOST_REMEMBERED
                    || self.order.front().is_some_and(|(at, _)| old(*at))
                {
                    let Some((at, key)) = self.order.pop_front() else {
                        break;
                    };
                    if self.opened.get(&key).is_some_and(|(last, _)| *last == at) {
                        self.opened.remove(&key);
                    }
                }
                self.order.push_back((now, key));
                self.opened.insert(key, (now, care_of));
            }
        }
    }

    /// Flows of a triple that another gateway tells, and of which nothing was heard since this time, are over: an
    /// operator has ended them, or their member failed.
    pub(super) fn over_until(&self, triple: Triple) -> Time {
        let Triple {
            client,
            anycast,
            care_of,
        } = triple;
        let flushed = self.flushed.iter().rev().take(MOST_FLUSHES);
        let flushed = flushed.filter(|(_, which)| which.holds(client, anycast, care_of));
        let flushed = flushed.map(|(at, _)| *at + STILL_TOLD).max();
        let failed = self.failed.get(&care_of).copied();
        flushed.max(failed).unwrap_or(Time::ZERO)
    }

    /// Whether a flow that another gateway tells is open again.
    pub(super) fn is_opened(&self, key: &FlowKey, flow: &Flow) -> bool {
        let opened = self.opened.get(key);
        flow.answered == 0
            && opened.is_some_and(|(at, care_of)| {
                care_of.octets() == flow.care_of && heard(flow) < *at + STILL_TOLD
            })
    }

    /// Whether a care-of address failed at this time or later.
    pub(super) fn has_failed(&self, care_of: Ipv6Addr, since: Time) -> bool {
        self.failed.get(&care_of).is_some_and(|at| *at >= since)
    }

    /// What has ended since a snapshot was taken.
    pub(super) fn since(&self, taken: Time) -> Over {
        let taken = taken.before(ON_THE_WAY);
        let flushed = self.flushed.iter().filter(|(at, _)| *at >= taken);
        let opened = self.opened.iter().filter(|(_, (at, _))| *at >= taken);
        Over {
            flushed: flushed.map(|(_, which)| *which).collect(),
            opened: opened.map(|(key, (_, care_of))| (*key, *care_of)).collect(),
        }
    }
}

/// When a flow was last heard.
pub(super) fn heard(flow: &Flow) -> Time {
    Time::from_nanos(flow.last_out.max(flow.last_in))
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
