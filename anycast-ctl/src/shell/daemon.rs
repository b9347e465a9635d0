//! The one loop.

use std::{
    collections::BTreeSet,
    io, mem,
    path::PathBuf,
    time::{Duration, Instant},
};

use anycast_common::{
    abi::{counters::Counter, event, maps::Flow, roles},
    wire::ipv6,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{MissedTickBehavior, interval, sleep, sleep_until},
};

use super::{
    ShellError,
    addresses::Addresses,
    answer_flows::Waiter,
    api::server::Server,
    clock,
    dataplane::Dataplane,
    flows::Flows,
    interfaces::Interfaces,
    memory,
    neighbors::{Neighbors, Solicited, hardware_address},
    netdev,
    netlink::{KernelEvent, LinkInput, LinkTable, Netlink},
    perform::Performer,
    policy,
    routes::Routes,
    systemd,
    throttle::Throttle,
};
use crate::core::{
    Actions, Received, Time,
    controller::{Controller, Input},
    pins::{self, Limits},
    router::Policy,
};

/// How often everything that notifications should have told is read again.
const RESYNC: Duration = Duration::from_secs(30);
/// The core, and everything that it acts on.
pub(super) struct Daemon {
    pub(super) controller: Controller,
    pub(super) dataplane: Dataplane,
    pub(super) performer: Performer,
    pub(super) links: LinkTable,
    pub(super) interfaces: Interfaces,
    pub(super) roles: u8,
    pub(super) started: Time,
    pub(super) actions: Actions,
    pub(super) netlink: Netlink,
    pub(super) server: Server,
    pub(super) flows: Flows<Waiter>,
    /// When a session that is pinned to this member counts as over.
    pub(super) sessions: Option<Limits>,
    pub(super) addresses: Addresses,
    pub(super) neighbors: Option<Neighbors>,
    pub(super) policy: Policy,
    /// The end leaves the programs where they are.
    pub(super) keep: bool,
    /// Where nonces are kept over a restart.
    pub(super) state: Option<PathBuf>,
    /// The configuration file.
    pub(super) config: PathBuf,
    pub(super) complaints: Throttle<String>,
}

impl Daemon {
    /// Runs until a signal ends it.
    pub(super) async fn run(&mut self) -> Result<(), ShellError> {
        let catch = |kind: SignalKind| signal(kind).map_err(ShellError::io("cannot catch signals"));
        let mut interrupt: Signal = catch(SignalKind::interrupt())?;
        let mut terminate: Signal = catch(SignalKind::terminate())?;
        let mut hangup: Signal = catch(SignalKind::hangup())?;
        let mut resync = interval(RESYNC);
        resync.set_missed_tick_behavior(MissedTickBehavior::Delay);
        resync.reset();

        tracing::info!("ready");
        systemd::ready();
        loop {
            let deadline = self.controller.deadline();
            let routes_due = self.performer.routes.as_ref().map(Routes::due);
            tokio::select! {
                result = self.dataplane.events(|header, packet| {
                    self.controller.handle(clock::now(), input(header, packet), &mut self.actions);
                }) => if result.map_err(ShellError::io("cannot read the ring buffer"))? {
                    // Else a ring that is never empty would keep everything else from its turn.
                    tokio::task::yield_now().await;
                },
                event = self.netlink.next() => self.kernel(event).await,
                () = at(deadline) => self.controller.poll(clock::now(), &mut self.actions),
                (anycast, finding) = self.performer.checks.next() => {
                    let input = Input::Checked { anycast, finding };
                    self.controller.handle(clock::now(), input, &mut self.actions);
                }
                solicited = solicitation(self.neighbors.as_ref()) => self.solicited(solicited),
                Some(call) = self.server.next() => self.call(call),
                waiters = self.flows.next() => self.flows_read(waiters),
                () = due(routes_due) => {
                    if let Some(routes) = &mut self.performer.routes {
                        routes.reconcile();
                    }
                }
                _ = resync.tick() => self.resync().await,
                _ = hangup.recv() => {
                    // What is wrong is in the log.
                    let _ = self.reload();
                }
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
            }
            // Timers are due whatever else goes on.
            let now = clock::now();
            if self.controller.deadline().is_some_and(|time| time <= now) {
                self.controller.poll(now, &mut self.actions);
            }
            self.perform();
            self.assign().await;
        }
        tracing::info!("stopping");
        Ok(())
    }

