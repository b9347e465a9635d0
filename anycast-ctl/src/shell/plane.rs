//! The data plane, with the interfaces to which its programs are attached.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use anycast_common::abi::roles;

use super::{
    ShellError,
    api::view,
    clock,
    dataplane::{Dataplane, OtherSize},
    engine::Engine,
    groups::Groups,
    interfaces::{Interfaces, REMINDER},
    netdev,
    netlink::{LinkInput, LinkTable},
    policy,
    throttle::Throttle,
};
use crate::{
    core::{Link, controller::Input, router::Policy},
    model::program::Wanted,
};

/// The programs with their maps, and the interfaces on which they run.
pub(super) struct Plane {
    dataplane: Dataplane,
    interfaces: Interfaces,
    links: LinkTable,
    /// Union of all [`roles`] of this machine.
    roles: u8,
    /// Whether the programs have another policy than they were to get last, or know other interfaces.
    policy_is_old: bool,
    complaints: Throttle<String>,
}

impl Plane {
    /// Makes the data plane. No program is attached yet.
    pub(super) fn new(
        dataplane: Dataplane,
        interfaces: Interfaces,
        links: LinkTable,
        roles: u8,
    ) -> Self {
        Self {
            dataplane,
            interfaces,
            links,
            roles,
            policy_is_old: false,
            complaints: Throttle::new(REMINDER),
        }
    }

    /// The programs and maps.
    pub(super) fn dataplane(&mut self) -> &mut Dataplane {
        &mut self.dataplane
    }

    /// The interfaces of this machine.
    pub(super) fn links(&self) -> &LinkTable {
        &self.links
    }

    /// The interfaces of this machine, to apply what the kernel says about them.
    pub(super) fn links_mut(&mut self) -> &mut LinkTable {
        &mut self.links
    }

    /// The programs and maps, together with the interfaces.
    pub(super) fn parts(&mut self) -> (&mut Dataplane, &LinkTable) {
        (&mut self.dataplane, &self.links)
    }

    /// Whether this machine has any of these [`roles`].
    pub(super) fn has(&self, wanted: u8) -> bool {
        self.roles & wanted != 0
    }

    /// Union of all [`roles`] of this machine.
    pub(super) fn roles(&self) -> u8 {
        self.roles
    }

    /// The configured interfaces, as `status` shows them.
    pub(super) fn interfaces(&self) -> Vec<view::Interface> {
        self.interfaces.view(&self.dataplane, &self.links)
    }

    /// Maps whose size differs from the configuration.
    pub(super) fn other_sizes(&self) -> &[OtherSize] {
        self.dataplane.other_sizes()
    }

    /// Attaches programs to interfaces that appeared, forgets those that disappeared, and tells the core. When an
    /// interface refuses a program at the start, this is an error of the start. Later, attaching is tried again.
    pub(super) fn links_changed(
        &mut self,
        starting: bool,
        policy: &Policy,
        groups: &mut Groups,
        core: &mut Engine,
    ) -> Result<(), ShellError> {
        let inputs = self.links.differences();
        if !inputs.is_empty() || starting || self.policy_is_old {
            // What has changed is told once. So it has to be taken whatever becomes of the policy.
            match self.program_policy(policy) {
                Err(error) if starting => return Err(error),
                Err(error) => self.complain(&error),
                Ok(()) => {}
            }
        }
        for input in inputs {
            match input {
                LinkInput::Link(link) => {
                    match self.attach(&link, groups) {
                        Err(error) if starting => return Err(error),
                        Err(error) => self.complain(&error),
                        Ok(()) => {}
                    }
                    core.handle(Input::Link(link));
                }
                LinkInput::Gone { ifindex, name } => {
                    self.interfaces.detach(&mut self.dataplane, ifindex);
                    if self.links.is_wanted(&name) {
                        tracing::warn!(interface = name, "the interface is gone");
                    } else {
                        tracing::info!(interface = name, "the interface has no role any more");
                    }
                    groups.leave_all(ifindex);
                    core.handle(Input::LinkGone { ifindex });
                }
            }
        }
        if let Err(error) = self.interfaces.leave_xdp(&mut self.dataplane, &self.links) {
            let place = "cannot attach by TCX where XDP is wrong now";
            self.complain(&ShellError::dataplane(place)(error));
        }
        self.interfaces.warn_of_missing(&self.links);
        self.interfaces.warn(&self.dataplane, &self.links);
        self.program_redirects();
        self.program_stations();
        Ok(())
    }

    /// Attaches programs to interfaces that are to have some from now on, or other ones. When one refuses, all are as
    /// before. To be followed by [`Plane::links_changed`] and [`Plane::roles_changed`].
    pub(super) fn change_interfaces(
        &mut self,
        wanted: BTreeMap<String, Wanted>,
    ) -> Result<(), ShellError> {
        let changed = self
            .interfaces
            .change(&mut self.dataplane, &self.links, wanted);
        changed.map_err(|(name, error)| {
            ShellError::dataplane(format!("cannot attach to {name}"))(*error)
        })?;
        self.links.want(self.interfaces.names());
        Ok(())
    }

    /// Takes back what [`Plane::change_interfaces`] did.
    pub(super) fn keep_interfaces(&mut self, before: BTreeMap<String, Wanted>) {
        let now = self.interfaces.names();
        let added: Vec<_> = now.filter(|name| !before.contains_key(name)).collect();
        if let Err(error) = self.change_interfaces(before) {
            self.complain(&error);
        }
        for link in added.iter().filter_map(|name| self.links.named(name)) {
            self.interfaces.detach(&mut self.dataplane, link.ifindex);
        }
    }

