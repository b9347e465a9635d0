//! An anycast address, and whether this host is a member of its group now.

use super::{GroupSettings, health::Checks};
use crate::core::Time;

/// Why this host is not a member of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unserved {
    /// As many checks in a row have failed as it takes.
    Ill,
    /// It left the group, or drains.
    Left,
    /// The checks have not said yet how the service is. It may have been well until this run began.
    Unknown,
}

/// What the operator and the health checks want of a group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) settings: GroupSettings,
    /// Whether the configuration or the last `join` or `leave` wants the membership.
    pub(super) wanted: bool,
    /// Since when the group is draining, if it is. A drain overrides everything else.
    pub(super) draining: Option<Time>,
    pub(super) checks: Option<Checks>,
    /// Whether routers have been told of the membership.
    pub(super) joined: bool,
}

impl Group {
    pub(super) fn new(settings: GroupSettings, now: Time) -> Self {
        Self {
            wanted: false,
            draining: None,
            checks: settings.health.map(|health| Checks::new(health, now)),
            joined: false,
            settings,
        }
    }

    /// Why this host is not a member, if it is not one.
    pub(super) fn unserved(&self) -> Option<Unserved> {
        if self.joined {
            return None;
        }
        let is_ill = self.checks.as_ref().is_some_and(Checks::is_ill);
        let waits = self.wanted && self.draining.is_none();
        Some(match (is_ill, waits) {
            (true, _) => Unserved::Ill,
            (false, true) => Unserved::Unknown,
            (false, false) => Unserved::Left,
        })
    }

    /// Whether routers should be told of the membership.
    pub(super) fn should_join(&self) -> bool {
        let is_up = self.checks.as_ref().is_none_or(Checks::is_up);
        self.wanted && self.draining.is_none() && is_up
    }
}
