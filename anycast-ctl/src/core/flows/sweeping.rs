//! A sweep that is under way. It judges flows in parts, so that nobody waits for all of them at once.

use std::{collections::BTreeSet, net::Ipv6Addr};

use anycast_common::abi::maps::{Flow, FlowKey, state};

use super::{
    limits::DISTANCE,
    sweep::{LOOK, Sweep, Sweeper},
    waiting::{ACKNOWLEDGED, Doubts, HINTED, Heard, Hint, Silence, hear},
};
use crate::core::{Time, hash::Map, time::earliest};

/// What the flows are looked through for, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// When each member was heard.
    Heard,
    /// Which flows end by themselves.
    Each,
    /// Which end with their care-of address, and how pairs are used by the others.
    Rest,
    Done,
}

/// A sweep that is under way.
#[derive(Debug)]
pub struct Sweeping {
    /// When the reading of the flows began.
    now: Time,
    look: Look,
    /// The flow at which this look goes on.
    next: usize,
    heard: Heard,
    /// Care-of addresses of silent flows whose answers may have come by another way.
    unsure: BTreeSet<Ipv6Addr>,
    silent: Map<FlowKey, Silence>,
    hinted: Map<FlowKey, Hint>,
    doubts: Doubts,
    /// When there is to be another sweep, because of an ICMPv6 error, or of a silence that lasts.
    looks: Option<Time>,
    over_at: Option<Time>,
    /// The flows that do not end by themselves, by their places.
    stay: Vec<usize>,
    /// At which of these the last look goes on.
    next_stay: usize,
    sweep: Sweep,
}

impl Sweeping {
    pub(super) fn new(now: Time, silent: usize) -> Self {
        let mut sweeping = Self {
            now,
            look: Look::Heard,
            next: 0,
            heard: Heard::default(),
            unsure: BTreeSet::new(),
            silent: Map::default(),
            hinted: Map::default(),
            doubts: Doubts::default(),
            looks: None,
            over_at: None,
            stay: Vec::new(),
            next_stay: 0,
            sweep: Sweep::default(),
        };
        sweeping.silent.reserve(silent);
        sweeping
    }

    /// Looks at this many flows at most, and gives at how many it did. `flows` are the same each time. The silence of
    /// the member in a flow for which `deaf` holds says nothing, because its answers may have come by a way of which
    /// nobody tells; nor does the silence of others of its flows say that it has failed as a whole.
    pub fn go_on(
        &mut self,
        sweeper: &mut Sweeper,
        flows: &[(FlowKey, Flow)],
        most: usize,
        deaf: impl Fn(&FlowKey, &Flow) -> bool,
    ) -> usize {
        let first = self.next;
        let last = flows.len().min(first.saturating_add(most));
        let part = flows.get(first..last).unwrap_or_default();
        match self.look {
            Look::Heard => {
                hear(&mut self.heard, part);
                let deaf = part.iter().filter(|(key, flow)| deaf(key, flow));
                let silent = deaf.filter(|(key, flow)| sweeper.silence(key, flow).is_some());
                self.unsure
                    .extend(silent.map(|(_, flow)| Ipv6Addr::from(flow.care_of)));
            }
            Look::Each => {
                for (place, (key, flow)) in (first..).zip(part) {
                    if !state::is_open(flow.state) && self.judge(sweeper, key, flow, &deaf) {
                        self.stay.push(place);
                    }
                }
            }
            Look::Rest => {
                let stay = self.stay[self.next_stay..].iter();
                for place in stay.copied().take_while(|place| *place < last) {
                    self.next_stay += 1;
                    rest(&mut self.sweep, &flows[place]);
                }
            }
            Look::Done => return 0,
        }
        self.next = last;
        if last == flows.len() {
            self.ended_look(sweeper);
        }
        last - first
    }

