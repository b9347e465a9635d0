//! Which pairs (A, C) have bound flows, by the last sweep.

use std::{net::Ipv6Addr, time::Duration};

use crate::core::{Time, flows::Use, hash::Map};

/// The flows of each pair (A, C), which stands for one anycast address.
#[derive(Debug, Default)]
pub(super) struct InUse {
    pub(super) flows: Map<(Ipv6Addr, Ipv6Addr), Use>,
    /// When the flows were read. `None` before the first time.
    pub(super) at: Option<Time>,
}

impl InUse {
    pub(super) fn counted(at: Time, flows: Map<(Ipv6Addr, Ipv6Addr), Use>) -> Self {
        Self {
            flows,
            at: Some(at),
        }
    }

    /// Whether a flow of the pair that is not on trial was answered within this time.
    pub(super) fn answered_since(
        &self,
        client: Ipv6Addr,
        care_of: Ipv6Addr,
        now: Time,
        time: Duration,
    ) -> bool {
        let used = self.flows.get(&(client, care_of));
        used.is_some_and(|used| used.answered != Time::ZERO && now.since(used.answered) < time)
    }
}
