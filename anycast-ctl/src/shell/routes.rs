//! Keeps the kernel's routes equal to those that the core wants.

mod adopted;
mod refused;
mod resilience;
mod tables;
mod zebra;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use self::{
    adopted::Adopted,
    refused::{Failure, Refused},
    resilience::Resilience,
    tables::Tables,
    zebra::Zebra,
};
use super::{
    netlink::{NexthopNews, RouteNews, requests::Requests},
    reconcile::{Change, Known},
};
use crate::{
    core::{NextHop, RouteAction},
    model::route::{RoutePlace, RouteSettings, Style},
};

/// Delay of a comparison after a notification, so that a burst of notifications causes only one.
const SETTLE: Duration = Duration::from_millis(100);
/// Delay of the next comparison after the kernel refused a change.
const RETRY: Duration = Duration::from_secs(1);
/// Time between two comparisons when nothing is known to be wrong.
const PERIOD: Duration = Duration::from_secs(30);

/// The routes of the router role.
#[derive(Debug)]
pub struct Routes {
    settings: RouteSettings,
    kernel: Tables,
    desired: BTreeMap<Ipv6Addr, Vec<NextHop>>,
    adopted: Adopted,
    /// Addresses whose route was requested since the last flush.
    changed: BTreeSet<Ipv6Addr>,
    /// What the kernel has. `None` while it has to be read first.
    known: Option<Known>,
    zebra: Zebra,
    resilience: Resilience,
    /// Time of the next comparison with the kernel's tables.
    due: Instant,
    refused: Refused,
}

impl Routes {
    /// Adopts the routes of a run that crashed. These routes and their next hops stay for `grace`, in which members can
    /// report again. Those whose members did not are removed then.
    #[must_use]
    pub fn new(settings: RouteSettings, kernel: Requests, grace: Duration) -> Self {
        let now = Instant::now();
        Self {
            settings,
            kernel: Tables::new(kernel),
            desired: BTreeMap::new(),
            adopted: Adopted::until(now + grace),
            changed: BTreeSet::new(),
            known: None,
            zebra: Zebra::new(),
            resilience: Resilience::new(settings.style),
            due: now,
            refused: Refused::new(),
        }
    }

