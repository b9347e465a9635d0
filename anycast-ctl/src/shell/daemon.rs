//! The daemon: the core, the parts that it acts on, and the one loop that connects them.

use std::{
    io,
    time::{Duration, Instant},
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{MissedTickBehavior, interval, sleep, sleep_until},
};

use super::{
    Paths, ShellError,
    addresses::Addresses,
    answer::{Answered, Desk, LivePolicy, flush_flows, flushed, needs_flows, no_role, reply},
    api::{
        Answer, Request,
        server::{Call, Server},
    },
    clock,
    engine::Engine,
    flows::Flows,
    handover::Handover,
    metrics::Listener,
    neighbors::{Neighbors, Solicited, hardware_address},
    netlink::{KernelChange, KernelEvent, Netlink},
    perform::Performer,
    plane::Plane,
    routes::Routes,
    start,
    systemd::Manager,
};
use crate::{
    config::Config,
    core::{
        Time,
        controller::{Flushed, Input},
        correspondent::Selection,
    },
};

/// How often the daemon reads again what notifications should have told it, in case some were lost.
const RESYNC: Duration = Duration::from_secs(30);
/// How soon it reads again what could not be read.
const AGAIN: Duration = Duration::from_millis(200);

/// Who waits for the flows to be read.
#[derive(Debug)]
enum Waiter {
    /// The core, which judges the flows.
    Core,
    /// A client of the control socket, whose request can be answered then.
    Call(Call),
    /// A client of the control socket that ended bindings, whose flows are to be ended as soon as they are read.
    Flush {
        which: Selection,
        ended: Flushed,
        call: Call,
    },
}

/// The core, the parts that it acts on, and the loop that brings them together.
pub(super) struct Daemon {
    core: Engine,
    plane: Plane,
    performer: Performer,
    policy: LivePolicy,
    flows: Flows<Waiter>,
    netlink: Netlink,
    addresses: Addresses,
    /// Source of Neighbor Solicitations, where a role needs them.
    neighbors: Option<Neighbors>,
    server: Server,
    handover: Handover,
    manager: Manager,
    /// Who scrapes metrics comes by this.
    _metrics: Option<Listener>,
}

impl Daemon {
    /// Loads the programs, attaches them to the interfaces that exist, and performs the first actions of the core.
    pub(super) async fn start(
        config: &Config,
        paths: &Paths,
        server: Server,
        object: &[u8],
    ) -> Result<Self, ShellError> {
        let mut netlink =
            Netlink::open().map_err(ShellError::io("cannot open a netlink socket"))?;
        let sockets = start::Sockets::open()?;
        let metrics = start::metrics(config, &server).await?;
        let mut plane = start::plane(config, object, &mut netlink)?;
        let neighbors = start::neighbors(config)?;
        let mut daemon = Self {
            core: start::core(config)?,
            performer: sockets.performer(config, server.monitor())?,
            policy: start::policy(config, paths),
            flows: Flows::new(
                plane.dataplane().maps().flow_reader(),
                start::sessions(config),
            ),
            addresses: start::addresses(config),
            handover: start::handover(config),
            plane,
            netlink,
            neighbors,
            server,
            manager: Manager::find(),
            _metrics: metrics,
        };
        daemon.handover.recall(&mut daemon.core);
        start::adopt_routes(&mut daemon.performer, &mut daemon.core);
        start::adopt_pairs(&mut daemon.plane, &mut daemon.core);
        daemon.plane.attend();
        daemon
            .links_changed(true)
            .inspect_err(|_| daemon.plane.undo())?;
        daemon.plane.detach_others();
        daemon.assign();
        start::join(config, &mut daemon.core);
        daemon.perform();
        Ok(daemon)
    }

