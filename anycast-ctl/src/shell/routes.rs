//! Keeps the kernel's routes as the core wants them.

use std::{
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use ipnet::Ipv6Net;

use super::{
    netlink::{Netlink, NetlinkError, RoutePlace},
    reconcile::{Desired, Installed, RouteChange, diff},
    throttle::Throttle,
};
use crate::core::NextHop;

/// After a notification: time for a burst of them to end.
const SETTLE: Duration = Duration::from_millis(100);
/// After a refusal.
const RETRY: Duration = Duration::from_secs(1);
/// When nothing is known to be wrong.
const PERIOD: Duration = Duration::from_secs(30);

/// The routes of the router role.
#[derive(Debug)]
pub struct Routes {
    place: RoutePlace,
    desired: Desired,
    /// Routes of an earlier run that nobody has claimed yet stay until then.
    grace: Option<Instant>,
    /// When the kernel's table is compared next.
    due: Instant,
    refused: Throttle<Ipv6Addr>,
}

impl Routes {
    /// Routes of a run that crashed are adopted: they stay for `grace`, in which their members can
    /// report again, and are removed when they did not.
    #[must_use]
    pub fn new(place: RoutePlace, grace: Duration) -> Self {
        let now = Instant::now();
        Self {
            place,
            desired: Desired::new(),
            grace: Some(now + grace),
            due: now,
            refused: Throttle::new(Duration::from_secs(60)),
        }
    }

    /// When [`Routes::reconcile`] wants to be called.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.due
    }

    /// How many routes the core wants.
    #[must_use]
    pub fn count(&self) -> usize {
        self.desired.len()
    }

    /// A route of `anycast` with exactly these next hops.
    pub async fn set(&mut self, netlink: &Netlink, anycast: Ipv6Addr, next_hops: Vec<NextHop>) {
        self.desired.insert(anycast, next_hops);
        self.one(netlink, anycast).await;
    }

    /// No route of ours for `anycast`.
    pub async fn remove(&mut self, netlink: &Netlink, anycast: Ipv6Addr) {
        self.desired.remove(&anycast);
        let change = RouteChange::Remove {
            destination: Ipv6Net::from(anycast),
            metric: self.place.metric,
        };
        self.change(netlink, &change).await;
    }

    /// The kernel said something about the route to `destination`.
    pub fn notified(&mut self, destination: Ipv6Net) {
        if destination.prefix_len() == 128 && self.desired.contains_key(&destination.addr()) {
            self.due_in(SETTLE);
        }
    }

    /// What the kernel said was lost.
    pub fn resync(&mut self) {
        self.due_in(SETTLE);
    }

    /// Compares the whole table and repairs it.
    pub async fn reconcile(&mut self, netlink: &Netlink) {
        self.due = Instant::now() + PERIOD;
        let Some(actual) = self.actual(netlink).await else {
            return;
        };
        let in_grace = self.in_grace();
        for change in diff(&self.desired, &actual, self.place.metric) {
            if in_grace && matches!(change, RouteChange::Remove { .. }) {
                continue;
            }
            let result = netlink.change(self.place, &change).await;
            if result.is_ok() {
                tracing::info!(target: "anycast::router", ?change, "corrected a route of the kernel");
            }
            self.judge(&change, result);
        }
    }

    /// Removes every route of ours.
    pub async fn withdraw(&mut self, netlink: &Netlink) {
        self.desired.clear();
        self.grace = None;
        self.reconcile(netlink).await;
    }

    fn in_grace(&mut self) -> bool {
        let now = Instant::now();
        self.grace = self.grace.filter(|end| now < *end);
        if let Some(end) = self.grace {
            self.due = self.due.min(end);
        }
        self.grace.is_some()
    }

    /// Brings one route in line. Only a route that is ours is replaced, since the kernel's replace
    /// asks for destination and metric only and would take another daemon's.
    async fn one(&mut self, netlink: &Netlink, anycast: Ipv6Addr) {
        let Some(next_hops) = self.desired.get(&anycast).cloned() else {
            return;
        };
        let add = RouteChange::Add {
            anycast,
            next_hops: next_hops.clone(),
        };
        match netlink.change(self.place, &add).await {
            Err(error) if error.errno() == Some(nix::libc::EEXIST) => {}
            result => return self.judge(&add, result),
        }
        let Some(actual) = self.actual(netlink).await else {
            return;
        };
        let ours = |route: &&Installed| {
            route.destination == Ipv6Net::from(anycast) && route.metric == self.place.metric
        };
        match actual.iter().find(ours) {
            Some(route) if route.next_hops.as_ref() == Some(&next_hops) => {}
            Some(_) => {
                let replace = RouteChange::Replace { anycast, next_hops };
                self.change(netlink, &replace).await;
            }
            None => self.judge(
                &add,
                Err(NetlinkError::Refused(std::io::Error::from_raw_os_error(
                    nix::libc::EEXIST,
                ))),
            ),
        }
    }

    async fn change(&mut self, netlink: &Netlink, change: &RouteChange) {
        let result = netlink.change(self.place, change).await;
        self.judge(change, result);
    }

    async fn actual(&mut self, netlink: &Netlink) -> Option<Vec<Installed>> {
        match netlink.routes(self.place).await {
            Ok(actual) => Some(actual),
            Err(error) => {
                tracing::warn!(target: "anycast::router", %error, "cannot read the routing table");
                self.due_in(RETRY);
                None
            }
        }
    }

    fn judge(&mut self, change: &RouteChange, result: Result<(), NetlinkError>) {
        let Err(error) = result else {
            return;
        };
        self.due_in(RETRY);
        let destination = match change {
            RouteChange::Add { anycast, .. } | RouteChange::Replace { anycast, .. } => *anycast,
            RouteChange::Remove { destination, .. } => destination.addr(),
        };
        let Some(held) = self.refused.admit(destination, Instant::now()) else {
            return;
        };
        let RoutePlace { table, metric, .. } = self.place;
        if error.errno() == Some(nix::libc::EEXIST) {
            tracing::error!(target: "anycast::router", %destination, table, metric, held,
                "another daemon has a route with this destination and metric; ours waits for it \
                 to go, or choose another `metric`");
        } else {
            tracing::error!(target: "anycast::router", %destination, %error, ?change, held,
                "the kernel refused a route");
        }
    }

    fn due_in(&mut self, delay: Duration) {
        self.due = self.due.min(Instant::now() + delay);
    }
}
