//! Performs the actions of the core.

use std::{net::Ipv6Addr, time::Instant};

use anycast_common::wire::ipv6;

use super::{
    api::monitor::{Event, Monitor},
    bus::Bus,
    clock,
    dataplane::{Dataplane, DataplaneError},
    groups::Groups,
    health::Checks,
    metrics::{Listener, Timings},
    netlink::LinkTable,
    notices::Notices,
    plane::Plane,
    reachability::Reachability,
    routes::Routes,
    sockets::{Outgoing, Sender},
    throttle::{PERIOD, Throttle},
};
use crate::core::{
    Action, Actions, MapAction, Notice, Time,
    member::Finding,
    refusals::{Mobility, Refusals, What},
};

/// Number of different refusals that are remembered.
const REFUSALS: usize = 128;
/// From so many changes of maps on a thread makes them, if nothing waits for them, and so many at a time.
const MANY: usize = 256;
const PART: usize = 4096;

/// Flows that the core wants to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// All that are pinned, and whether something waits for what is found.
    pub(super) all: Option<bool>,
    /// That a reading which is under way takes no longer than it has to.
    pub(super) hurry: bool,
    /// Those that were in use since then.
    pub(super) since: Option<Time>,
}

/// The parts of the daemon on which actions have an effect, except for the data plane.
#[derive(Debug)]
pub(super) struct Performer {
    routes: Option<Routes>,
    reachability: Option<Reachability>,
    checks: Checks,
    groups: Groups,
    sender: Sender,
    notices: Notices,
    monitor: Monitor,
    refusals: Refusals,
    mobility: Refusals<Mobility>,
    failures: Throttle<(&'static str, Option<i32>)>,
    send_failed: u64,
    map_failed: u64,
    timings: Timings,
    /// Who scrapes metrics comes by this.
    metrics: Option<Listener>,
    /// Why users of `read_group` cannot ask.
    not_admitted: Option<String>,
    bus: Option<Bus>,
}

impl Performer {
    pub(super) fn new(
        router: Option<(Routes, Reachability)>,
        sender: Sender,
        groups: Groups,
        monitor: Monitor,
        checks: Checks,
        timings: Timings,
        bus: Option<Bus>,
    ) -> Self {
        let (routes, reachability) = router.unzip();
        Self {
            routes,
            reachability,
            checks,
            groups,
            sender,
            notices: Notices::new(),
            monitor,
            refusals: Refusals::new(REFUSALS),
            mobility: Refusals::new(REFUSALS),
            failures: Throttle::new(PERIOD),
            send_failed: 0,
            map_failed: 0,
            timings,
            metrics: None,
            not_admitted: None,
            bus,
        }
    }

    /// The same with somewhere to scrape metrics, where the configuration says so.
    pub(super) fn with_metrics(self, metrics: Option<Listener>) -> Self {
        Self { metrics, ..self }
    }

    /// Why nobody can scrape metrics, where somebody should be able to.
    pub(super) fn metrics_problem(&self) -> Option<String> {
        self.metrics.as_ref().and_then(Listener::problem)
    }

    /// The same with why users of `read_group` cannot ask, where it is so.
    pub(super) fn with_not_admitted(self, not_admitted: Option<String>) -> Self {
        Self {
            not_admitted,
            ..self
        }
    }

    /// Why users of `read_group` cannot ask, where they should be able to.
    pub(super) fn not_admitted(&self) -> Option<&str> {
        self.not_admitted.as_deref()
    }