    /// Runs the loop until a signal ends it.
    pub(super) async fn run(&mut self) -> Result<(), ShellError> {
        let catch = |kind: SignalKind| signal(kind).map_err(ShellError::io("cannot catch signals"));
        let mut interrupt: Signal = catch(SignalKind::interrupt())?;
        let mut terminate: Signal = catch(SignalKind::terminate())?;
        let mut hangup: Signal = catch(SignalKind::hangup())?;
        let mut resync = interval(RESYNC);
        resync.set_missed_tick_behavior(MissedTickBehavior::Delay);
        resync.reset();

        tracing::info!("ready");
        self.manager.ready();
        loop {
            let deadline = self.core.deadline();
            let routes_due = self.performer.routes().map(Routes::due);
            let mut again = false;
            tokio::select! {
                result = self.plane.dataplane().events(|header, packet| {
                    self.core.packet(header, packet);
                }) => if result.map_err(ShellError::io("cannot read the ring buffer"))? {
                    // Without this, a ring buffer that is never empty would keep everything else from its turn.
                    tokio::task::yield_now().await;
                },
                event = self.netlink.next() => again = self.kernel(event),
                () = at(deadline) => self.core.poll(),
                (anycast, finding) = self.performer.checked() => {
                    self.core.handle(Input::Checked { anycast, finding });
                }
                solicited = solicitation(self.neighbors.as_ref()) => self.solicited(solicited),
                Some(call) = self.server.next() => self.call(call),
                waiters = self.flows.next() => self.flows_read(waiters),
                () = due(routes_due) => {
                    if let Some(routes) = self.performer.routes_mut() {
                        routes.reconcile();
                    }
                }
                _ = resync.tick() => again = self.resync(),
                () = self.manager.due() => self.manager.alive(),
                _ = hangup.recv() => {
                    // An error has already been logged.
                    let _ = self.policy.reload(&mut self.core, &mut self.plane);
                }
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
            }
            // Timers are checked after every event, whatever it was.
            self.core.poll_if_due();
            self.perform();
            again |= self.assign();
            if again {
                resync.reset_after(AGAIN);
            }
        }
        tracing::info!("stopping");
        self.manager.stopping();
        Ok(())
    }

    /// Takes everything back: memberships, routes and the socket. Programs and addresses are removed as well, unless
    /// sessions still need them. Routers are told first, while this host can still serve packets that are on their way.
    pub(super) async fn stop(mut self) {
        self.core.shutdown();
        self.perform();
        self.handover.save(&self.core);
        if let Some(routes) = self.performer.routes_mut() {
            routes.withdraw();
        }
        let sessions = if self.handover.keeps_programs() {
            self.sessions_left()
        } else {
            0
        };
        if sessions > 0 {
            tracing::info!(
                sessions,
                "sessions go on with the programs: `anycast-ctl detach` ends them"
            );
        } else {
            self.addresses.withdraw(&mut self.netlink);
            self.plane.end();
        }
        tracing::info!("stopped");
    }

    /// Number of sessions that would end with the programs. Zero where the programs end with the process in any case.
    fn sessions_left(&mut self) -> usize {
        let dataplane = self.plane.dataplane();
        if !dataplane.is_pinned() {
            return 0;
        }
        let reader = dataplane.maps().flow_reader();
        self.flows.seen().read_sessions(&reader)
    }

    /// Performs the actions that the core asked for.
    fn perform(&mut self) {
        let actions = self.core.actions();
        if self.performer.perform(actions, &mut self.plane) {
            self.flows.wait(Waiter::Core);
        }
    }

    /// Assigns and removes addresses, so that they fit the interfaces that exist. Gives whether that has to be tried
    /// again soon.
    fn assign(&mut self) -> bool {
        let links = self.plane.links();
        self.addresses.reconcile(&mut self.netlink, links)
    }

    fn solicited(&mut self, solicited: io::Result<Solicited>) {
        let solicited = match solicited {
            Ok(solicited) => solicited,
            Err(error) => {
                let what = "cannot read Neighbor Solicitations";
                return self.plane.complain(&ShellError::Io { what, error });
            }
        };
        let ifindex = solicited.ifindex;
        let Some(name) = self.plane.links().name(ifindex) else {
            return;
        };
        let member = self.core.controller().member();
        let packet = solicited.packet();
        // Most Solicitations are for addresses that the kernel itself answers for.
        if !member.is_some_and(|member| member.owns(ifindex, &packet)) {
            return;
        }
        let Some(mac) = hardware_address(name) else {
            return;
        };
        self.core.handle(Input::Solicited {
            ifindex,
            mac,
            packet,
        });
    }

    /// Handles a notification of the kernel. Gives whether something could not be read and has to be read again soon.
    fn kernel(&mut self, event: KernelEvent) -> bool {
        // Whatever has changed, the next hop of a pinned flow may be a different one now.
        self.plane.next_hops_changed();
        match event {
            KernelEvent::Change(change) => {
                if let KernelChange::Link { ifindex, .. } = change
                    && self.plane.links().name(ifindex).is_some()
                    && let Some(routes) = self.performer.routes_mut()
                {
                    routes.link_changed();
                }
                self.plane.links_mut().apply(change);
                self.addresses.notified();
                self.tell_links();
            }
            KernelEvent::Route(news) => {
                if let Some(routes) = self.performer.routes_mut() {
                    routes.notified(&news);
                }
            }
            KernelEvent::Nexthop(news) => {
                if let Some(routes) = self.performer.routes_mut() {
                    routes.nexthop_notified(&news);
                }
            }
            KernelEvent::NeighbourFailed { ifindex, address } => {
                self.core
                    .handle(Input::NeighbourFailed { ifindex, address });
            }
            KernelEvent::Neighbour => {}
            KernelEvent::Lost => {
                tracing::warn!("notifications of the kernel were lost: reading everything again");
                if let Some(routes) = self.performer.routes_mut() {
                    routes.resync();
                }
                return self.resync();
            }
        }
        false
    }

