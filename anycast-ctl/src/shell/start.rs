//! From a configuration to a running daemon.

use std::{io, time::Duration};

use super::{
    Paths, ShellError,
    addresses::Addresses,
    advice,
    api::server::Server,
    clock,
    daemon::Daemon,
    dataplane::{self, Dataplane, Pins},
    flows::Flows,
    health::Checks,
    interfaces::{Interfaces, REMINDER},
    memory,
    neighbors::Neighbors,
    netlink::{LinkTable, Netlink, requests::Requests},
    perform::Performer,
    reachability::Reachability,
    routes::Routes,
    sockets::{Groups, Sender},
    sysctl,
    throttle::Throttle,
};
use crate::{
    config::{Config, file, limits, settings},
    core::{
        Actions,
        controller::{Command, Controller, Input},
    },
};

/// What a router waits beyond the answers to its first Queries before it removes routes of an earlier
/// run that no member claims.
const GRACE: Duration = Duration::from_secs(5);

impl Daemon {
    /// Loads, attaches to the interfaces that are there, and does what the core wants at first.
    pub(super) async fn start(
        config: &Config,
        paths: &Paths,
        server: Server,
        object: &[u8],
    ) -> Result<Self, ShellError> {
        let netlink = Netlink::open().map_err(ShellError::io("cannot open a netlink socket"))?;
        let sender = Sender::new().map_err(ShellError::io("cannot open a raw socket"))?;
        let groups = Groups::new().map_err(ShellError::io("cannot open a socket for groups"))?;
        let mut dataplane = load(config, object)?;
        let interfaces = Interfaces::new(settings::interfaces(config));
        let mut links = LinkTable::new(interfaces.names());
        links.replace(netlink.links().await.map_err(ShellError::Links)?);
        warn_of_surroundings(config, &links);

        let router = config.router_role();
        let routes = router.map(|router| {
            let grace = settings::timers_of(router).first_answers() + GRACE;
            let settings = settings::routes(router);
            let routes = Routes::new(settings, Requests::open()?, grace);
            Ok((routes, Reachability::new(Requests::open()?)))
        });
        let routes = routes
            .transpose()
            .map_err(ShellError::io("cannot open a netlink socket"))?;
        let random = settings::random()
            .map_err(io::Error::other)
            .map_err(ShellError::io("cannot get random numbers"))?;
        let checks = Checks::new(settings::health_targets(config));
        let neighbors = match config.member_role() {
            Some(_) => Some(Neighbors::open().map_err(ShellError::io("cannot open a raw socket"))?),
            None => None,
        };
        let now = clock::now();
        let flows = Flows::new(dataplane.maps().flow_reader());
        let mut daemon = Self {
            controller: Controller::new(settings::controller(config), now, random),
            dataplane,
            performer: Performer::new(routes, sender, groups, server.monitor(), checks),
            addresses: Addresses::new(settings::assigned(config)),
            neighbors,
            sessions: config
                .member_role()
                .map(|member| settings::sessions(&member.sessions)),
            links,
            interfaces,
            roles: settings::roles(config),
            started: now,
            actions: Actions::new(),
            flows,
            netlink,
            server,
            keep: config.data_plane.keep,
            state: config.correspondent_role().and_then(settings::state),
            config: paths.config.clone(),
            policy: router.map(settings::policy).unwrap_or_default(),
            complaints: Throttle::new(REMINDER),
        };
        daemon.recall();
        daemon.adopt_routes();
        daemon.adopt_pairs();
        daemon.attend();
        daemon
            .links_changed(true)
            .inspect_err(|_| daemon.dataplane.undo())?;
        daemon.detach_others();
        daemon.assign().await;
        for anycast in settings::joined_at_start(config) {
            let join = Command::Join { anycast };
            let (now, actions) = (clock::now(), &mut daemon.actions);
            if let Err(error) = daemon.controller.command(now, join, actions) {
                let error = advice::command(error);
                tracing::error!(%anycast, %error, "cannot join");
            }
        }
        daemon.perform();
        Ok(daemon)
    }
}

