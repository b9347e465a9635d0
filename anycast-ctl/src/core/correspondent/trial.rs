//! What happens to a binding when one of its flows fails on trial.

use std::{net::Ipv6Addr, time::Duration};

use anycast_common::abi::{counters as data_plane, event::TrialFailed, maps::FlowKey};

use super::{Correspondent, triple::Triple};
use crate::core::{Action, Actions, Notice, Time, counters::Counter, notice::BindingChange};

/// Another gateway may not have heard of a binding that is as young as this: one that saw the answers passed them as
/// they were, and so the client's host disowned them.
const YOUNG: Duration = Duration::from_secs(3);
/// A pair (A, C) works if another flow of it was answered within this time.
const LATELY: Duration = Duration::from_secs(30);

/// The name of the counter that says that answers came by another way.
const ELSEWHERE: &str = data_plane::Counter::FlowAnsweredElsewhere.name();

impl Correspondent {
    /// Handles that a flow of this triple failed on trial, and is open again. `reason` is the name of the counter that
    /// says why.
    pub fn trial_failed(
        &mut self,
        now: Time,
        failed: &TrialFailed,
        reason: &'static str,
        actions: &mut Actions,
    ) {
        self.counters.count(Counter::TrialFailed);
        let TrialFailed { flow, care_of } = failed;
        let triple = Triple {
            client: flow.client.into(),
            anycast: flow.anycast.into(),
            care_of: (*care_of).into(),
        };
        let Triple {
            client,
            anycast,
            care_of,
        } = triple;
        let young = |since| now.since(since) < YOUNG;
        let live = self.cache.get(triple);
        let unheard =
            reason == ELSEWHERE && self.has_others() && live.is_some_and(|live| young(live.since));
        let in_order = unheard || self.in_use.answered_since(client, care_of, now, LATELY);
        self.tell_trial(now, failed, !in_order, actions);
        let left_alone = if in_order {
            None
        } else {
            self.trials.failed(now, client, care_of, anycast)
        };
        actions.push(Action::Notice(Notice::TrialFailed {
            client,
            anycast,
            care_of,
            protocol: flow.protocol,
            client_port: u16::from_be_bytes(flow.client_port),
            service_port: u16::from_be_bytes(flow.service_port),
            reason,
            left_alone: left_alone.map(|time| time.as_secs()),
        }));
        if !in_order && self.end(now, triple, BindingChange::Failed, actions) {
            self.counters.count(Counter::BindingFailed);
        }
    }

    /// Another gateway leaves a pair (A, C) alone since this time: it had a flow that failed on trial, and no other
    /// that was answered. So does this one, unless it knows of one.
    pub(super) fn leave_alone(
        &mut self,
        now: Time,
        since: Time,
        flow: &FlowKey,
        care_of: Ipv6Addr,
        actions: &mut Actions,
    ) {
        let triple = Triple {
            client: flow.client.into(),
            anycast: flow.anycast.into(),
            care_of,
        };
        let Triple {
            client, anycast, ..
        } = triple;
        if self.in_use.answered_since(client, care_of, now, LATELY) {
            return self.counters.count(Counter::FleetEndContradicted);
        }
        self.trials.failed(since, client, care_of, anycast);
        let alone = self.trials.is_alone(now, client, care_of);
        if alone && self.end(now, triple, BindingChange::Failed, actions) {
            self.counters.count(Counter::BindingFailed);
        }
    }
}
