//! Flows that have been read are judged in parts: with a million of them, whoever sends a message would wait for a
//! second. A part is judged whenever the correspondent is polled, and then it is due again.

use std::{sync::Arc, time::Duration};

use anycast_common::abi::maps::{Flow, FlowKey};

use super::{
    Correspondent,
    judging::{Judging, Stage},
};
use crate::core::{Action, Actions, Time, flows::Sweep, hash::Set};

/// How many flows are looked at in one turn, each of them up to five times in all. They take up to two milliseconds,
/// where the memory of a table is used for the first time.
const PART: usize = 1024;

/// A member that another gateway heard is taken for alive for so long while that one cannot tell.
const TRUSTED: Duration = Duration::from_secs(300);

impl Correspondent {
    /// Handles the flows that [`Action::ReadFlows`] requested. Where they are many, most is done by
    /// [`Correspondent::poll`].
    pub fn flows(
        &mut self,
        now: Time,
        began: Time,
        flows: &Arc<Vec<(FlowKey, Flow)>>,
        actions: &mut Actions,
    ) {
        // They are not asked for before the last ones are judged.
        self.judge_all(now, actions);
        self.judging = Some(Judging {
            began,
            flows: Arc::clone(flows),
            elsewhere: self.over_elsewhere(began, flows, actions),
            // Where answers pass another gateway, which cannot tell of them for now, a member that seems silent may
            // not be, and the flow goes on. What is said of it by an ICMPv6 error counts as ever.
            may_miss: self.bus.as_ref().is_some_and(|bus| bus.may_miss(now)),
            over: Set::default(),
            stage: Stage::Elsewhere,
            next: 0,
        });
        self.judge(now, actions);
    }

    /// Judges all that is left of the flows that have been read.
    pub(super) fn judge_all(&mut self, now: Time, actions: &mut Actions) {
        while self.judging.is_some() {
            self.judge(now, actions);
        }
    }

    /// Judges a part of the flows that have been read.
    pub(super) fn judge(&mut self, now: Time, actions: &mut Actions) {
        let Some(mut judging) = self.judging.take() else {
            return;
        };
        let mut left = PART;
        while left > 0 {
            match self.look(now, &mut judging, left, actions) {
                Some(looked) => left -= looked,
                None => return,
            }
        }
        self.judging = Some(judging);
    }

    /// Looks at this many flows at most, and gives at how many it did. `None`: all is done.
    fn look(
        &mut self,
        now: Time,
        judging: &mut Judging,
        most: usize,
        actions: &mut Actions,
    ) -> Option<usize> {
        let began = judging.began;
        let first = judging.next;
        let last = judging.flows.len().min(first + most);
        match &mut judging.stage {
            Stage::Elsewhere if judging.elsewhere.is_empty() => {
                judging.turn(Stage::Sweep(Box::new(self.sweeper.begin(began))));
                Some(0)
            }
            Stage::Elsewhere => {
                for (key, flow) in &judging.flows[first..last] {
                    if let Some(action) = judging.elsewhere.end(key, flow) {
                        actions.push(Action::Map(action));
                        judging.over.insert(*key);
                    }
                }
                judging.next = last;
                if last == judging.flows.len() {
                    judging.turn(Stage::Sweep(Box::new(self.sweeper.begin(began))));
                }
                Some(last - first)
            }
            Stage::Sweep(sweeping) => {
                let (published, may_miss) = (&self.published, judging.may_miss);
                let deaf = |key: &FlowKey, flow: &Flow| {
                    let heard = began.since(Time::from_nanos(flow.last_in)) < TRUSTED;
                    may_miss && heard && published.is_heard_elsewhere(key, flow)
                };
                let looked = sweeping.go_on(&mut self.sweeper, &judging.flows, most, deaf);
                if sweeping.is_done() {
                    let Sweep { ended, in_use, .. } =
                        self.swept(now, began, sweeping.take(), actions);
                    judging.over.extend(ended.iter().map(|(key, ..)| *key));
                    let due = self.published.begin();
                    judging.turn(Stage::Tell { in_use, due });
                }
                Some(looked)
            }
            Stage::Tell { in_use, due } => {
                let is_alone = self.bus.is_none();
                if !is_alone && first < last {
                    let flows = (first..).zip(&judging.flows[first..last]);
                    let going_on = flows.filter(|(_, (key, _))| !judging.over.contains(key));
                    self.published.look(now, due, going_on);
                    judging.next = last;
                    return Some(last - first);
                }
                let (in_use, due) = (std::mem::take(in_use), std::mem::take(due));
                let number = judging.flows.len().saturating_sub(judging.over.len());
                self.spread(now, due, &judging.flows, number, actions);
                self.used(began, in_use, actions);
                None
            }
        }
    }
}
