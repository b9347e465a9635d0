//! The members of one anycast address on one link.

use std::{collections::BTreeMap, net::Ipv6Addr};

use super::member::{Admission, State};
use crate::core::Time;

/// A member of a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) state: State,
    /// Time at which the member joined.
    pub(super) since: Time,
    /// Position in the order of all joins, since the clock may give the same time for two of them.
    pub(super) order: u64,
    /// The policy's decision about its last Report.
    pub(super) admission: Admission,
}

/// The purpose of Address-Specific Queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// They check whether a member is still there.
    Check,
    /// They refresh the memberships, because no General Queries are sent.
    Refresh,
}

/// The members of one anycast address on one link.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) members: BTreeMap<Ipv6Addr, Member>,
    /// Time of the last Address-Specific Query.
    pub(super) last_query: Option<Time>,
    /// Number of members that are being checked.
    checks: usize,
    /// Number of Queries still to be sent for a check.
    check: u8,
    /// Number of Queries still to be sent for a refresh.
    refresh: u8,
}

impl Group {
    /// Puts a member into another state. `Absent` removes it.
    pub(super) fn set(&mut self, address: Ipv6Addr, state: State) {
        let Some(member) = self.members.get_mut(&address) else {
            return;
        };
        self.checks -= usize::from(member.state == State::Checking);
        self.checks += usize::from(state == State::Checking);
        member.state = state;
        if state == State::Absent {
            self.members.remove(&address);
        }
        if self.checks == 0 {
            self.check = 0;
        }
    }

    /// Whether any member is being checked ("Checking Listeners").
    pub(super) fn is_checking(&self) -> bool {
        self.checks > 0
    }

    /// Asks for `count` Queries to be sent.
    pub(super) fn want(&mut self, purpose: Purpose, count: u8) {
        match purpose {
            Purpose::Check => self.check = count,
            Purpose::Refresh => self.refresh = count,
        }
    }

    /// Cancels the Queries that [`Purpose::Refresh`] asked for.
    pub(super) fn end_refresh(&mut self) {
        self.refresh = 0;
    }

    /// Whether Queries are still to be sent.
    pub(super) fn wants(&self) -> bool {
        self.check > 0 || self.refresh > 0
    }

    /// Notes that a Query was sent, which serves both purposes.
    pub(super) fn asked(&mut self, now: Time) {
        self.check = self.check.saturating_sub(1);
        self.refresh = self.refresh.saturating_sub(1);
        self.last_query = Some(now);
    }
}
