//! Makes the parts of a running daemon out of a configuration.

use std::{io, net::Ipv6Addr};

use anycast_common::wire::{discovery, neighbor};

use super::{
    Paths, ShellError, advice,
    answer::LivePolicy,
    api::{monitor::Monitor, server::Server},
    bus::{Bus, Incoming},
    cgroup, clock,
    dataplane::{self, Dataplane, NoRoom, Pins},
    engine::Engine,
    groups::Groups,
    handover::Handover,
    health::Checks,
    interfaces::Interfaces,
    metrics::{Listener, Timings},
    neighbors::Neighbors,
    netlink::{LinkTable, Netlink, requests::Requests},
    next_hops::NextHops,
    perform::Performer,
    plane::Plane,
    reachability::Reachability,
    routes::Routes,
    secret,
    sockets::Sender,
    surroundings, sysctl,
};
use crate::{
    config::{Config, file, limits, running::Running, settings},
    core::{
        controller::{Command, Controller, Input},
        fleet, flows,
        router::GRACE,
    },
};

/// The sockets that need privileges.
pub(super) struct Sockets {
    sender: Sender,
    groups: Groups,
}

impl Sockets {
    /// Opens the sockets.
    pub(super) fn open() -> Result<Self, ShellError> {
        Ok(Self {
            sender: Sender::new().map_err(ShellError::io("cannot open a raw socket"))?,
            groups: Groups::new().map_err(ShellError::io("cannot open a socket for groups"))?,
        })
    }

    /// Makes what performs actions, with these sockets. From now on, members have a limited time to report for the
    /// routes of an earlier run.
    pub(super) fn performer(
        self,
        config: &Config,
        monitor: Monitor,
        bus: Option<Bus>,
    ) -> Result<Performer, ShellError> {
        let Self { sender, groups } = self;
        let routes = config.router_role().map(|router| {
            let grace = settings::timers_of(router).first_answers() + GRACE;
            let settings = settings::routes(router);
            let routes = Routes::new(settings, Requests::open()?, grace);
            Ok((routes, Reachability::new(Requests::open()?)))
        });
        let routes = routes
            .transpose()
            .map_err(ShellError::io("cannot open a netlink socket"))?;
        let timings = Timings::new();
        let checks = Checks::new(settings::health_targets(config), timings.checks());
        Ok(Performer::new(
            routes, sender, groups, monitor, checks, timings, bus,
        ))
    }
}

/// Loads the programs without attaching them, and reads the interfaces.
pub(super) fn plane(
    config: &Config,
    object: &[u8],
    netlink: &mut Netlink,
) -> Result<Plane, ShellError> {
    let dataplane = load(config, object)?;
    let interfaces = Interfaces::new(settings::interfaces(config));
    let mut links = LinkTable::new(interfaces.names());
    links.replace(netlink.links().map_err(ShellError::Links)?);
    warn_of_surroundings(config, &links);
    let roles = settings::roles(config);
    Ok(Plane::new(dataplane, interfaces, links, roles))
}

/// Makes the core with all configured roles.
pub(super) fn core(config: &Config) -> Result<Engine, ShellError> {
    let random = settings::random()
        .map_err(io::Error::other)
        .map_err(ShellError::io("cannot get random numbers"))?;
    let now = clock::now();
    let mut settings = settings::controller(config);
    if let Some(correspondent) = &mut settings.correspondent {
        correspondent.fleet = fleet(config)?;
    }
    let controller = Controller::new(settings, now, random);
    Ok(Engine::new(controller, now))
}

/// Reads the secrets of the fleet that the correspondent belongs to.
fn fleet(config: &Config) -> Result<Option<fleet::Settings>, ShellError> {
    let role = config.correspondent_role();
    let Some(fleet) = role.and_then(|role| role.fleet.as_ref()) else {
        return Ok(None);
    };
    let (path, previous) = settings::secrets(fleet);
    let secret = secret::read(&path)?;
    let previous = previous.map(|path| secret::read(&path)).transpose()?;
    let accepted = previous.as_ref().map(secret::fingerprint);
    tracing::info!(
        secret = secret::fingerprint(&secret),
        previous = accepted.as_deref().unwrap_or("none"),
        "keys are those of the fleet"
    );
    Ok(Some(fleet::Settings {
        secret,
        previous,
        name: settings::bus(fleet).map(|bus| bus.name),
    }))
}

/// Begins to connect to the fleet's bus, where the configuration names one.
pub(super) fn bus(config: &Config, core: &Engine) -> Option<(Bus, Incoming)> {
    let fleet = config.correspondent_role()?.fleet.as_ref()?;
    let id = core.controller().correspondent()?.bus()?.id();
    Some(Bus::new(settings::bus(fleet)?, id))
}

/// Opens the sockets by which a member receives Neighbor Solicitations, and a router Multicast Router Solicitations.
pub(super) fn solicitations(config: &Config) -> Result<[Option<Neighbors>; 2], ShellError> {
    let open = |message_type| {
        Neighbors::open(message_type).map_err(ShellError::io("cannot open a raw socket"))
    };
    let router = config.router_role();
    let advertises = router.is_some_and(|router| !router.advertisement_interval.is_zero());
    Ok([
        config
            .member_role()
            .map(|_| open(neighbor::SOLICITATION))
            .transpose()?,
        advertises
            .then(|| open(discovery::SOLICITATION))
            .transpose()?,
    ])
}

