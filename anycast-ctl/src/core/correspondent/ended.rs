//! What ends before its time at one gateway of a fleet, and therefore at all.

use std::{net::Ipv6Addr, time::Duration};

use anycast_common::abi::{
    event::TrialFailed,
    maps::{Flow, FlowKey},
};

use super::{Correspondent, elsewhere::Late, judging::EndedElsewhere, selection::Selection};
use crate::core::{
    Action, Actions, MapAction, Time, counters::Counter, fleet::End, notice::BindingChange,
};

/// A member that was heard within this time has not failed, whatever another gateway says.
const THERE: Duration = Duration::from_millis(2500);

impl Correspondent {
    /// Tells the others that something has ended at this time.
    pub(super) fn tell_end(&mut self, now: Time, at: Time, end: &End, actions: &mut Actions) {
        if let Some(bus) = &mut self.bus {
            bus.ends(now, &[(at, *end)], actions);
            self.elsewhere.remember(now, Late::own(now, at, *end));
        }
    }

    /// Tells what a gateway has not heard that is there again, once it takes that.
    pub(super) fn tell_again(&mut self, now: Time, actions: &mut Actions) {
        if let Some(bus) = &mut self.bus {
            let ends = self.elsewhere.again(now);
            bus.ends(now, &ends, actions);
        }
    }

    /// Tells the others that a flow is open again, and whether its pair (A, C) is left alone.
    pub(super) fn tell_trial(
        &mut self,
        now: Time,
        failed: &TrialFailed,
        alone: bool,
        actions: &mut Actions,
    ) {
        let end = End::Opened {
            key: failed.flow,
            care_of: failed.care_of.into(),
            alone,
        };
        self.tell_end(now, now, &end, actions);
    }

    /// Something ended at another gateway at this time.
    pub(super) fn ended_elsewhere(&mut self, now: Time, at: Time, end: End, actions: &mut Actions) {
        self.elsewhere.remember(now, Late::of_another(at, now, end));
        match end {
            End::Flushed {
                client,
                anycast,
                care_of,
            } => {
                self.counters.count(Counter::FleetEnds);
                let which = Selection {
                    client,
                    anycast,
                    care_of,
                };
                self.unbind(now, at, &which, BindingChange::Flushed, actions);
                self.elsewhere.note(now, at, end);
                self.sweeper.no_later_than(now);
            }
            End::Failed(_) => {
                self.elsewhere.note(now, at, end);
                self.sweeper.no_later_than(now);
            }
            End::Opened {
                key,
                care_of,
                alone,
            } => {
                self.counters.count(Counter::FleetEnds);
                actions.push(Action::Map(MapAction::OpenFlow { key, care_of }));
                if alone {
                    self.leave_alone(now, at, &key, care_of, actions);
                }
            }
        }
    }

    /// What has ended elsewhere of the flows of a reading that began at `now`. Their bindings end at once.
    pub(super) fn over_elsewhere(
        &mut self,
        now: Time,
        flows: &[(FlowKey, Flow)],
        actions: &mut Actions,
    ) -> EndedElsewhere {
        let mut over = EndedElsewhere::default();
        for (at, end) in self.elsewhere.take(now) {
            match end {
                End::Flushed {
                    client,
                    anycast,
                    care_of,
                } => {
                    let which = Selection {
                        client,
                        anycast,
                        care_of,
                    };
                    over.flushed.push((at, which));
                }
                // The other gateway has lost its own way to it.
                End::Failed(care_of) if answers(at, flows, care_of) => {
                    self.counters.count(Counter::FleetEndContradicted);
                }
                End::Failed(care_of) => {
                    self.counters.count(Counter::FleetEnds);
                    let which = Selection::of(care_of);
                    self.unbind(now, at, &which, BindingChange::Failed, actions);
                    over.failed.insert(care_of.octets(), at);
                }
                // It was done at once.
                End::Opened { .. } => {}
            }
        }
        over
    }
}

/// Whether a member was heard here just before it failed elsewhere, or later.
fn answers(failed: Time, flows: &[(FlowKey, Flow)], care_of: Ipv6Addr) -> bool {
    let of = flows
        .iter()
        .filter(|(_, flow)| flow.care_of == care_of.octets());
    let heard = of.map(|(_, flow)| flow.last_in).max();
    heard.is_some_and(|heard| Time::from_nanos(heard) > failed.before(THERE))
}
