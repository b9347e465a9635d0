//! The daemon: the core, the parts that it acts on, and the one loop that connects them.

mod kernel;
mod last_run;
mod looks;
mod parts;
mod reload;
mod requests;
mod retiring;

use std::{io, time::Instant};

use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until};

use self::{kernel::RESYNC, looks::Looks, parts::Parts};
use super::{
    Paths, ShellError,
    addresses::{AGAIN, Addresses},
    api::server::Server,
    bus::{BusEvent, Incoming},
    clock,
    flows::Flows,
    handover::Handover,
    neighbors::{Neighbors, Solicited},
    netlink::Netlink,
    next_hops::LOOK,
    plain_routes::PlainRoutes,
    recent::Recent,
    routes::Routes,
    signals::{Signals, Wish},
    start,
    systemd::Manager,
};
use crate::{
    config::{Config, running::Running, settings},
    core::{Time, controller::Input},
};

/// The parts, what brings them events, and the loop that connects them.
pub(super) struct Daemon {
    parts: Parts,
    /// Source of Neighbor Solicitations, where a role needs them.
    neighbors: Option<Neighbors>,
    /// Source of Multicast Router Solicitations, where a role needs them.
    switches: Option<Neighbors>,
    /// What other gateways of the fleet say, where there is a bus.
    incoming: Option<Incoming>,
    server: Server,
    handover: Handover,
    manager: Manager,
}

impl Daemon {
    /// Loads the programs, attaches them to the interfaces that exist, and performs the first actions of the core.
    /// `not_admitted` says why users of `read_group` cannot ask.
    pub(super) async fn start(
        config: &Config,
        running: Running,
        paths: &Paths,
        server: Server,
        object: &[u8],
        not_admitted: Option<String>,
    ) -> Result<Self, ShellError> {
        let mut netlink =
            Netlink::open().map_err(ShellError::io("cannot open a netlink socket"))?;
        let sockets = start::Sockets::open()?;
        let metrics = start::metrics(config, &server).await;
        let mut plane = start::plane(config, object, &mut netlink)?;
        let [neighbors, switches] = start::solicitations(config)?;
        let core = start::core(config)?;
        let (bus, incoming) = start::bus(config, &core).unzip();
        let reader = plane.dataplane().maps().flow_reader();
        let flows = Flows::new(reader, start::sessions(config));
        let retiring = last_run::retiring(config, &flows, &mut plane, &mut netlink);
        let mut parts = Parts {
            performer: sockets
                .performer(config, server.monitor(), bus)?
                .with_metrics(metrics)
                .with_not_admitted(not_admitted),
            core,
            policy: start::policy(config, running, paths),
            flows,
            recent: Recent::new(plane.dataplane().maps().flow_reader()),
            addresses: Addresses::new(retiring.assigned()),
            retiring,
            looks: Looks::default(),
            next_hops: start::next_hops(config)?,
            plain_routes: PlainRoutes::default(),
            is_own_router: config.router_role().is_some() && config.member_role().is_some(),
            plane,
            netlink,
        };
        let handover = start::handover(config);
        handover.recall(&mut parts.core);
        start::adopt_routes(&mut parts.performer, &mut parts.core);
        start::adopt_pairs(&mut parts.plane, &mut parts.core);
        parts.plane.attend();
        parts
            .links_changed(true)
            .inspect_err(|_| parts.plane.undo())?;
        parts.plane.detach_others();
        parts.send_on_as_before();
        parts.assign();
        start::join(settings::joined_at_start(config), &mut parts.core);
        parts.perform();
        Ok(Self {
            parts,
            neighbors,
            switches,
            incoming,
            server,
            handover,
            manager: Manager::find(),
        })
    }

    /// Runs the loop until a signal ends it.
    pub(super) async fn run(&mut self, mut signals: Signals) -> Result<(), ShellError> {
        let Self {
            parts,
            neighbors,
            switches,
            incoming,
            server,
            manager,
            ..
        } = self;
        let mut resync = Instant::now() + RESYNC;
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);

