//! Changes that the kernel refused: what that says about the kernel, and what the operator is told.

use std::{
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use nix::libc;

use crate::{
    model::route::RoutePlace,
    shell::{netlink::NetlinkError, reconcile::Change, throttle::Throttle},
};

/// A change that the kernel refused, and why.
pub(super) type Failure = (Change, NetlinkError);

/// Tells of refused changes, of each destination once in a while.
#[derive(Debug)]
pub(super) struct Refused {
    told: Throttle<Ipv6Addr>,
}

impl Refused {
    pub(super) fn new() -> Self {
        Self {
            told: Throttle::new(Duration::from_secs(60)),
        }
    }

    /// Tells the operator of each of these failures.
    pub(super) fn complain(&mut self, place: RoutePlace, failures: &[Failure]) {
        let is_down = |error: &NetlinkError| error.errno() == Some(libc::ENETDOWN);
        if let Some((change, _)) = failures.iter().find(|(_, error)| is_down(error)) {
            // What follows from that fails as well.
            tracing::debug!(target: "anycast::router", ?change, "a route waits for its link");
            return;
        }
        for (change, error) in failures {
            self.complain_of(place, change, error);
        }
    }

    fn complain_of(&mut self, place: RoutePlace, change: &Change, error: &NetlinkError) {
        let destination = match change {
            Change::Add { anycast, .. } | Change::Replace { anycast, .. } => *anycast,
            Change::RemoveRoute(key) => key.destination.addr(),
            Change::MakeHop { .. }
            | Change::MakeGroup { .. }
            | Change::SetGroup { .. }
            | Change::RemoveObject { .. } => Ipv6Addr::UNSPECIFIED,
        };
        let Some(held) = self.told.admit(destination, Instant::now()) else {
            return;
        };
        let RoutePlace { table, metric, .. } = place;
        if matches!(change, Change::Add { .. }) && error.errno() == Some(libc::EEXIST) {
            tracing::error!(target: "anycast::router", %destination, table, metric, held,
                "another daemon has a route with this destination and metric; ours waits for it \
                 to go, or choose another `metric`");
        } else {
            tracing::error!(target: "anycast::router", %destination, %error, ?change, held,
                "the kernel refused a route");
        }
    }
}

/// Why the kernel has no resilient groups, or refuses those of this configuration. `None` where these failures do not
/// say that.
pub(super) fn resilient_groups(failures: &[Failure]) -> Option<&NetlinkError> {
    const REFUSALS: [i32; 4] = [libc::EINVAL, libc::EOPNOTSUPP, libc::ENOMEM, libc::ENOSPC];
    // A group whose members are missing fails for that reason, and not because resilient groups are unsupported.
    if failures
        .iter()
        .any(|(change, _)| matches!(change, Change::MakeHop { .. }))
    {
        return None;
    }
    failures.iter().find_map(|(change, error)| {
        let refused = matches!(change, Change::MakeGroup { .. })
            && error.errno().is_some_and(|errno| REFUSALS.contains(&errno));
        refused.then_some(error)
    })
}