    /// Takes everything back: memberships, routes, the socket and, unless sessions go on with them,
    /// programs and addresses. Routers are told first, while we can still serve what is on its way.
    pub(super) async fn stop(mut self) {
        self.controller.shutdown(clock::now(), &mut self.actions);
        self.perform();
        if let (Some(path), Some(role)) = (&self.state, self.controller.correspondent())
            && let Err(error) = memory::keep(path, &role.save(clock::now()))
        {
            tracing::warn!(file = %path.display(), %error, "nonces are not kept");
        }
        if let Some(routes) = &mut self.performer.routes {
            routes.withdraw();
        }
        let sessions = if self.keep { self.sessions_left() } else { 0 };
        if sessions > 0 {
            tracing::info!(
                sessions,
                "sessions go on with the programs: `anycast-ctl detach` ends them"
            );
        } else {
            self.addresses.withdraw(&self.netlink).await;
            if let Err(error) = self.dataplane.end() {
                tracing::warn!(%error, "programs may still be attached");
            }
        }
        tracing::info!("stopped");
    }

    /// Sessions that would end with the programs; none where those end with the process anyway.
    fn sessions_left(&mut self) -> usize {
        if !self.dataplane.is_pinned() {
            return 0;
        }
        let (now, limits) = (clock::now(), self.sessions.unwrap_or_default());
        let reader = self.dataplane.maps().flow_reader();
        let here = reader.member_flows();
        let here = here
            .iter()
            .filter(|(key, flow)| pins::goes_on(&limits, now, key, flow));
        let closed = |flow: &Flow| flow.client_closed & flow.member_closed != 0;
        let there = reader.flows();
        here.count() + there.iter().filter(|(_, flow)| !closed(flow)).count()
    }

    pub(super) fn perform(&mut self) {
        let Self {
            performer,
            actions,
            dataplane,
            links,
            ..
        } = self;
        performer.perform(actions, dataplane, links);
        if mem::take(&mut performer.flows_wanted) {
            self.flows.wait(Waiter::Core);
        }
    }

    /// Brings our addresses in line with the interfaces.
    pub(super) async fn assign(&mut self) {
        self.addresses.reconcile(&self.netlink, &self.links).await;
    }

    fn solicited(&mut self, solicited: io::Result<Solicited>) {
        let solicited = match solicited {
            Ok(solicited) => solicited,
            Err(error) => {
                let what = "cannot read Neighbor Solicitations";
                return self.complain(ShellError::Io { what, error });
            }
        };
        let ifindex = solicited.ifindex;
        let Some(name) = self.links.name(ifindex) else {
            return;
        };
        let member = self.controller.member();
        let packet = solicited.packet();
        // Most are for addresses that the kernel answers for.
        if !member.is_some_and(|member| member.owns(ifindex, &packet)) {
            return;
        }
        let Some(mac) = hardware_address(name) else {
            return;
        };
        let input = Input::Solicited {
            ifindex,
            mac,
            packet,
        };
        self.controller
            .handle(clock::now(), input, &mut self.actions);
    }

    async fn kernel(&mut self, event: KernelEvent) {
        // Whatever it is, next hops may be others now.
        if let Err(error) = self.dataplane.maps().next_hops_changed() {
            tracing::warn!(%error, "old next hops are used for a moment");
        }
        match event {
            KernelEvent::Change(change) => {
                self.links.apply(change);
                self.addresses.notified();
                self.tell_links();
            }
            KernelEvent::Route(news) => {
                if let Some(routes) = &mut self.performer.routes {
                    routes.notified(&news);
                }
            }
            KernelEvent::NeighbourFailed { ifindex, address } => {
                let input = Input::NeighbourFailed { ifindex, address };
                self.controller
                    .handle(clock::now(), input, &mut self.actions);
            }
            KernelEvent::Neighbour => {}
            KernelEvent::Lost => {
                tracing::warn!("notifications of the kernel were lost: reading everything again");
                if let Some(routes) = &mut self.performer.routes {
                    routes.resync();
                }
                self.resync().await;
            }
        }
    }

    /// Reads the interfaces again and tries again what failed.
    async fn resync(&mut self) {
        self.attend();
        match self.netlink.links().await {
            Ok(dump) => self.links.replace(dump),
            Err(error) => tracing::warn!(%error, "cannot read the interfaces"),
        }
        self.performer.groups.retry();
        self.flows.forget(RESYNC);
        self.addresses.notified();
        self.tell_links();
        let known: Vec<_> = self.links.known().cloned().collect();
        for link in known {
            // What could not be attached before.
            self.attach(&link)
                .unwrap_or_else(|error| self.complain(error));
        }
    }