    /// Performs all `actions` and empties the list. Maps and multicast groups come first, in their order, so that a
    /// host which receives a packet, another gateway that gets a message, and who reads a notice find the state that it
    /// speaks of. Many changes of maps of which nothing speaks may be made later, by a thread, but in their order.
    /// Packets follow in their order, and routes come last. An action that fails is logged and counted, and does not
    /// stop the others. Gives which flows the core wants to see.
    pub(super) fn perform(&mut self, actions: &mut Actions, plane: &mut Plane) -> Wanted {
        let (dataplane, links) = plane.parts();
        let (mut outgoing, mut maps) = (Vec::new(), Vec::new());
        let mut wanted = Wanted::default();
        let is_state = |action: &mut Action| matches!(action, Action::Map(_) | Action::Group(_));
        for action in actions.extract_if(.., is_state) {
            match action {
                Action::Group(action) => {
                    self.maps(&mut maps, dataplane);
                    self.groups.apply(action);
                }
                Action::Map(action) => {
                    maps.push(action);
                    if maps.len() >= PART {
                        self.maps_later(&mut maps, dataplane);
                    }
                }
                _ => {}
            }
        }
        let waits = actions.iter().any(|action| self.waits(action));
        if waits || (1..MANY).contains(&maps.len()) {
            self.maps(&mut maps, dataplane);
        } else if !maps.is_empty() {
            self.maps_later(&mut maps, dataplane);
        }
        for action in actions.drain(..) {
            match action {
                Action::Send { ifindex, packet } => outgoing.push((ifindex, packet)),
                // It is done.
                Action::Map(_) | Action::Group(_) => {}
                Action::Route(action) => {
                    if let Some(routes) = &mut self.routes {
                        routes.apply(action);
                    }
                }
                Action::ProbeNeighbour { ifindex, address } => {
                    if let Some(reachability) = &mut self.reachability {
                        reachability.probe(ifindex, address);
                    }
                }
                Action::Check(action) => self.checks.apply(action),
                Action::Publish { to, octets } => {
                    if let Some(bus) = &mut self.bus {
                        bus.publish(to, octets);
                    }
                }
                Action::ReadFlows { soon } => wanted.all = Some(soon || wanted.all == Some(true)),
                Action::HurryFlows => wanted.hurry = true,
                Action::ReadRecentFlows { since } => wanted.since = Some(since),
                Action::Notice(notice) => self.notice(notice, links),
            }
        }
        self.send(&outgoing, links);
        self.notices.sum_up();
        if let Some(routes) = &mut self.routes
            && routes.is_changed()
        {
            self.timings.routes(|| routes.flush());
        }
        wanted
    }

    /// The routes of the router role.
    pub(super) fn routes(&self) -> Option<&Routes> {
        self.routes.as_ref()
    }

    /// The routes of the router role, to compare them with those of the kernel.
    pub(super) fn routes_mut(&mut self) -> Option<&mut Routes> {
        self.routes.as_mut()
    }

    /// From now on the routes of the kernel stay as they are, whatever the core wants.
    pub(super) fn leave_routes(&mut self) {
        self.routes = None;
    }

    /// The multicast memberships.
    pub(super) fn groups(&mut self) -> &mut Groups {
        &mut self.groups
    }

    /// The multicast memberships, to look at.
    pub(super) fn memberships(&self) -> &Groups {
        &self.groups
    }

    /// Waits for the result of a health check. Dropping the future loses nothing.
    pub(super) async fn checked(&mut self) -> (Ipv6Addr, Finding) {
        self.checks.next().await
    }

    /// The health checks.
    pub(super) fn checks(&mut self) -> &mut Checks {
        &mut self.checks
    }

    /// The fleet's bus, where there is one.
    pub(super) fn bus(&self) -> Option<&Bus> {
        self.bus.as_ref()
    }

    /// The Reports and Dones that were refused.
    pub(super) fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// The mobility messages that were refused.
    pub(super) fn mobility(&self) -> &Refusals<Mobility> {
        &self.mobility
    }

