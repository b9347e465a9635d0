//! The data plane, and the interfaces that its programs are attached to.

use std::{collections::BTreeSet, time::Instant};

use anycast_common::{abi::roles, wire::ipv6};

use super::{
    ShellError,
    api::view,
    clock,
    dataplane::{Dataplane, OtherSize},
    engine::Engine,
    interfaces::{Interfaces, REMINDER},
    netdev,
    netlink::{LinkInput, LinkTable},
    policy,
    sockets::Groups,
    throttle::Throttle,
};
use crate::core::{Link, controller::Input, router::Policy};

/// The programs with their maps, and where they run.
pub(super) struct Plane {
    dataplane: Dataplane,
    interfaces: Interfaces,
    links: LinkTable,
    /// All [`roles`] of this machine.
    roles: u8,
    complaints: Throttle<String>,
}

impl Plane {
    /// Nothing is attached yet.
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

    /// The same, to take in what the kernel says of them.
    pub(super) fn links_mut(&mut self) -> &mut LinkTable {
        &mut self.links
    }

    /// The programs and maps beside the interfaces.
    pub(super) fn parts(&mut self) -> (&mut Dataplane, &LinkTable) {
        (&mut self.dataplane, &self.links)
    }

    /// Whether this machine has any of these [`roles`].
    pub(super) fn has(&self, wanted: u8) -> bool {
        self.roles & wanted != 0
    }

    /// All [`roles`] of this machine.
    pub(super) fn roles(&self) -> u8 {
        self.roles
    }

    /// The configured interfaces, for `status`.
    pub(super) fn interfaces(&self) -> Vec<view::Interface> {
        self.interfaces.view(&self.links)
    }

    /// Maps that are not as large as they are configured.
    pub(super) fn other_sizes(&self) -> &[OtherSize] {
        self.dataplane.other_sizes()
    }

    /// Attaches to interfaces that appeared, lets go of those that are gone, and tells the core. At the
    /// start an interface that refuses is a mistake to be told at once; later it is tried again.
    pub(super) fn links_changed(
        &mut self,
        starting: bool,
        policy: &Policy,
        groups: &mut Groups,
        core: &mut Engine,
    ) -> Result<(), ShellError> {
        let inputs = self.links.differences();
        if !inputs.is_empty() || starting {
            self.program_policy(policy)?;
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
                    tracing::warn!(interface = name, "the interface is gone");
                    self.interfaces.detach(&mut self.dataplane, ifindex);
                    groups.forget(ifindex);
                    core.handle(Input::LinkGone { ifindex });
                }
            }
        }
        self.interfaces.warn_of_missing(&self.links);
        self.program_redirects();
        Ok(())
    }

    /// Tries again to attach where it did not succeed before.
    pub(super) fn attach_missing(&mut self, groups: &mut Groups) {
        let known: Vec<_> = self.links.known().cloned().collect();
        for link in known {
            self.attach(&link, groups)
                .unwrap_or_else(|error| self.complain(&error));
        }
    }

    fn attach(&mut self, link: &Link, groups: &mut Groups) -> Result<(), ShellError> {
        self.interfaces
            .attach(&mut self.dataplane, link)
            .map_err(ShellError::dataplane(format!(
                "cannot attach to {}",
                link.name
            )))?;
        if self.interfaces.roles(&link.name) & roles::ROUTER != 0
            && let Err(error) = groups.join(link.ifindex, ipv6::ALL_ROUTERS)
        {
            tracing::warn!(interface = link.name, %error, "cannot join ff02::2: trying again");
        }
        Ok(())
    }

    /// Detaches what an earlier run left on interfaces that were taken out of the configuration.
    pub(super) fn detach_others(&self) {
        let wanted = |ifindex| {
            let name = self.links.name(ifindex);
            name.is_some_and(|name| self.interfaces.roles(name) != 0)
        };
        if let Err(error) = self.dataplane.retain(wanted) {
            tracing::warn!(%error, "programs of the last run may still be attached");
        }
    }

    /// Says to the programs that the daemon lives.
    pub(super) fn attend(&mut self) {
        if let Err(error) = self.dataplane.maps().attend(clock::now()) {
            tracing::warn!(%error, "the programs take the daemon for dead");
        }
    }

    /// Has the programs look for next hops again.
    pub(super) fn next_hops_changed(&mut self) {
        if let Err(error) = self.dataplane.maps().next_hops_changed() {
            tracing::warn!(%error, "old next hops are used for a moment");
        }
    }

    /// A device takes redirected frames or not as its driver and its other end please, which may
    /// change with any link; without word from the kernel it forwards them itself.
    fn program_redirects(&mut self) {
        if !self.has(roles::CORRESPONDENT) {
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

    /// Gives a router's programs the policy. Rules name interfaces, the programs want their numbers.
    pub(super) fn program_policy(&mut self, policy: &Policy) -> Result<(), ShellError> {
        if !self.has(roles::ROUTER) {
            return Ok(());
        }
        let rules = policy::compile(policy, |name| self.links.ifindex(name));
        self.dataplane
            .maps()
            .set_policy(&rules)
            .map_err(ShellError::dataplane("cannot load the policy"))
    }

    /// Logs what is tried again, once in a while.
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

    /// Takes the programs away.
    pub(super) fn end(self) {
        if let Err(error) = self.dataplane.end() {
            tracing::warn!(%error, "programs may still be attached");
        }
    }
}
