//! Keeps the kernel's routes as the core wants them.

mod tables;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use nix::libc;
use tables::Tables;

use super::{
    netlink::{NetlinkError, RouteNews, requests::Requests},
    reconcile::{Change, Known},
    throttle::Throttle,
};
use crate::{
    core::{NextHop, RouteAction},
    model::route::{RoutePlace, RouteSettings, Style},
};

/// After a notification: time for a burst of them to end.
const SETTLE: Duration = Duration::from_millis(100);
/// After a refusal.
const RETRY: Duration = Duration::from_secs(1);
/// When nothing is known to be wrong.
const PERIOD: Duration = Duration::from_secs(30);

/// The routes of the router role.
#[derive(Debug)]
pub struct Routes {
    settings: RouteSettings,
    kernel: Tables,
    desired: BTreeMap<Ipv6Addr, Vec<NextHop>>,
    /// What the kernel had of an earlier run, and no member has claimed or given up yet.
    adopted: BTreeMap<Ipv6Addr, BTreeSet<NextHop>>,
    /// The kernel's routes have not been read yet.
    first: bool,
    /// Asked for since the last flush.
    changed: BTreeSet<Ipv6Addr>,
    /// None while the kernel has to be read first.
    known: Option<Known>,
    /// Routes of an earlier run that nobody has claimed yet stay until then.
    grace: Option<Instant>,
    /// When the kernel's tables are compared next.
    due: Instant,
    refused: Throttle<Ipv6Addr>,
}

