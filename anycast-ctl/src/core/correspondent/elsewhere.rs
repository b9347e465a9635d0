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

/// What has ended is remembered for so long, which is longer than a snapshot takes, and so many of it. Who was cut off
/// for longer is not told of it.
const REMEMBERED: Duration = Duration::from_hours(1);
const MOST_REMEMBERED: usize = 16_384;
/// So many flushes are looked at when another gateway tells of flows.
const MOST_FLUSHES: usize = 256;
/// Who gives a snapshot hears of an end so much later, and the snapshot is so long on its way, at most. What begins
/// anew within this time is told by itself.
const ON_THE_WAY: Duration = Duration::from_secs(5);
/// For so long after an end another gateway may tell of a flow that has not heard of it, or has not read its flows.
const STILL_TOLD: Duration = Duration::from_secs(3);

/// Ends that are told again to who did not hear them.
const MOST_AGAIN: usize = 4096;

/// What was ended of late.
#[derive(Clone, Copy, Debug)]
pub(super) struct Late {
    at: Time,
    /// When the others were told last, or are. Until they know, they go on.
    told: Time,
    /// Whether it was this gateway that ended it.
    own: bool,
    end: End,
}

impl Late {
    pub(super) const fn own(now: Time, at: Time, end: End) -> Self {
        Self {
            at,
            told: now,
            own: true,
            end,
        }
    }

    /// What ended elsewhere at this time, as another gateway told.
    pub(super) const fn of_another(at: Time, told: Time, end: End) -> Self {
        Self {
            at,
            told,
            own: false,
            end,
        }
    }

    /// Whether the others were not told, if what was said since then was not heard.
    fn is_unheard(&self, since: Time) -> bool {
        self.own && self.told >= since
    }
}

/// What has ended elsewhere, and ends here when the flows have been read.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    /// When it was heard of, when it ended, and what.
    waiting: Vec<(Time, Time, End)>,
    /// What was flushed of late, here or elsewhere. Another gateway may still have it, and so may a snapshot that was
    /// taken before.
    flushed: VecDeque<(Selection, Late)>,
    /// The same of flows that were opened, and in which order.
    opened: HashMap<FlowKey, (Ipv6Addr, Late)>,
    order: VecDeque<(Time, FlowKey)>,
    /// When a care-of address failed last, here or elsewhere. Another gateway may have kept its idle connections.
    failed: HashMap<Ipv6Addr, Late>,
    /// When others are told again what ended since when.
    again: Option<(Time, Time)>,
}

impl Elsewhere {
    /// Notes that something has ended at this time.
    pub(super) fn note(&mut self, now: Time, at: Time, end: End) {
        if self.waiting.len() < MOST {
            self.waiting.push((now, at, end));
        }
    }

    /// What was known to have ended when the reading of the flows began, and when it ended.
    pub(super) fn take(&mut self, began: Time) -> Vec<(Time, End)> {
        let due = self.waiting.extract_if(.., |(noted, ..)| *noted <= began);
        due.map(|(_, at, end)| (at, end)).collect()
    }

    /// Remembers that something has ended, for what others may still tell.
    pub(super) fn remember(&mut self, now: Time, late: Late) {
        let old = |at: Time| now.since(at) >= REMEMBERED;
        match late.end {
            End::Failed(care_of) => {
                if self.failed.len() >= MOST {
                    let oldest = self
                        .failed
                        .iter()
                        .min_by_key(|(care_of, late)| (late.at, **care_of));
                    let oldest = oldest.map(|(care_of, _)| *care_of);
                    oldest.map(|care_of| self.failed.remove(&care_of));
                }
                let known = self.failed.get(&care_of);
                if known.is_none_or(|known| known.at <= late.at) {
                    self.failed.insert(care_of, late);
                }
            }
            End::Flushed {
                client,
                anycast,
                care_of,
            } => {
                while self.flushed.len() >= MOST_REMEMBERED
                    || self.flushed.front().is_some_and(|(_, late)| old(late.told))
                {
                    self.flushed.pop_front();
                }
                let which = Selection {
                    client,
                    anycast,
                    care_of,
                };
                self.flushed.push_back((which, late));
            }
            End::Opened { key, care_of, .. } => {
                while self.order.len() >= MOST_REMEMBERED
                    || self.order.front().is_some_and(|(at, _)| old(*at))
                {
                    let Some((at, key)) = self.order.pop_front() else {
                        break;
                    };
                    if self.opened.get(&key).is_some_and(|(_, late)| late.at == at) {
                        self.opened.remove(&key);
                    }
                }
                let known = self.opened.get(&key);
                if known.is_none_or(|(_, known)| known.at <= late.at) {
                    self.order.push_back((late.at, key));
                    self.opened.insert(key, (care_of, late));
                }
            }
        }
    }

    /// What has ended here since then, others have not heard, who are there again. They take it from `from` on.
    pub(super) fn unheard(&mut self, since: Time, from: Time) {
        for late in self.all_mut().filter(|late| late.is_unheard(since)) {
            late.told = from;
        }
        let again = self.again.unwrap_or((from, since));
        self.again = Some((again.0.max(from), again.1.min(since)));
    }

    /// What others are told again now, the latest of it if that is much, and when it ended.
    pub(super) fn again(&mut self, now: Time) -> Vec<(Time, End)> {
        let Some((_, since)) = self.again.take_if(|(due, _)| *due <= now) else {
            return Vec::new();
        };
        let unheard = self.all_mut().filter(|late| late.is_unheard(since));
        let mut ends: Vec<_> = unheard.map(|late| (late.at, late.end)).collect();
        ends.sort_by_key(|(at, _)| *at);
        ends.split_off(ends.len().saturating_sub(MOST_AGAIN))
    }

    /// When [`Elsewhere::again`] has something.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.again.map(|(due, _)| due)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Late> {
        let flushed = self.flushed.iter_mut().map(|(_, late)| late);
        let opened = self.opened.values_mut().map(|(_, late)| late);
        flushed.chain(opened).chain(self.failed.values_mut())
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
        let flushed = flushed.filter(|(which, _)| which.holds(client, anycast, care_of));
        let flushed = flushed.map(|(_, late)| late.told + STILL_TOLD).max();
        let failed = self.failed.get(&care_of).map(|late| late.at);
        flushed.max(failed).unwrap_or(Time::ZERO)
    }

    /// Whether a flow that another gateway tells is open again.
    pub(super) fn is_opened(&self, key: &FlowKey, flow: &Flow) -> bool {
        let opened = self.opened.get(key);
        flow.answered == 0
            && opened.is_some_and(|(care_of, late)| {
                care_of.octets() == flow.care_of && heard(flow) < late.told + STILL_TOLD
            })
    }

    /// Whether a care-of address failed at this time or later.
    pub(super) fn has_failed(&self, care_of: Ipv6Addr, since: Time) -> bool {
        let failed = self.failed.get(&care_of);
        failed.is_some_and(|late| late.at >= since)
    }

    /// What has ended since a snapshot was taken, or was not known yet to who gives it.
    pub(super) fn since(&self, taken: Time) -> Over {
        let taken = taken.before(ON_THE_WAY);
        let flushed = self.flushed.iter().filter(|(_, late)| late.told >= taken);
        let opened = self.opened.iter();
        let opened = opened.filter(|(_, (_, late))| late.told >= taken);
        Over {
            flushed: flushed.map(|(which, _)| *which).collect(),
            opened: opened.map(|(key, (care_of, _))| (*key, *care_of)).collect(),
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