    /// Whether all flows are judged.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.look == Look::Done
    }

    /// Takes what the sweep has found, which is all of it when it [is done](Self::is_done).
    #[must_use]
    pub fn take(&mut self) -> Sweep {
        std::mem::take(&mut self.sweep)
    }

    /// Whether a flow does not end by itself.
    fn judge(
        &mut self,
        sweeper: &Sweeper,
        key: &FlowKey,
        flow: &Flow,
        deaf: impl Fn(&FlowKey, &Flow) -> bool,
    ) -> bool {
        let now = self.now;
        let silence = sweeper.silence(key, flow).filter(|_| !deaf(key, flow));
        let hint = sweeper.hinted(key, flow);
        self.sweep.contradicted += usize::from(sweeper.contradicted(key, flow));
        let over = hint.is_some_and(|hint| hint.is_over(now, key, flow));
        self.doubts.count(now, flow, silence, over);
        if let Some(end) = sweeper.end(now, key, flow, silence, hint) {
            if !self.unsure.contains(&Ipv6Addr::from(flow.care_of)) {
                sweeper.blame(now, flow, end, &self.heard, &mut self.sweep);
            }
            self.sweep.ended.push((*key, *flow, end));
            return false;
        }
        if let Some(hint) = hint {
            self.hinted.insert(*key, hint);
            for wait in [ACKNOWLEDGED, HINTED] {
                let over = Some(hint.since + wait).filter(|over| *over > now);
                self.looks = earliest(self.looks, over);
            }
            self.looks = earliest(self.looks, Some(now + LOOK));
        }
        if let Some(silence) = silence {
            self.silent.insert(*key, silence);
            let over = silence.since + sweeper.limits.failure;
            self.over_at = earliest(self.over_at, Some(over).filter(|over| *over > now));
        }
        true
    }

    fn ended_look(&mut self, sweeper: &mut Sweeper) {
        let now = self.now;
        self.next = 0;
        self.look = match self.look {
            Look::Heard => Look::Each,
            Look::Each => {
                // The tables are built anew in each sweep, so that they never keep a flow that is gone.
                sweeper.silent = std::mem::take(&mut self.silent);
                sweeper.hinted = std::mem::take(&mut self.hinted);
                sweeper.condemn(now, &self.heard, &self.doubts, &mut self.sweep);
                // Most clients have one flow. A table that grows step by step is built anew with each step, and the
                // last of these takes as long as many parts.
                self.sweep.in_use.reserve(self.stay.len());
                Look::Rest
            }
            Look::Rest | Look::Done => {
                if !sweeper.lost.is_empty() {
                    self.looks = earliest(self.looks, Some(now + LOOK));
                }
                sweeper.swept(now, self.over_at, self.looks);
                Look::Done
            }
        };
    }
}

impl Sweeper {
    /// Begins to judge all flows that are bound. Their reading began at `now`.
    #[must_use]
    pub fn begin(&self, now: Time) -> Sweeping {
        Sweeping::new(now, self.silent.len())
    }

    /// The flows have been judged whose reading began at `now`.
    fn swept(&mut self, now: Time, over_at: Option<Time>, looks: Option<Time>) {
        self.last = now;
        // A silence lasts so long that its end may wait as well as any other flow.
        let regular = earliest(Some(now + self.limits.interval()), over_at);
        self.next = regular.map(|next| next.max(now + DISTANCE));
        // What was asked for since the reading began.
        let asked = self.asked.filter(|asked| *asked > now);
        self.asked = asked.map(|asked| asked.max(now + LOOK));
        if let Some(looks) = looks {
            self.no_later_than(looks);
        }
    }

    /// Judges all at once.
    #[cfg(test)]
    pub(super) fn sweep(
        &mut self,
        now: Time,
        flows: &[(FlowKey, Flow)],
        deaf: impl Fn(&FlowKey, &Flow) -> bool,
    ) -> Sweep {
        let mut sweeping = self.begin(now);
        while !sweeping.is_done() {
            sweeping.go_on(self, flows, usize::MAX, &deaf);
        }
        sweeping.take()
    }
}

/// A flow that does not end by itself ends with its care-of address, or its pair is in use.
fn rest(sweep: &mut Sweep, (key, flow): &(FlowKey, Flow)) {
    let care_of = flow.care_of.into();
    if let Some(cause) = sweep.failed.get(&care_of) {
        return sweep.ended.push((*key, *flow, (*cause).into()));
    }
    let used = sweep.in_use.entry((key.client.into(), care_of));
    let used = used.or_default();
    used.flows += 1;
    if flow.answered != 0 {
        used.answered = used.answered.max(Time::from_nanos(flow.last_in));
    }
}