/// What has the next hops of a correspondent probed.
pub(super) fn next_hops(config: &Config) -> Result<Option<NextHops>, ShellError> {
    let open = |_| {
        let requests = Requests::open().map_err(ShellError::io("cannot open a netlink socket"))?;
        Ok(NextHops::new(Reachability::new(requests)))
    };
    config.correspondent_role().map(open).transpose()
}

/// Listens for those who scrape metrics, where the configuration says so.
pub(super) async fn metrics(config: &Config, server: &Server) -> Option<Listener> {
    let address = config.control.metrics.as_ref()?;
    Some(Listener::start(*address.get_ref(), server.caller()).await)
}

/// The policy of a router. On a machine without the router role, it denies everything.
pub(super) fn policy(config: &Config, running: Running, paths: &Paths) -> LivePolicy {
    let router = config.router_role();
    let policy = router.map(settings::policy).unwrap_or_default();
    LivePolicy::new(policy, paths.config.clone(), running)
}

/// When a session of a member counts as over.
pub(super) fn sessions(config: &Config) -> Option<flows::Limits> {
    let member = config.member_role();
    member.map(|member| settings::sessions(&member.sessions))
}

/// What is to outlive the daemon.
pub(super) fn handover(config: &Config) -> Handover {
    let nonces = config.correspondent_role().and_then(settings::state);
    let keep_routes = config.router_role().is_some_and(|it| it.keep_routes);
    Handover::new(config.data_plane.keep, keep_routes, nonces)
}

/// Joins groups without a command.
pub(super) fn join(groups: impl Iterator<Item = Ipv6Addr>, core: &mut Engine) {
    for anycast in groups {
        if let Err(error) = core.command(Command::Join { anycast }) {
            let error = advice::command(error);
            tracing::error!(%anycast, %error, "cannot join");
        }
    }
}

/// Tells the correspondent of the sessions of an earlier run that are still in the data plane, so that they continue.
pub(super) fn adopt_pairs(plane: &mut Plane, core: &mut Engine) {
    let Some(role) = core.correspondent_mut() else {
        return;
    };
    let mut pairs = 0;
    for (pair, owner) in plane.dataplane().maps().care_of() {
        role.adopt(
            pair.client.into(),
            pair.care_of.into(),
            owner.anycast.into(),
        );
        pairs += 1;
    }
    if pairs > 0 {
        tracing::info!(pairs, "clients' sessions of the last run go on");
    }
}

/// Reads the routes that an earlier run left in the kernel, and tells the core of them.
pub(super) fn adopt_routes(performer: &mut Performer, core: &mut Engine) {
    let Some(routes) = performer.routes_mut() else {
        return;
    };
    routes.reconcile();
    for (anycast, next_hop) in routes.adopted() {
        core.handle(Input::Adopted { anycast, next_hop });
    }
}

fn load(config: &Config, object: &[u8]) -> Result<Dataplane, ShellError> {
    let router = config.router_role();
    let alert = router.is_none_or(|router| router.require_router_alert);
    let wanted = dataplane::Settings {
        roles: settings::roles(config),
        require_router_alert: alert,
        limits: limits::data_plane(config),
        sizes: settings::sizes(config),
    };
    let pins = Pins::claim()
        .inspect_err(|error| {
            tracing::warn!("sessions will not outlive this daemon, nothing is pinned: {error}");
        })
        .ok();
    let room = NoRoom {
        octets: Dataplane::memory(&wanted, pins.as_ref()),
        limit: cgroup::limit(),
    };
    if room.limit.is_some_and(|limit| limit < room.octets) {
        // The kernel may account maps elsewhere; where it does not, this is the last that is heard.
        tracing::warn!("{room}");
    }
    let mut dataplane = Dataplane::load_with(object, wanted, pins)
        .map_err(|error| error.with_room(room))
        .map_err(ShellError::dataplane("cannot load the eBPF programs"))?;
    prefixes(config, &mut dataplane)?;
    for group in settings::groups(config) {
        if let Some(care_of) = &group.care_of {
            // Groups that are not joined yet are included, since an earlier run may have left sessions in them.
            let (care_of, anycast) = (*care_of.get_ref(), *group.anycast.get_ref());
            dataplane
                .maps()
                .set_local(care_of, anycast)
                .map_err(ShellError::dataplane(CARE_OF))?;
        }
    }
    Ok(dataplane)
}

/// What fails when a map takes no care-of address.
pub(super) const CARE_OF: &str = "cannot load the care-of addresses";

/// Gives the programs of a correspondent its prefixes.
pub(super) fn prefixes(config: &Config, dataplane: &mut Dataplane) -> Result<(), ShellError> {
    let Some(correspondent) = config.correspondent_role() else {
        return Ok(());
    };
    dataplane
        .maps()
        .set_client_prefixes(&settings::client_prefixes(correspondent))
        .map_err(ShellError::dataplane("cannot load the client prefixes"))?;
    dataplane
        .maps()
        .set_anycast_prefixes(&settings::allowed(correspondent))
        .map_err(ShellError::dataplane("cannot load the anycast prefixes"))
}

/// Warns of settings outside the daemon that would keep it from working.
fn warn_of_surroundings(config: &Config, links: &LinkTable) {
    for finding in surroundings::of_machine(config, links, sysctl::forwards()) {
        tracing::warn!("{finding}");
    }
    let router = config.router_role();
    if router.is_some_and(|router| router.next_hops == file::NextHops::All)
        && let Some(advice) = sysctl::multipath_hash()
    {
        tracing::info!(target: "anycast::router", "{advice}");
    }
}