        let mut ready = false;
        loop {
            if !ready && parts.is_ready() {
                tracing::info!("ready");
                manager.ready();
                ready = true;
            }
            let deadline = parts.core.deadline();
            let routes_due = parts.performer.routes().map(Routes::due);
            let mut again = false;
            tokio::select! {
                result = parts.plane.dataplane().events(|header, packet| {
                    parts.core.packet(header, packet);
                }) => if result.map_err(ShellError::io("cannot read the ring buffer"))? {
                    // Without this, a ring buffer that is never empty would keep everything else from its turn.
                    tokio::task::yield_now().await;
                },
                event = parts.netlink.next() => again = parts.kernel(event),
                () = at(deadline) => {
                    // It is done below. Where there is always something due, as when a million bindings end, the bus
                    // has its turn too.
                    tokio::task::yield_now().await;
                }
                (anycast, finding) = parts.performer.checked() => {
                    parts.core.handle(Input::Checked { anycast, finding });
                }
                solicited = solicitation(neighbors.as_ref()) => parts.solicited(solicited),
                solicited = solicitation(switches.as_ref()) => parts.router_solicited(solicited),
                Some(call) = server.next() => parts.call(call),
                event = of_bus(incoming.as_mut()) => parts.bus(event, incoming.as_mut()),
                waiters = parts.flows.next() => parts.flows_read(waiters),
                found = parts.recent.next() => parts.recent_read(found),
                () = due(routes_due) => {
                    if let Some(routes) = parts.performer.routes_mut() {
                        routes.reconcile();
                    }
                }
                _ = look.tick(), if parts.is_periodic() => parts.each_second(),
                () = due(Some(resync)) => {
                    resync = Instant::now() + RESYNC;
                    again = parts.resync();
                }
                // They are assigned below.
                () = due(parts.addresses.due()) => {}
                () = manager.due() => manager.alive(),
                wish = signals.next() => match wish {
                    Wish::Reload => {
                        // An error has already been logged.
                        let _ = parts.reload();
                    }
                    Wish::End => break,
                },
            }
            // Timers are checked after every event, whatever it was.
            parts.core.poll_if_due();
            parts.perform();
            parts.assign();
            if again {
                // Something happens all the time: what is to be soon is never put off.
                resync = resync.min(Instant::now() + AGAIN);
            }
        }
        tracing::info!("stopping");
        manager.stopping();
        Ok(())
    }

    /// Takes everything back: memberships, routes unless they are kept, and the socket. Programs and addresses are
    /// removed as well, unless sessions still need them. Routers are told first, while this host can still serve
    /// packets that are on their way.
    pub(super) async fn stop(self) {
        let Self {
            mut parts,
            handover,
            ..
        } = self;
        if handover.keeps_routes() {
            parts.performer.leave_routes();
        }
        parts.core.shutdown();
        parts.perform();
        parts.performer.settle(&mut parts.plane);
        handover.save(&parts.core);
        if let Some(routes) = parts.performer.routes_mut() {
            routes.withdraw();
        }
        let sessions = if handover.keeps_programs() {
            parts.sessions_left()
        } else {
            0
        };
        if sessions > 0 {
            // Nobody would take the addresses back that are sent on to another member.
            parts
                .addresses
                .serve_all(&mut parts.netlink, parts.plane.links());
            tracing::info!(
                sessions,
                "sessions go on with the programs: `anycast-ctl detach` ends them"
            );
        } else {
            parts
                .addresses
                .withdraw(&mut parts.netlink, parts.plane.links());
            parts.plane.end();
        }
        tracing::info!("stopped");
    }
}

/// Waits until a time of the core, or for ever when there is none.
async fn at(deadline: Option<Time>) {
    match deadline {
        Some(deadline) => sleep(deadline.since(clock::now())).await,
        None => std::future::pending().await,
    }
}

/// Waits for a Solicitation, or for ever where no role needs them.
async fn solicitation(neighbors: Option<&Neighbors>) -> io::Result<Solicited> {
    match neighbors {
        Some(neighbors) => neighbors.next().await,
        None => std::future::pending().await,
    }
}

/// Waits for what the fleet's bus brings, or for ever where there is none.
async fn of_bus(incoming: Option<&mut Incoming>) -> BusEvent {
    match incoming {
        Some(incoming) => incoming.next().await,
        None => std::future::pending().await,
    }
}

/// Waits for an instant, or for ever where there is none.
async fn due(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}
