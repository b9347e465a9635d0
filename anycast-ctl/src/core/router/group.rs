//! The members of one anycast address on one link.

use std::{collections::BTreeMap, net::Ipv6Addr};

use super::member::{Admission, Diagram, State};
use crate::core::Time;

/// A member of a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) state: State,
    /// When it joined.
    pub(super) since: Time,
    /// Position in the order of all joins: a clock may give the same time twice.
    pub(super) order: u64,
    /// What the policy found about its last Report.
    pub(super) admission: Admission,
}

/// Why Address-Specific Queries are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A member said Done.
    Check,
    /// No General Queries are sent.
    Refresh,
}

/// One address on one link.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) members: BTreeMap<Ipv6Addr, Member>,
    /// When the last Address-Specific Query went out.
    pub(super) last_query: Option<Time>,
    /// Members whose check this router began.
    own_checks: usize,
    /// Queries still to be sent for a check.
    check: u8,
    /// Queries still to be sent for a refresh.
    refresh: u8,
}

impl Group {
    /// Puts a member in another state; `Absent` removes it.
    pub(super) fn set(&mut self, address: Ipv6Addr, state: State) {
        let Some(member) = self.members.get_mut(&address) else {
            return;
        };
        self.own_checks -= own(member.state);
        self.own_checks += own(state);
        member.state = state;
        if state == State::Absent {
            self.members.remove(&address);
        }
        if self.own_checks == 0 {
            self.check = 0;
        }
    }

    /// Whether any member is being checked ("Checking Listeners").
    pub(super) fn is_checking(&self) -> bool {
        self.members
            .values()
            .any(|member| matches!(member.state, State::Checking(_)))
    }

    /// Has `count` Queries sent.
    pub(super) fn want(&mut self, purpose: Purpose, count: u8) {
        match purpose {
            Purpose::Check => self.check = count,
            Purpose::Refresh => self.refresh = count,
        }
    }

    /// Takes back what [`Purpose::Refresh`] wanted.
    pub(super) fn end_refresh(&mut self) {
        self.refresh = 0;
    }

    /// Whether Queries are still to be sent.
    pub(super) fn wants(&self) -> bool {
        self.check > 0 || self.refresh > 0
    }

    /// One Query goes out; it serves both purposes.
    pub(super) fn asked(&mut self, now: Time) {
        self.check = self.check.saturating_sub(1);
        self.refresh = self.refresh.saturating_sub(1);
        self.last_query = Some(now);
    }
}

fn own(state: State) -> usize {
    match state {
        State::Checking(Diagram::Querier) => 1,
        State::Absent | State::Present | State::Checking(Diagram::NonQuerier) => 0,
    }
}