    pub(super) fn attend(&mut self) {
        if let Err(error) = self.dataplane.maps().attend(clock::now()) {
            tracing::warn!(%error, "the programs take the daemon for dead");
        }
    }

    fn tell_links(&mut self) {
        self.links_changed(false)
            .unwrap_or_else(|error| self.complain(error));
    }

    /// Attaches to interfaces that appeared and tells the core. At the start an interface that
    /// refuses is a mistake to be told at once; later it is tried again.
    pub(super) fn links_changed(&mut self, starting: bool) -> Result<(), ShellError> {
        let inputs = self.links.differences();
        if !inputs.is_empty() || starting {
            self.program_policy()?;
        }
        for input in inputs {
            match input {
                LinkInput::Link(link) => {
                    match self.attach(&link) {
                        Err(error) if starting => return Err(error),
                        Err(error) => self.complain(error),
                        Ok(()) => {}
                    }
                    self.controller
                        .handle(clock::now(), Input::Link(link), &mut self.actions);
                }
                LinkInput::Gone { ifindex, name } => {
                    tracing::warn!(interface = name, "the interface is gone");
                    self.interfaces.detach(&mut self.dataplane, ifindex);
                    self.performer.groups.forget(ifindex);
                    self.controller.handle(
                        clock::now(),
                        Input::LinkGone { ifindex },
                        &mut self.actions,
                    );
                }
            }
        }
        self.interfaces.warn_of_missing(&self.links);
        self.program_redirects();
        Ok(())
    }

    fn attach(&mut self, link: &crate::core::Link) -> Result<(), ShellError> {
        self.interfaces
            .attach(&mut self.dataplane, link)
            .map_err(ShellError::dataplane(format!(
                "cannot attach to {}",
                link.name
            )))?;
        if self.interfaces.roles(&link.name) & roles::ROUTER != 0
            && let Err(error) = self.performer.groups.join(link.ifindex, ipv6::ALL_ROUTERS)
        {
            tracing::warn!(interface = link.name, %error, "cannot join ff02::2: trying again");
        }
        Ok(())
    }

    pub(super) fn complain(&mut self, error: ShellError) {
        let text = error.to_string();
        if let Some(held) = self.complaints.admit(text.clone(), Instant::now()) {
            tracing::error!(held, "{text}: trying again");
        }
    }

    /// A device takes redirected frames or not as its driver and its other end please, which may
    /// change with any link; without word from the kernel it forwards them itself.
    fn program_redirects(&mut self) {
        if self.roles & roles::CORRESPONDENT == 0 {
            return;
        }
        let targets = netdev::redirect_targets().unwrap_or_else(|error| {
            tracing::debug!(%error, "the kernel does not say which devices take redirected frames");
            BTreeSet::new()
        });
        if let Err(error) = self.dataplane.maps().set_redirect_targets(&targets) {
            tracing::warn!(%error, "the kernel forwards what is rewritten");
        }
    }

    /// Rules name interfaces, the data plane wants their numbers.
    pub(super) fn program_policy(&mut self) -> Result<(), ShellError> {
        if self.roles & roles::ROUTER == 0 {
            return Ok(());
        }
        let rules = policy::compile(&self.policy, |name| self.links.ifindex(name));
        self.dataplane
            .maps()
            .set_policy(&rules)
            .map_err(ShellError::dataplane("cannot load the policy"))
    }
}

fn input<'a>(header: &event::Header, packet: &'a [u8]) -> Input<'a> {
    let received = Received {
        ifindex: header.ifindex,
        mac: header.mac,
        packet,
    };
    match header.kind {
        event::kind::REFUSED => Input::Refused {
            reason: Counter::ALL
                .get(usize::from(header.reason))
                .map_or("unknown", |counter| counter.name()),
            received,
        },
        kind => Input::Packet { kind, received },
    }
}

/// Waits for a time of the core; for ever when there is none.
async fn at(deadline: Option<Time>) {
    match deadline {
        Some(deadline) => sleep(deadline.since(clock::now())).await,
        None => std::future::pending().await,
    }
}

/// Waits for a Neighbor Solicitation; for ever where no role wants them.
async fn solicitation(neighbors: Option<&Neighbors>) -> io::Result<Solicited> {
    match neighbors {
        Some(neighbors) => neighbors.next().await,
        None => std::future::pending().await,
    }
}

async fn due(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}