impl Routes {
    /// Routes of a run that crashed are adopted: they and their next hops stay for `grace`, in
    /// which members can report again, and those are removed that did not.
    #[must_use]
    pub fn new(settings: RouteSettings, kernel: Requests, grace: Duration) -> Self {
        let now = Instant::now();
        Self {
            settings,
            kernel: Tables::new(kernel),
            desired: BTreeMap::new(),
            adopted: BTreeMap::new(),
            first: true,
            changed: BTreeSet::new(),
            known: None,
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

    /// What an earlier run has left, and no member has claimed or given up yet.
    pub fn adopted(&self) -> impl Iterator<Item = (Ipv6Addr, NextHop)> + '_ {
        let hops = |(anycast, hops): (&Ipv6Addr, &BTreeSet<NextHop>)| {
            let anycast = *anycast;
            hops.iter().map(|hop| (anycast, *hop)).collect::<Vec<_>>()
        };
        self.adopted.iter().flat_map(hops)
    }

    /// How many routes the core wants.
    #[must_use]
    pub fn count(&self) -> usize {
        self.desired.len()
    }

    /// How next hops are written, which is not what was asked for when the kernel refused that.
    #[must_use]
    pub fn style(&self) -> Style {
        self.settings.style
    }

    /// Takes over what the core wants, for the next flush.
    pub fn apply(&mut self, action: RouteAction) {
        match action {
            RouteAction::Set { anycast, next_hops } => self.set(anycast, next_hops),
            RouteAction::Remove { anycast } => self.remove(anycast),
        }
    }

    /// A route of `anycast` with exactly these next hops is wanted, from the next flush on.
    pub fn set(&mut self, anycast: Ipv6Addr, next_hops: Vec<NextHop>) {
        let old = self.desired.insert(anycast, next_hops);
        self.disown(anycast, old);
    }

    /// No route of ours for `anycast` is wanted, from the next flush on.
    pub fn remove(&mut self, anycast: Ipv6Addr) {
        let old = self.desired.remove(&anycast);
        self.disown(anycast, old);
    }

    /// A member that came and went has no claim to what an earlier run did for it.
    fn disown(&mut self, anycast: Ipv6Addr, old: Option<Vec<NextHop>>) {
        self.changed.insert(anycast);
        let Some(adopted) = self.adopted.get_mut(&anycast) else {
            return;
        };
        let new = self.desired.get(&anycast).map_or(&[][..], Vec::as_slice);
        for hop in old.unwrap_or_default() {
            if !new.contains(&hop) {
                adopted.remove(&hop);
            }
        }
        if adopted.is_empty() {
            self.adopted.remove(&anycast);
        }
    }

    /// Makes the kernel's routes what was asked for since the last flush, all in one go.
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
            // The kernel is not as we thought.
            self.reconcile();
        }
    }

    /// The kernel said something about a route.
    pub fn notified(&mut self, news: &RouteNews) {
        let Some(known) = &self.known else {
            return;
        };
        let key = &news.route.key;
        let ours = news.protocol == self.settings.place.protocol;
        let expected = match (known.way(key), ours, news.deleted) {
            (Some(way), true, false) => *way == news.route.way,
            // Either somebody has deleted ours, or another daemon has put its own in its place.
            (Some(_), true, true) | (Some(_), false, false) => false,
            (Some(_), false, true) => true,
            (None, true, deleted) => deleted,
            // Ours can come when another daemon's goes.
            (None, false, true) => !self.desired.contains_key(&key.destination.addr()),
            (None, false, false) => true,
        };
        if !expected {
            self.resync();
        }
    }

    /// What the kernel said was lost.
    pub fn resync(&mut self) {
        self.known = None;
        self.due_in(SETTLE);
    }

    /// Compares the whole table and repairs it.
    pub fn reconcile(&mut self) {
        self.due = Instant::now() + PERIOD;
        let first = self.settings.style;
        let mut failures = self.repair();
        if self.settings.style != first {
            failures = self.repair();
        }
        if !failures.is_empty() {
            self.due_in(RETRY);
        }
        for (change, error) in &failures {
            self.complain(change, error);
        }
    }

    /// Reads and repairs once; gives what failed.
    fn repair(&mut self) -> Vec<(Change, NetlinkError)> {
        self.known = None;
        self.changed.clear();
        let Some(mut known) = self.read() else {
            return Vec::new();
        };
        let grace = self.in_grace();
        self.adopt(&known, grace);
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

    /// What the kernel has when these have failed; none when that is not clear.
    fn after(&mut self, mut known: Known, failures: &[(Change, NetlinkError)]) -> Option<Known> {
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

    /// Where the kernel has no resilient groups, or not such ones, plain multipath has to do.
    fn fall_back(&mut self, failures: &[(Change, NetlinkError)]) {
        const REFUSALS: [i32; 4] = [libc::EINVAL, libc::EOPNOTSUPP, libc::ENOMEM, libc::ENOSPC];
        // Without its members a group fails for that reason.
        if failures
            .iter()
            .any(|(change, _)| matches!(change, Change::MakeHop { .. }))
        {
            return;
        }
        let refusal = failures.iter().find(|(change, error)| {
            matches!(change, Change::MakeGroup { .. })
                && error.errno().is_some_and(|errno| REFUSALS.contains(&errno))
        });
        if let Some((_, error)) = refusal {
            tracing::warn!(target: "anycast::router", %error,
                "the kernel refuses resilient next-hop groups: plain multipath from now on, where \
                 a member that comes or goes moves flows of others");
            self.settings.style = Style::Plain;
        }
    }

    /// Removes every route of ours.
    pub fn withdraw(&mut self) {
        self.desired.clear();
        self.grace = None;
        self.reconcile();
    }

    /// The next hops that the route of an address must have now.
    fn wanted(&self, anycast: Ipv6Addr) -> Vec<NextHop> {
        let desired = self.desired.get(&anycast);
        let adopted = self.adopted.get(&anycast);
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

    /// Next hops of an earlier run stay as long as the kernel itself keeps them.
    fn adopt(&mut self, known: &Known, grace: bool) {
        let present = known.anycast().map(|b| (b, known.next_hops(b)));
        let present = present.filter(|(_, hops)| !hops.is_empty());
        let earlier = std::mem::take(&mut self.adopted);
        if !grace {
            return;
        }
        self.adopted = if std::mem::take(&mut self.first) {
            present.collect()
        } else {
            let still = |(b, hops): (Ipv6Addr, BTreeSet<NextHop>)| {
                let hops: BTreeSet<_> = hops.intersection(earlier.get(&b)?).copied().collect();
                (!hops.is_empty()).then_some((b, hops))
            };
            present.filter_map(still).collect()
        };
    }

    fn in_grace(&mut self) -> bool {
        let now = Instant::now();
        self.grace = self.grace.filter(|end| now < *end);
        if let Some(end) = self.grace {
            self.due = self.due.min(end);
        }
        self.grace.is_some()
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

    /// Has the kernel do it all; gives what failed.
    fn perform(&mut self, changes: Vec<Change>) -> Vec<(Change, NetlinkError)> {
        self.kernel.perform(self.settings, changes)
    }

    fn complain(&mut self, change: &Change, error: &NetlinkError) {
        let destination = match change {
            Change::Add { anycast, .. } | Change::Replace { anycast, .. } => *anycast,
            Change::RemoveRoute(key) => key.destination.addr(),
            Change::MakeHop { .. }
            | Change::MakeGroup { .. }
            | Change::SetGroup { .. }
            | Change::RemoveObject { .. } => Ipv6Addr::UNSPECIFIED,
        };
        let Some(held) = self.refused.admit(destination, Instant::now()) else {
            return;
        };
        let RoutePlace { table, metric, .. } = self.settings.place;
        if matches!(change, Change::Add { .. }) && error.errno() == Some(libc::EEXIST) {
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
