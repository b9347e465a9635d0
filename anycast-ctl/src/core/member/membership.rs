//! Which groups this host is in, by what the operator wants and what health checks say.

use std::net::Ipv6Addr;

use super::{CommandError, Finding, Member, group::Unserved, health::Step};
use crate::core::{Action, Actions, CheckAction, MapAction, Notice, Time, counters::Counter};

impl Member {
    /// Begins to serve `anycast`: as soon as its service is healthy, routers are told, and clients that come are bound.
    /// Ends a drain. Gives whether this host is a member now.
    pub fn join(
        &mut self,
        now: Time,
        anycast: Ipv6Addr,
        actions: &mut Actions,
    ) -> Result<bool, CommandError> {
        let group = self.group(anycast)?;
        group.wanted = true;
        group.draining = None;
        Ok(self.settle(now, anycast, actions))
    }

    /// Stops serving `anycast` to new clients. Flows that are bound to this member go on.
    pub fn leave(
        &mut self,
        now: Time,
        anycast: Ipv6Addr,
        actions: &mut Actions,
    ) -> Result<bool, CommandError> {
        self.group(anycast)?.wanted = false;
        Ok(self.settle(now, anycast, actions))
    }

    /// Leaves the group until [`Member::undrain`], whatever the checks say and the operator wanted before. Flows that
    /// are bound to this member go on.
    pub fn drain(
        &mut self,
        now: Time,
        anycast: Ipv6Addr,
        actions: &mut Actions,
    ) -> Result<bool, CommandError> {
        self.group(anycast)?.draining.get_or_insert(now);
        Ok(self.settle(now, anycast, actions))
    }

    /// Ends a drain. What was wanted before it applies again.
    pub fn undrain(
        &mut self,
        now: Time,
        anycast: Ipv6Addr,
        actions: &mut Actions,
    ) -> Result<bool, CommandError> {
        self.group(anycast)?.draining = None;
        Ok(self.settle(now, anycast, actions))
    }

    /// The groups that this host is not a member of, and why.
    pub fn unserved(&self) -> impl Iterator<Item = (Ipv6Addr, Unserved)> + '_ {
        let groups = self.groups.iter();
        groups.filter_map(|(anycast, group)| Some((*anycast, group.unserved()?)))
    }

    /// Handles the result of a check of the service at `anycast`.
    pub fn checked(
        &mut self,
        now: Time,
        anycast: Ipv6Addr,
        finding: Finding,
        actions: &mut Actions,
    ) {
        let group = self.groups.get_mut(&anycast);
        let checks = group.and_then(|group| group.checks.as_mut());
        let Some(checks) = checks else {
            return self.counters.count(Counter::HealthCheckLate);
        };
        let (before, passed) = (checks.is_up(), finding.passed);
        if !checks.found(now, finding) {
            return self.counters.count(Counter::HealthCheckLate);
        }
        self.counters.count(match passed {
            true => Counter::HealthCheckPassed,
            false => Counter::HealthCheckFailed,
        });
        self.judged(now, anycast, before, actions);
    }

    /// Starts the checks that are due, and gives up those that take too long.
    pub(super) fn poll_health(&mut self, now: Time, actions: &mut Actions) {
        let due: Vec<Ipv6Addr> = self
            .groups
            .iter()
            .filter(|(_, group)| group.checks.as_ref().is_some_and(|c| c.deadline() <= now))
            .map(|(anycast, _)| *anycast)
            .collect();
        for anycast in due {
            let group = self.groups.get_mut(&anycast);
            let Some(checks) = group.and_then(|group| group.checks.as_mut()) else {
                continue;
            };
            let before = checks.is_up();
            let step = checks.poll(now);
            let run = checks.run();
            match step {
                Some(Step::Start) => {
                    actions.push(Action::Check(CheckAction::Start { anycast, run }))
                }
                Some(Step::Abort) => {
                    self.counters.count(Counter::HealthCheckTimeout);
                    actions.push(Action::Check(CheckAction::Abort { anycast }));
                }
                None => {}
            }
            self.judged(now, anycast, before, actions);
        }
    }

    /// Joins or leaves when the verdict of the checks has changed.
    fn judged(&mut self, now: Time, anycast: Ipv6Addr, before: bool, actions: &mut Actions) {
        let group = self.groups.get(&anycast);
        let Some(checks) = group.and_then(|group| group.checks.as_ref()) else {
            return;
        };
        let healthy = checks.is_up();
        if healthy == before {
            return;
        }
        let said = checks.view(now).said.unwrap_or_default();
        actions.push(Action::Notice(Notice::Health {
            anycast,
            healthy,
            said,
        }));
        self.settle(now, anycast, actions);
    }

    /// Joins or leaves, by what the operator, the checks and a drain want together. Gives whether this host is a
    /// member.
    pub(super) fn settle(&mut self, now: Time, anycast: Ipv6Addr, actions: &mut Actions) -> bool {
        let Some(group) = self.groups.get_mut(&anycast) else {
            return false;
        };
        let should = group.should_join();
        let report_clients = group.settings.care_of.is_some();
        let is = std::mem::replace(&mut group.joined, should);
        if should && !is {
            actions.push(Action::Map(MapAction::SetLocalAnycast {
                anycast,
                report_clients,
            }));
            for ifindex in self.ifindexes() {
                self.report_on(now, anycast, ifindex, actions);
            }
            let joined = true;
            actions.push(Action::Notice(Notice::Membership { anycast, joined }));
        } else if is && !should {
            let (handshakes, mut cx) = self.handshakes_mut(now, actions);
            handshakes.leave(anycast, &mut cx);
            self.part(now, anycast, actions);
        }
        should
    }
}
