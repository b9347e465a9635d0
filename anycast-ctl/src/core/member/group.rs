//! An anycast address, and whether we are a member now.

use super::{GroupSettings, health::Checks};
use crate::core::Time;

/// What the operator, the checks and the state of the world say about a group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) settings: GroupSettings,
    /// The operator's or the configuration's will: `join` and `leave`.
    pub(super) wanted: bool,
    /// Draining, and since when. It goes before everything else.
    pub(super) draining: Option<Time>,
    pub(super) checks: Option<Checks>,
    /// Whether routers are told.
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

    /// Whether routers should be told.
    pub(super) fn should_join(&self) -> bool {
        let healthy = self.checks.as_ref().is_none_or(Checks::is_up);
        self.wanted && self.draining.is_none() && healthy
    }
}