    /// Time at which [`Routes::reconcile`] has to be called.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Next hops of routes of an earlier run whose members have neither reported nor left yet.
    pub fn adopted(&self) -> impl Iterator<Item = (Ipv6Addr, NextHop)> + '_ {
        self.adopted.all()
    }

    /// Number of routes that the core wants.
    #[must_use]
    pub fn count(&self) -> usize {
        self.desired.len()
    }

    /// How next hops are written. This differs from the configuration when the kernel refused what that asks for.
    #[must_use]
    pub fn style(&self) -> Style {
        self.settings.style
    }

    /// Why next hops are not resilient groups although they are to be.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let is_plain = self.settings.style == Style::Plain;
        self.resilience.problem().filter(|_| is_plain)
    }

    /// Notes an action of the core, for the next flush.
    pub fn apply(&mut self, action: RouteAction) {
        match action {
            RouteAction::Set { anycast, next_hops } => self.set(anycast, next_hops),
            RouteAction::Remove { anycast } => self.remove(anycast),
        }
    }

    /// From the next flush on, `anycast` has a route with exactly these next hops.
    pub fn set(&mut self, anycast: Ipv6Addr, next_hops: Vec<NextHop>) {
        let old = self.desired.insert(anycast, next_hops);
        self.disown(anycast, old);
    }

    /// From the next flush on, `anycast` has no route of ours.
    pub fn remove(&mut self, anycast: Ipv6Addr) {
        let old = self.desired.remove(&anycast);
        self.disown(anycast, old);
    }

    /// Removes the next hops of a member that joined and left, even if an earlier run had them as well.
    fn disown(&mut self, anycast: Ipv6Addr, old: Option<Vec<NextHop>>) {
        self.changed.insert(anycast);
        let new = self.desired.get(&anycast).map_or(&[][..], Vec::as_slice);
        let gone = old.into_iter().flatten().filter(|hop| !new.contains(hop));
        self.adopted.left(anycast, gone);
    }

    /// Whether anything was requested since the last flush.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Changes the kernel's routes to those that were requested since the last flush, all in one batch.
    pub fn flush(&mut self) {
        if self.changed.is_empty() {
            return;
        }
        let Some(mut known) = self.known.take() else {
            return self.reconcile();
        };
        let mut changes = Vec::new();
        for anycast in std::mem::take(&mut self.changed) {
            known.align(anycast, &self.wanted(anycast), &mut changes);
        }
        known.sweep(&mut changes);
        if self.perform(changes).is_empty() {
            self.known = Some(known);
        } else {
            // The kernel's routes are not what this process expected.
            self.reconcile();
        }
    }

    /// Handles a notification of the kernel about a route.
    pub fn notified(&mut self, news: &RouteNews) {
        let Some(known) = &self.known else {
            return;
        };
        let key = &news.route.key;
        let ours = news.protocol == self.settings.place.protocol;
        let expected = match (known.way(key), ours, news.deleted) {
            (Some(way), true, false) => *way == news.route.way,
            // Either another process has deleted our route, or another daemon has put its own in its place.
            (Some(_), true, true) | (Some(_), false, false) => false,
            (Some(_), false, true) => true,
            (None, true, deleted) => deleted,
            // Our route can be added when that of another daemon is deleted.
            (None, false, true) => !self.desired.contains_key(&key.destination.addr()),
            (None, false, false) => true,
        };
        if !expected {
            self.resync();
        }
    }

    /// Handles a notification of the kernel about a next-hop object. With `net.ipv4.nexthop_compat_mode` 0 the kernel
    /// does not tell of the routes that go with one.
    pub fn nexthop_notified(&mut self, news: &NexthopNews) {
        if self.zebra.notified(&self.settings, news) {
            self.due_in(SETTLE);
        }
        let Some(known) = &self.known else {
            return;
        };
        // Changes of this process itself are known.
        if news.by != self.kernel.port() && !known.expects(&news.object, news.deleted) {
            self.resync();
        }
    }

    /// Handles that a link with members went down or came back. The kernel tells of no route and no next-hop object
    /// that it removes with the carrier, and packets wait for those that come back.
    pub fn link_changed(&mut self) {
        self.known = None;
        self.due = Instant::now();
    }

    /// Handles that notifications were lost.
    pub fn resync(&mut self) {
        self.known = None;
        self.due_in(SETTLE);
    }

    /// Compares the whole table with what is wanted, and repairs it.
    pub fn reconcile(&mut self) {
        let now = Instant::now();
        self.due = now + PERIOD;
        if let Some(style) = self.resilience.try_again(now) {
            self.settings.style = style;
            self.look_for_zebra();
        }
        let first = self.settings.style;
        let mut failures = self.repair();
        self.look_for_zebra();
        if self.settings.style != first {
            failures = self.repair();
        }
        if !failures.is_empty() {
            self.due_in(RETRY);
        }
        self.refused.complain(self.settings.place, &failures);
    }

    fn look_for_zebra(&mut self) {
        let before = self.settings.style;
        self.zebra.look(&mut self.settings);
        if self.settings.style != before {
            self.resilience.end();
        }
    }

    /// Reads the table and repairs it once. Gives the changes that failed.
    fn repair(&mut self) -> Vec<Failure> {
        self.known = None;
        self.changed.clear();
        let Some(mut known) = self.read() else {
            return Vec::new();
        };
        let grace = self.in_grace();
        self.adopted.look(&known, grace);
        let mut changes = Vec::new();
        if !grace {
            for stray in known.strays() {
                known.remove(stray, &mut changes);
            }
        }
        let both: BTreeSet<_> = known
            .anycast()
            .chain(self.desired.keys().copied())
            .collect();
        for anycast in both {
            known.align(anycast, &self.wanted(anycast), &mut changes);
        }
        known.sweep(&mut changes);
        for change in &changes {
            tracing::debug!(target: "anycast::router", ?change, "correcting the kernel's routes");
        }
        let failures = self.perform(changes);
        self.fall_back(&failures);
        self.known = self.after(known, &failures);
        failures
    }

    /// What the kernel has after these changes failed. `None` when that is not clear.
    fn after(&mut self, mut known: Known, failures: &[Failure]) -> Option<Known> {
        for (failed, _) in failures {
            match failed {
                Change::Add { anycast, .. } => {
                    let key = known.key(*anycast);
                    known.forget(&key);
                }
                _ => return None,
            }
        }
        let mut changes = Vec::new();
        known.sweep(&mut changes);
        self.perform(changes).is_empty().then_some(known)
    }

    /// Uses plain multipath where the kernel has no resilient groups, or refuses those of this configuration.
    fn fall_back(&mut self, failures: &[Failure]) {
        if let Some(error) = refused::resilient_groups(failures) {
            let now = Instant::now();
            self.settings.style = self.resilience.refused(error, now);
            if let Some(again) = self.resilience.again() {
                self.due_in(again - now);
            }
        }
    }

    /// Removes what a daemon that no longer runs has left: all routes of this protocol, and next-hop objects. Gives the
    /// number of routes that there were.
    ///
    /// # Errors
    ///
    /// When the kernel does not give them, or some are left.
    pub fn clear(kernel: Requests, protocol: u8) -> io::Result<usize> {
        // Those in other tables and with other metrics are removed as strays.
        let place = RoutePlace {
            table: u32::from(nix::libc::RT_TABLE_MAIN),
            metric: 1,
            protocol,
        };
        let settings = RouteSettings {
            place,
            style: Style::Plain,
            multipath: true,
            plain_beside_zebra: false,
        };
        let mut routes = Self::new(settings, kernel, Duration::ZERO);
        let unread = || io::Error::other("cannot read the routing tables");
        let there = routes.read().ok_or_else(unread)?.count();
        routes.withdraw();
        match routes.read().ok_or_else(unread)?.count() {
            0 => Ok(there),
            left => Err(io::Error::other(format!("{left} of {there} are left"))),
        }
    }

    /// Removes every route of ours.
    pub fn withdraw(&mut self) {
        self.desired.clear();
        self.adopted.end();
        self.reconcile();
    }

    /// The next hops that the route of an address must have now.
    fn wanted(&self, anycast: Ipv6Addr) -> Vec<NextHop> {
        let desired = self.desired.get(&anycast);
        let adopted = self.adopted.of(anycast);
        match (desired, adopted) {
            (None, None) => Vec::new(),
            (Some(desired), None) => desired.clone(),
            (None, Some(adopted)) => adopted.iter().copied().collect(),
            (Some(desired), Some(adopted)) => {
                let mut both = adopted.clone();
                if self.settings.multipath {
                    both.extend(desired);
                }
                both.into_iter().collect()
            }
        }
    }

    fn in_grace(&mut self) -> bool {
        let grace = self.adopted.grace();
        if let Some(end) = grace {
            self.due = self.due.min(end);
        }
        grace.is_some()
    }

    fn read(&mut self) -> Option<Known> {
        match self.kernel.read(self.settings) {
            Ok(known) => Some(known),
            Err(error) => {
                tracing::warn!(target: "anycast::router", %error, "cannot read the routing tables");
                self.due_in(RETRY);
                None
            }
        }
    }

    /// Lets the kernel execute all changes, and gives those that failed.
    fn perform(&mut self, changes: Vec<Change>) -> Vec<Failure> {
        let is_group = |change: &Change| matches!(change, Change::MakeGroup { .. });
        let makes = self.settings.style != Style::Plain && changes.iter().any(is_group);
        let failures = self.kernel.perform(self.settings, changes);
        if makes && !failures.iter().any(|(change, _)| is_group(change)) {
            self.resilience.accepted();
        }
        failures
    }

    fn due_in(&mut self, delay: Duration) {
        self.due = self.due.min(Instant::now() + delay);
    }
}
