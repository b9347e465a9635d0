//! What ends before its time at one gateway of a fleet, and therefore at all.

use std::{collections::HashMap, net::Ipv6Addr, time::Duration};

use anycast_common::{
    abi::{
        event::TrialFailed,
        maps::{Flow, FlowKey},
    },
    wire::ipv6,
};

use super::{Correspondent, elsewhere::Late, selection::Selection};
use crate::core::{
    Action, Actions, MapAction, Time, counters::Counter, fleet::End, notice::BindingChange,
};

/// A member that was heard within this time has not failed, whatever another gateway says.
const THERE: Duration = Duration::from_millis(2500);
/// A flow that began elsewhere is known so much later here, and seems to have begun then.
const HEARD_LATER: Duration = Duration::from_secs(1);

impl Correspondent {
    /// Tells the others that something has ended.
    pub(super) fn tell_end(&mut self, now: Time, end: &End, actions: &mut Actions) {
        if let Some(bus) = &mut self.bus {
            bus.ends(now, &[(now, *end)], actions);
            self.elsewhere.remember(now, Late::own(now, *end));
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
        self.tell_end(now, &end, actions);
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

    /// Ends flows of a sweep that have ended elsewhere. The reading began at `now`. Gives those that go on.
    pub(super) fn end_elsewhere<'a>(
        &mut self,
        now: Time,
        flows: &'a [(FlowKey, Flow)],
        actions: &mut Actions,
    ) -> Vec<&'a (FlowKey, Flow)> {
        let (mut over, mut failed) = (Vec::new(), HashMap::new());
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
                    over.push((at, which));
                }
                // The other gateway has lost its own way to it.
                End::Failed(care_of) if answers(at, flows, care_of) => {
                    self.counters.count(Counter::FleetEndContradicted);
                }
                End::Failed(care_of) => {
                    self.counters.count(Counter::FleetEnds);
                    let which = Selection::of(care_of);
                    self.unbind(now, at, &which, BindingChange::Failed, actions);
                    failed.insert(care_of.octets(), at);
                }
                // It was done at once.
                End::Opened { .. } => {}
            }
        }
        let flushed = |key: &FlowKey, flow: &Flow| {
            let (client, anycast) = (key.client.into(), key.anycast.into());
            let mut over = over.iter();
            over.any(|(at, which)| {
                which.holds(client, anycast, flow.care_of.into()) && began_before(*at, flow)
            })
        };
        let failed = |key: &FlowKey, flow: &Flow| {
            let at = failed.get(&flow.care_of);
            at.is_some_and(|at| began_before(*at, flow)) && !waits(key, flow)
        };
        let mut rest = Vec::with_capacity(flows.len());
        for known in flows {
            let (key, flow) = *known;
            if flushed(&key, &flow) {
                // Also one that goes on meanwhile, which a member that has failed does not have.
                actions.push(Action::Map(MapAction::EndFlow { key, flow }));
            } else if failed(&key, &flow) {
                actions.push(Action::Map(MapAction::RemoveFlow { key, flow }));
            } else {
                rest.push(known);
            }
        }
        rest
    }
}

/// Whether a connection has nothing to wait for. It may be the other gateway that has lost its way to the member, and
/// elsewhere the connection would be reset; if the member is gone, the next segment finds that out here.
fn waits(key: &FlowKey, flow: &Flow) -> bool {
    key.protocol == ipv6::NEXT_HEADER_TCP && flow.answered != 0 && flow.last_in >= flow.last_out
}

/// Whether a flow is of before an end, and not of a binding that was made since.
fn began_before(at: Time, flow: &Flow) -> bool {
    Time::from_nanos(flow.pinned_at) <= at + HEARD_LATER
}

/// Whether a member was heard here just before it failed elsewhere, or later.
fn answers(failed: Time, flows: &[(FlowKey, Flow)], care_of: Ipv6Addr) -> bool {
    let of = flows
        .iter()
        .filter(|(_, flow)| flow.care_of == care_of.octets());
    let heard = of.map(|(_, flow)| flow.last_in).max();
    heard.is_some_and(|heard| Time::from_nanos(heard) > failed.before(THERE))
}