    /// Tells the core of all interfaces again, whose roles may be other ones now.
    pub(super) fn roles_changed(&mut self, groups: &mut Groups, core: &mut Engine) {
        for link in self.links.known() {
            match self.interfaces.roles(&link.name) & roles::ROUTER {
                0 => groups.end_router(link.ifindex),
                _ => groups.begin_router(link.ifindex, &link.name),
            }
            core.handle(Input::Link(link.clone()));
        }
    }

    /// Tries again to attach programs where it failed before.
    pub(super) fn attach_missing(&mut self, groups: &mut Groups) {
        let known: Vec<_> = self.links.known().cloned().collect();
        for link in known {
            self.attach(&link, groups)
                .unwrap_or_else(|error| self.complain(&error));
        }
        self.interfaces.warn(&self.dataplane, &self.links);
    }

    fn attach(&mut self, link: &Link, groups: &mut Groups) -> Result<(), ShellError> {
        self.interfaces
            .attach(&mut self.dataplane, &self.links, link)
            .map_err(ShellError::dataplane(format!(
                "cannot attach to {}",
                link.name
            )))?;
        if self.interfaces.roles(&link.name) & roles::ROUTER != 0 {
            groups.begin_router(link.ifindex, &link.name);
        }
        Ok(())
    }

    /// Detaches programs of an earlier run from interfaces that are no longer configured.
    pub(super) fn detach_others(&self) {
        let wanted = |ifindex| {
            let name = self.links.name(ifindex);
            name.is_some_and(|name| self.interfaces.roles(name) != 0)
        };
        if let Err(error) = self.dataplane.retain(wanted) {
            tracing::warn!(%error, "programs of the last run may still be attached");
        }
    }

    /// Tells the programs that the daemon is alive.
    pub(super) fn attend(&mut self) {
        if let Err(error) = self.dataplane.maps().attend(clock::now()) {
            tracing::warn!(%error, "the programs take the daemon for dead");
        }
    }

    /// Tells the programs that next hops may have changed.
    pub(super) fn next_hops_changed(&mut self) {
        if let Err(error) = self.dataplane.maps().next_hops_changed() {
            tracing::warn!(%error, "old next hops are used for a moment");
        }
    }

    /// Tells the programs for how long nothing but the destination and the interface of a packet decides its next hop.
    pub(super) fn vouch_for_routes(&mut self, lasts: Duration) {
        let until = (!lasts.is_zero()).then(|| clock::now() + lasts);
        if let Err(error) = self.dataplane.maps().vouch_for_routes(until) {
            tracing::warn!(%error, "new flows may share a next hop for a moment, or may not");
        }
    }

    /// The next hops to which XDP sends frames at present.
    pub(super) fn next_hops_in_use(&mut self) -> BTreeSet<(u32, Ipv6Addr)> {
        let in_use = self.dataplane.maps().next_hops_in_use(clock::now());
        in_use.unwrap_or_else(|error| {
            tracing::debug!(%error, "which next hops are in use cannot be read");
            BTreeSet::new()
        })
    }

    /// Tells the programs the Ethernet addresses of this host, so that they leave frames for other hosts alone.
    fn program_stations(&mut self) {
        let stations = self.links.stations();
        let own = |ifindex| self.links.mac(ifindex);
        let set = self.dataplane.maps().set_stations(&stations, own);
        if let Err(error) = set {
            tracing::warn!(%error, "the programs may not know whose frames they are to take");
        }
    }

    /// Tells the programs which devices accept redirected frames. That depends on the driver and on the other end of a
    /// device, and may change with any link. Where the kernel does not tell it, packets are left to the kernel's
    /// forwarding.
    fn program_redirects(&mut self) {
        if !self.has(roles::CORRESPONDENT) {
            return;
        }
        let targets = netdev::redirect_targets().unwrap_or_else(|error| {
            tracing::debug!(%error, "the kernel does not say which devices take redirected frames");
            BTreeSet::new()
        });
        let whole = netdev::targets_of_whole().unwrap_or_default();
        let maps = self.dataplane.maps();
        if let Err(error) = maps.set_redirect_targets(&targets, &whole) {
            tracing::warn!(%error, "the kernel forwards what is rewritten");
        }
    }

    /// Gives the policy to a router's programs. Rules contain names of interfaces, and the programs need their indices.
    pub(super) fn program_policy(&mut self, policy: &Policy) -> Result<(), ShellError> {
        if !self.has(roles::ROUTER) {
            return Ok(());
        }
        let rules = policy::compile(policy, |name| self.links.ifindex(name));
        let set = self.dataplane.maps().set_policy(&rules);
        self.policy_is_old = set.is_err();
        set.map_err(ShellError::dataplane("cannot load the policy"))
    }

    /// Logs, at limited intervals, an error after which the daemon tries again.
    pub(super) fn complain(&mut self, error: &ShellError) {
        let text = error.to_string();
        if let Some(held) = self.complaints.admit(text.clone(), Instant::now()) {
            tracing::error!(held, "{text}: trying again");
        }
    }

    /// Detaches what this run attached before it failed.
    pub(super) fn undo(&mut self) {
        self.dataplane.undo();
    }

    /// Detaches and removes all programs.
    pub(super) fn end(self) {
        if let Err(error) = self.dataplane.end() {
            tracing::warn!(%error, "programs may still be attached");
        }
    }
}
