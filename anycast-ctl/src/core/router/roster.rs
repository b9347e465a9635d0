//! The list of members, kept consistent with the groups, the counts for the caps, the timers and the routes.

use std::net::Ipv6Addr;

use super::{
    GroupKey, LinkId, Router, Timer,
    group::Member,
    member::{Admission, State},
};
use crate::core::{Action, Actions, NextHop, Notice, Time, notice::LeaveCause};

impl Router {
    pub(super) fn state(&self, key: GroupKey, source: Ipv6Addr) -> State {
        self.groups
            .get(&key)
            .and_then(|group| group.members.get(&source))
            .map_or(State::Absent, |member| member.state)
    }

    /// Number of members of an anycast address on all links.
    pub(super) fn members_of(&self, anycast: Ipv6Addr) -> usize {
        self.groups
            .range((anycast, LinkId::MIN)..=(anycast, LinkId::MAX))
            .map(|(_, group)| group.members.len())
            .sum()
    }

    /// Number of groups that a member is in.
    pub(super) fn groups_of(&self, id: LinkId, member: Ipv6Addr) -> usize {
        self.memberships.get(&(id, member)).copied().unwrap_or(0)
    }

    pub(super) fn join(
        &mut self,
        now: Time,
        key: GroupKey,
        source: Ipv6Addr,
        admission: Admission,
        actions: &mut Actions,
    ) {
        let (anycast, id) = key;
        self.joins += 1;
        let member = Member {
            state: State::Present,
            admission,
            since: now,
            order: self.joins,
        };
        let group = self.groups.entry(key).or_default();
        group.members.insert(source, member);
        let memberships = self.memberships.entry((id, source)).or_default();
        *memberships += 1;
        if *memberships == 1 {
            self.links[id].hosts += 1;
            self.pace_probes(now, id);
        }
        if self.links[id].groups.insert(anycast) {
            self.group_added(now, id);
        }
        if let Some(ifindex) = self.links[id].ifindex {
            let via = Some(source);
            self.routes.joined(anycast, NextHop { via, ifindex });
            actions.push(Action::Notice(Notice::MemberJoined {
                ifindex,
                anycast,
                member: source,
                rule: admission.rule,
            }));
        }
    }

    pub(super) fn leave(
        &mut self,
        key: GroupKey,
        source: Ipv6Addr,
        cause: LeaveCause,
        actions: &mut Actions,
    ) {
        let (anycast, id) = key;
        self.set_state(key, source, State::Absent);
        self.schedule.cancel(Timer::Member(key, source));
        if let Some(count) = self.memberships.get_mut(&(id, source)) {
            *count -= 1;
            if *count == 0 {
                self.memberships.remove(&(id, source));
                self.links[id].hosts -= 1;
            }
        }
        if self
            .groups
            .get(&key)
            .is_some_and(|group| group.members.is_empty())
        {
            self.groups.remove(&key);
            self.links[id].groups.remove(&anycast);
            self.schedule.cancel(Timer::Retransmit(key));
        }
        self.routes.changed(anycast);
        if let Some(ifindex) = self.links[id].ifindex {
            actions.push(Action::Notice(Notice::MemberLeft {
                ifindex,
                anycast,
                member: source,
                cause,
            }));
        }
    }

    /// Removes every member of a group.
    pub(super) fn disband(&mut self, key: GroupKey, cause: LeaveCause, actions: &mut Actions) {
        for member in self.members(key) {
            self.leave(key, member, cause, actions);
        }
    }

    /// Changes the state of a member. When the last check that this router began has ended, its effect is "clear
    /// retransmit timer".
    pub(super) fn set_state(&mut self, key: GroupKey, source: Ipv6Addr, state: State) {
        if let Some(group) = self.groups.get_mut(&key) {
            group.set(source, state);
            if !group.wants() {
                self.schedule.cancel(Timer::Retransmit(key));
            }
        }
    }

    /// Stores the policy's decision about a member's last Report.
    pub(super) fn renew(&mut self, key: GroupKey, source: Ipv6Addr, admission: Admission) {
        let group = self.groups.get_mut(&key);
        if let Some(member) = group.and_then(|group| group.members.get_mut(&source)) {
            member.admission = admission;
        }
    }

    /// Applies the present policy to every member again.
    pub(super) fn apply_policy(&mut self, actions: &mut Actions) {
        let keys: Vec<GroupKey> = self.groups.keys().copied().collect();
        for key in keys {
            for source in self.members(key) {
                self.judge(key, source, actions);
            }
        }
    }

    fn judge(&mut self, key: GroupKey, source: Ipv6Addr, actions: &mut Actions) {
        let group = self.groups.get_mut(&key);
        let Some(member) = group.and_then(|group| group.members.get_mut(&source)) else {
            return;
        };
        let interface = &self.links[key.1].settings.interface;
        let mac = member.admission.mac;
        match self.policy.admits(interface, source, mac, key.0) {
            Some((rule, _)) => member.admission.rule = rule,
            None => self.leave(key, source, LeaveCause::Policy, actions),
        }
    }

    /// The members of a group, in the order of their addresses.
    pub(super) fn members(&self, key: GroupKey) -> Vec<Ipv6Addr> {
        self.groups
            .get(&key)
            .map(|group| group.members.keys().copied().collect())
            .unwrap_or_default()
    }
}
