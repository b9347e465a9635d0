//! An anycast address, and whether this host is a member of its group now.

use super::{GroupSettings, health::Checks};
use crate::core::Time;

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

    /// Whether the checks say that nothing serves the address.
    pub(super) fn is_ill(&self) -> bool {
        self.checks.as_ref().is_some_and(|checks| !checks.is_up())
    }

    /// Whether routers should be told of the membership.
    pub(super) fn should_join(&self) -> bool {
        self.wanted && self.draining.is_none() && !self.is_ill()
    }
}