    /// Counters of what the kernel refused: their names, what they count, and their values.
    pub(super) fn counters(&self) -> [(&'static str, &'static str, u64); 4] {
        let bus = self.bus.as_ref().map(Bus::load).unwrap_or_default();
        [
            (
                "packet_send_failed",
                "Packets that could not be sent.",
                self.send_failed,
            ),
            (
                "map_update_failed",
                "Map updates that the kernel refused.",
                self.map_failed,
            ),
            (
                "fleet_unsent",
                "Messages to the fleet that were dropped, because the bus was gone or slow.",
                bus.unsent,
            ),
            (
                "fleet_untaken",
                "Messages of the fleet that were dropped, because they came faster than they were taken.",
                bus.untaken,
            ),
        ]
    }

    /// How long things took.
    pub(super) fn timings(&self) -> &Timings {
        &self.timings
    }

    fn notice(&mut self, notice: Notice, links: &LinkTable) {
        self.notices.log(&notice, links);
        self.timings.notice(&notice, Instant::now());
        if let Notice::MldRefused {
            ifindex,
            source,
            mac,
            by,
            anycast,
            reason,
        } = notice
        {
            let what = What {
                ifindex,
                source,
                mac,
                anycast,
                reason,
                by,
            };
            self.refusals.note(clock::now(), what);
        }
        if let Notice::MobilityRefused {
            source,
            destination,
            reason,
        } = notice
        {
            let what = Mobility {
                source,
                destination,
                reason,
            };
            self.mobility.note(clock::now(), what);
        }
        if self.monitor.is_watched() {
            let interface = notice.ifindex().and_then(|ifindex| links.name(ifindex));
            let interface = interface.map(str::to_owned);
            self.monitor.show(Event::new(notice, interface));
        }
    }

    fn send(&mut self, outgoing: &[Outgoing], links: &LinkTable) {
        let Self {
            sender,
            failures,
            send_failed,
            ..
        } = self;
        sender.send_all(outgoing, |(ifindex, packet), error| {
            *send_failed += 1;
            let kind = ("send", error.raw_os_error());
            if let Some(held) = failures.admit(kind, Instant::now()) {
                let interface = ifindex.and_then(|ifindex| links.name(ifindex));
                let length = packet.len();
                let parsed = ipv6::Packet::parse(packet).ok();
                let destination = parsed.map(|parsed| tracing::field::display(parsed.destination));
                tracing::warn!(interface, destination, length, %error, held, "cannot send a packet");
            }
        });
    }

    /// Whether this action comes after all changes of maps before it. What one gateway of a fleet tells another alone,
    /// a wish for a part of a snapshot or such a part, says nothing of these changes; nor does a notice that nobody
    /// sees, but that this gateway is ready. Readings of flows wait by themselves.
    fn waits(&self, action: &Action) -> bool {
        match action {
            Action::Publish { to: Some(_), .. }
            | Action::ReadFlows { .. }
            | Action::HurryFlows
            | Action::ReadRecentFlows { .. } => false,
            Action::Notice(Notice::FleetReady { .. }) => true,
            Action::Notice(_) => self.monitor.is_watched(),
            _ => true,
        }
    }

    /// Changes the maps, and empties the list.
    fn maps(&mut self, actions: &mut Vec<MapAction>, dataplane: &mut Dataplane) {
        dataplane
            .maps()
            .apply_all(actions, |action, error| self.map_failed(action, &error));
        actions.clear();
    }

    /// The same while the loop goes on, where that can be.
    fn maps_later(&mut self, actions: &mut Vec<MapAction>, dataplane: &mut Dataplane) {
        let actions = std::mem::take(actions);
        dataplane
            .maps()
            .apply_later(actions, |action, error| self.map_failed(action, &error));
    }

    /// Waits until the maps are as the core wants.
    pub(super) fn settle(&mut self, plane: &mut Plane) {
        plane
            .dataplane()
            .maps()
            .settle(|action, error| self.map_failed(action, &error));
    }

    fn map_failed(&mut self, action: &MapAction, error: &DataplaneError) {
        self.map_failed += 1;
        if let Some(held) = self.failures.admit(("map", None), Instant::now()) {
            tracing::error!(?action, %error, held, "the kernel refused a map update");
        }
    }
}