impl Daemon {
    /// Gives the correspondent what it knew before a restart. Without it, handshakes under way begin
    /// anew.
    fn recall(&mut self) {
        let (Some(path), Some(role)) = (&self.state, self.controller.correspondent_mut()) else {
            return;
        };
        let restored = match memory::recall(path) {
            Ok(None) => return,
            Ok(Some((saved, elapsed))) => role
                .restore(clock::now(), &saved, elapsed)
                .map_err(memory::Error::from),
            Err(error) => Err(error),
        };
        let file = path.display();
        match restored {
            Ok(nonces) => tracing::info!(%file, nonces, "nonces of the last run go on"),
            Err(error) => tracing::warn!(%file, %error, "nonces are made anew"),
        }
    }

    /// Sessions of an earlier run that are still in the data plane go on.
    fn adopt_pairs(&mut self) {
        let Some(role) = self.controller.correspondent_mut() else {
            return;
        };
        let mut pairs = 0;
        for (pair, owner) in self.dataplane.maps().care_of() {
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

    /// Interfaces may have been taken out of the configuration.
    fn detach_others(&self) {
        let wanted = |ifindex| {
            let name = self.links.name(ifindex);
            name.is_some_and(|name| self.interfaces.roles(name) != 0)
        };
        if let Err(error) = self.dataplane.retain(wanted) {
            tracing::warn!(%error, "programs of the last run may still be attached");
        }
    }

    /// Reads what an earlier run has left, and tells the core.
    fn adopt_routes(&mut self) {
        let Some(routes) = &mut self.performer.routes else {
            return;
        };
        routes.reconcile();
        for (anycast, next_hop) in routes.adopted() {
            let input = Input::Adopted { anycast, next_hop };
            self.controller
                .handle(clock::now(), input, &mut self.actions);
        }
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
    let mut dataplane = Dataplane::load_with(object, wanted, pins)
        .map_err(ShellError::dataplane("cannot load the eBPF programs"))?;
    if let Some(correspondent) = config.correspondent_role() {
        dataplane
            .maps()
            .set_client_prefixes(&settings::client_prefixes(correspondent))
            .map_err(ShellError::dataplane("cannot load the client prefixes"))?;
        dataplane
            .maps()
            .set_anycast_prefixes(&settings::allowed(correspondent))
            .map_err(ShellError::dataplane("cannot load the anycast prefixes"))?;
    }
    for group in settings::groups(config) {
        if let Some(care_of) = &group.care_of {
            // Also of groups that are not joined yet: an earlier run may have left sessions.
            let (care_of, anycast) = (*care_of.get_ref(), *group.anycast.get_ref());
            dataplane
                .maps()
                .set_local(care_of, anycast)
                .map_err(ShellError::dataplane("cannot load the care-of addresses"))?;
        }
    }
    Ok(dataplane)
}

/// What is outside of the daemon and would keep it from doing its work.
fn warn_of_surroundings(config: &Config, links: &LinkTable) {
    let router = config.router_role();
    if router.is_some_and(|router| router.next_hops == file::NextHops::All)
        && let Some(advice) = sysctl::multipath_hash()
    {
        tracing::warn!(target: "anycast::router", "{advice}");
    }
    for group in settings::groups(config).filter(|group| !group.assign) {
        let anycast = *group.anycast.get_ref();
        if !links.is_local(anycast) {
            tracing::warn!(target: "anycast::member",
                "{anycast} is not an address of this machine: ip address add {anycast}/128 dev lo");
        }
        if let Some(care_of) = group.care_of.as_ref().map(|care_of| *care_of.get_ref())
            && !links.is_local(care_of)
        {
            tracing::warn!(target: "anycast::member",
                "care_of {care_of} is not an address of this machine: bound flows would not arrive");
        }
    }
}