    /// Reads the interfaces again, and tries again what failed before. Gives whether they could not be read.
    fn resync(&mut self) -> bool {
        self.plane.attend();
        let read = self.netlink.links();
        let failed = read.is_err();
        match read {
            Ok(dump) => self.plane.links_mut().replace(dump),
            Err(error) => tracing::warn!(%error, "cannot read the interfaces: trying again"),
        }
        self.performer.groups().retry();
        self.flows.forget(RESYNC);
        self.addresses.notified();
        self.tell_links();
        self.plane.attach_missing(self.performer.groups());
        failed
    }

    fn tell_links(&mut self) {
        self.links_changed(false)
            .unwrap_or_else(|error| self.plane.complain(&error));
    }

    fn links_changed(&mut self, starting: bool) -> Result<(), ShellError> {
        let groups = self.performer.groups();
        let policy = self.policy.current();
        self.plane
            .links_changed(starting, policy, groups, &mut self.core)
    }

    /// Handles a request of the control socket.
    fn call(&mut self, call: Call) {
        if let Request::Flush {
            client,
            anycast,
            care_of,
        } = call.request
        {
            let which = Selection {
                client,
                anycast,
                care_of,
            };
            return self.flush(which, call);
        }
        if needs_flows(&call.request, &self.plane, self.flows.seen()) {
            return self.flows.wait(Waiter::Call(call));
        }
        self.answer(call);
    }

    fn answer(&mut self, call: Call) {
        let mut desk = Desk {
            core: &mut self.core,
            plane: &mut self.plane,
            performer: &self.performer,
            policy: &mut self.policy,
            seen: self.flows.seen(),
        };
        let answer = desk.answer(&call.request);
        self.done(call, answer);
    }

    /// Ends bindings first, so that nothing is pinned to them any more when the flows are read.
    fn flush(&mut self, which: Selection, call: Call) {
        let ended = self.core.flush(&which);
        self.perform();
        match ended {
            Flushed {
                bindings: Some(_), ..
            } => self.flows.wait(Waiter::Flush { which, ended, call }),
            Flushed {
                bindings: None,
                clients: Some(_),
            } => reply(call, Ok(Answer::Flushed(flushed(ended, None)))),
            Flushed {
                bindings: None,
                clients: None,
            } => reply(call, Err(no_role("member or correspondent"))),
        }
    }

    /// Handles that the flows have been read.
    fn flows_read(&mut self, waiters: Vec<Waiter>) {
        for waiter in waiters {
            match waiter {
                Waiter::Core => match self.flows.seen().last() {
                    Some(read) => {
                        self.core.handle_at(read.began, Input::Flows(&read.flows));
                        self.perform();
                    }
                    None => self.flows.wait(Waiter::Core),
                },
                Waiter::Call(call) => self.answer(call),
                Waiter::Flush { which, ended, call } => {
                    let read = self.flows.seen().last();
                    let answer = flush_flows(&mut self.core, &mut self.plane, read, &which, ended);
                    self.done(call, answer.map(Answer::Flushed));
                }
            }
        }
    }

    /// Sends the answer of a request. Actions are performed first, so that a client which is told that something is
    /// done finds it done.
    fn done(&mut self, call: Call, answer: Answered) {
        self.perform();
        reply(call, answer);
    }
}

/// Waits until a time of the core, or for ever when there is none.
async fn at(deadline: Option<Time>) {
    match deadline {
        Some(deadline) => sleep(deadline.since(clock::now())).await,
        None => std::future::pending().await,
    }
}

/// Waits for a Neighbor Solicitation, or for ever where no role needs them.
async fn solicitation(neighbors: Option<&Neighbors>) -> io::Result<Solicited> {
    match neighbors {
        Some(neighbors) => neighbors.next().await,
        None => std::future::pending().await,
    }
}

/// Waits until the routes have to be compared, or for ever where there are no routes.
async fn due(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}
