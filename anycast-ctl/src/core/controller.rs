//! Runs all roles of a machine, and decides which role an input is for.
//!
//! A packet is parsed once, here. MLD messages go to the roles of the interface on which they arrived. Mobility
//! messages go by their destination: an anycast or care-of address belongs to the member, and a client's address to the
//! correspondent.

mod excerpt;
mod input;
mod packet;
mod places;

use std::{collections::HashMap, time::Duration};

use anycast_common::{
    abi::event::kind,
    wire::{ipv6::Packet, mld},
};
pub use input::{Command, CommandError, Input};
use rand::SeedableRng as _;

use super::{
    Action, Actions, Link, Notice, Time,
    correspondent::{self, Correspondent, Selection},
    counters::{Counter, Counters},
    member::{self, Member},
    router::{self, Policy, Router},
    rr::Generator,
    time::earliest,
};
use excerpt::{ends, refused};
use places::Places;

/// The settings of all roles of this machine.
#[derive(Debug, Default)]
pub struct Settings {
    /// Settings of the router role: first hop of members.
    pub router: Option<router::Settings>,
    /// Settings of the member role: server of anycast addresses.
    pub member: Option<member::Settings>,
    /// Settings of the correspondent role: it answers in the name of clients.
    pub correspondent: Option<correspondent::Settings>,
    /// Whether an MLD message needs a Router Alert option.
    pub router_alert: mld::RouterAlert,
}

/// What a flush has ended. A field is `None` when the machine does not have the role that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flushed {
    /// Number of bindings of the correspondent.
    pub bindings: Option<usize>,
    /// Number of clients that the member knew.
    pub clients: Option<usize>,
}

/// The roles of an interface.
#[derive(Clone, Copy, Debug, Default)]
struct On {
    router: bool,
    member: bool,
}

/// Runs the roles of a machine.
#[derive(Debug)]
pub struct Controller {
    router: Option<Router>,
    member: Option<Member>,
    correspondent: Option<Correspondent>,
    router_alert: mld::RouterAlert,
    places: Places,
    /// Roles of the interfaces that exist, by interface index.
    links: HashMap<u32, On>,
    counters: Counters,
}

impl Controller {
    /// Makes the roles of `settings`. No interface is known yet.
    #[must_use]
    pub fn new(settings: Settings, now: Time, mut random: Generator) -> Self {
        let Settings {
            router,
            member,
            correspondent,
            router_alert,
        } = settings;
        Self {
            places: Places::of(router.as_ref(), member.as_ref(), correspondent.as_ref()),
            member: member.map(|settings| Member::new(settings, now, fork(&mut random))),
            correspondent: correspondent
                .map(|settings| Correspondent::new(settings, now, fork(&mut random))),
            // Last, so that seeds of the others stay what they were.
            router: router.map(|settings| Router::new(settings, now, fork(&mut random))),
            router_alert,
            links: HashMap::new(),
            counters: Counters::default(),
        }
    }

    /// Handles an input.
    pub fn handle(&mut self, now: Time, input: Input<'_>, actions: &mut Actions) {
        match input {
            Input::Link(link) => self.link(now, &link, actions),
            Input::LinkGone { ifindex } => self.link_gone(now, ifindex, actions),
            Input::NeighbourFailed { ifindex, address } => {
                if let Some(router) = &mut self.router {
                    router.neighbour_failed(now, ifindex, address, actions);
                }
            }
            Input::Adopted { anycast, next_hop } => {
                if let Some(router) = &mut self.router {
                    router.adopt(now, anycast, next_hop);
                }
            }
            // A record of this kind holds only the start of a packet.
            Input::Packet {
                kind: kind::NEW_CLIENT,
                received,
            } => {
                if let Some((client, anycast)) = ends(received.packet) {
                    self.handle(now, Input::NewClient { client, anycast }, actions);
                }
            }
            Input::Packet { kind, received } => match Packet::parse(received.packet) {
                Ok(packet) => self.packet(now, kind, &received, &packet, actions),
                Err(error) => self.unparsable(kind, &received, error, actions),
            },
            Input::Refused { reason, received } => refused(reason, &received, actions),
            Input::TrialFailed { failed, reason } => {
                if let Some(correspondent) = &mut self.correspondent {
                    correspondent.trial_failed(now, &failed, reason, actions);
                }
            }
            Input::NewClient { client, anycast } => {
                if let Some(member) = &mut self.member {
                    member.new_client(now, client, anycast, actions);
                }
            }
            Input::Solicited {
                ifindex,
                mac,
                packet,
            } => {
                if let Some(member) = &mut self.member {
                    member.solicited(now, ifindex, mac, &packet, actions);
                }
            }
            Input::RouterSolicited { ifindex, packet } => {
                if let Some(router) = &mut self.router {
                    router.solicited(now, ifindex, &packet, actions);
                }
            }
            Input::Checked { anycast, finding } => {
                if let Some(member) = &mut self.member {
                    member.checked(now, anycast, finding, actions);
                }
            }
            Input::Bus(octets) => {
                if let Some(correspondent) = &mut self.correspondent {
                    correspondent.bus_message(now, octets, actions);
                }
            }
            Input::BusConnected(is) => {
                if let Some(correspondent) = &mut self.correspondent {
                    correspondent.bus_connected(now, is);
                }
            }
            Input::Flows { began, flows } => {
                if let Some(correspondent) = &mut self.correspondent {
                    correspondent.flows(now, began, flows, actions);
                }
            }
            Input::RecentFlows(flows) => {
                if let Some(correspondent) = &mut self.correspondent {
                    correspondent.recent_flows(now, flows, actions);
                }
            }
        }
    }

    /// The time of day at `now`, since 1970. To be told once before all else, and then with every input.
    pub fn clock(&mut self, now: Time, unix: Duration) {
        if let Some(correspondent) = &mut self.correspondent {
            correspondent.clock(now, unix);
        }
    }

    fn link(&mut self, now: Time, link: &Link, actions: &mut Actions) {
        let on = On {
            router: self.places.router_links.contains(&link.name),
            member: self.places.member_links.contains(&link.name),
        };
        let before = self.links.insert(link.ifindex, on);
        if let Some(member) = self.member.as_mut().filter(|_| !on.member)
            && before.is_some_and(|before| before.member)
        {
            member.link_gone(now, link.ifindex, actions);
        }
        if let Some(router) = self.router.as_mut().filter(|_| on.router) {
            router.link(now, link, actions);
        }
        if let Some(member) = self.member.as_mut().filter(|_| on.member) {
            member.link(now, link, actions);
        }
    }

    fn link_gone(&mut self, now: Time, ifindex: u32, actions: &mut Actions) {
        let on = self.links.remove(&ifindex).unwrap_or_default();
        if let Some(router) = self.router.as_mut().filter(|_| on.router) {
            router.link_gone(now, ifindex, actions);
        }
        if let Some(member) = self.member.as_mut().filter(|_| on.member) {
            member.link_gone(now, ifindex, actions);
        }
    }

    /// Executes a command of an operator. Gives whether this machine is a member of the group afterwards.
    pub fn command(
        &mut self,
        now: Time,
        command: Command,
        actions: &mut Actions,
    ) -> Result<bool, CommandError> {
        let member = self.member.as_mut().ok_or(CommandError::NotMember)?;
        match command {
            Command::Join { anycast } => member.join(now, anycast, actions),
            Command::Leave { anycast } => member.leave(now, anycast, actions),
            Command::Drain { anycast } => member.drain(now, anycast, actions),
            Command::Undrain { anycast } => member.undrain(now, anycast, actions),
        }
        .map_err(|member::CommandError::UnknownGroup(anycast)| CommandError::UnknownGroup(anycast))
    }

    /// Ends the selected bindings of a correspondent, and makes a member forget the selected clients.
    pub fn flush(&mut self, now: Time, which: &Selection, actions: &mut Actions) -> Flushed {
        let correspondent = self.correspondent.as_mut();
        let bindings = correspondent.map(|role| role.flush(now, which, actions));
        let Selection {
            client,
            anycast,
            care_of,
        } = *which;
        let filter = member::HandshakeFilter { client, anycast };
        let member = self.member.as_mut();
        let clients = member.map(|role| role.flush(now, filter, care_of, actions));
        if let Some(clients) = clients {
            actions.push(Action::Notice(Notice::Forgotten {
                client,
                anycast,
                care_of,
                clients,
            }));
        }
        Flushed { bindings, clients }
    }

    /// Replaces the settings of the roles, but for the policy. To be followed by each link whose roles have changed.
    pub fn reconfigure(&mut self, now: Time, settings: Settings, actions: &mut Actions) {
        let Settings {
            router,
            member,
            correspondent,
            router_alert: _,
        } = settings;
        self.places = Places::of(router.as_ref(), member.as_ref(), correspondent.as_ref());
        if let (Some(role), Some(settings)) = (&mut self.router, router) {
            role.set_links(now, settings.links, actions);
        }
        if let (Some(role), Some(settings)) = (&mut self.member, member) {
            role.reconfigure(now, settings, actions);
        }
        if let (Some(role), Some(settings)) = (&mut self.correspondent, correspondent) {
            role.reconfigure(settings);
        }
    }

    /// Replaces the policy of the router role.
    pub fn set_policy(&mut self, now: Time, policy: Policy, actions: &mut Actions) {
        if let Some(router) = &mut self.router {
            router.set_policy(now, policy, actions);
        }
    }

    /// Does everything that is due.
    pub fn poll(&mut self, now: Time, actions: &mut Actions) {
        if let Some(router) = &mut self.router {
            router.poll(now, actions);
        }
        if let Some(member) = &mut self.member {
            member.poll(now, actions);
        }
        if let Some(correspondent) = &mut self.correspondent {
            correspondent.poll(now, actions);
        }
    }

    /// Time of the next call of [`poll`](Self::poll). It may be earlier than necessary, but never later.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let router = self.router.as_ref().and_then(Router::deadline);
        let member = self.member.as_ref().and_then(Member::deadline);
        let correspondent = self
            .correspondent
            .as_ref()
            .and_then(Correspondent::deadline);
        earliest(router, earliest(member, correspondent))
    }

    /// Takes back everything that has an effect outside: memberships, routes and bindings.
    pub fn shutdown(&mut self, now: Time, actions: &mut Actions) {
        if let Some(member) = &mut self.member {
            member.shutdown(now, actions);
        }
        if let Some(router) = &mut self.router {
            router.shutdown(now, actions);
        }
        if let Some(correspondent) = &mut self.correspondent {
            correspondent.shutdown(now, actions);
        }
    }

    /// The router role, for reading.
    #[must_use]
    pub fn router(&self) -> Option<&Router> {
        self.router.as_ref()
    }

    /// The member role, for reading.
    #[must_use]
    pub fn member(&self) -> Option<&Member> {
        self.member.as_ref()
    }

    /// The correspondent role, for restoring what an earlier run saved; see [`Correspondent::restore`].
    pub fn correspondent_mut(&mut self) -> Option<&mut Correspondent> {
        self.correspondent.as_mut()
    }

    /// The correspondent role, for reading.
    #[must_use]
    pub fn correspondent(&self) -> Option<&Correspondent> {
        self.correspondent.as_ref()
    }

    /// All counters of all roles, with their names.
    #[must_use]
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        let roles = [
            Some(&self.counters),
            self.router.as_ref().map(Router::counters),
            self.member.as_ref().map(Member::counters),
            self.correspondent.as_ref().map(Correspondent::counters),
        ];
        Counter::ALL
            .iter()
            .map(|counter| {
                let values = roles
                    .iter()
                    .flatten()
                    .map(|counters| counters.get(*counter));
                (counter.name(), values.sum())
            })
            .collect()
    }
}

/// Makes another random number generator, seeded by this one.
fn fork(random: &mut Generator) -> Generator {
    Generator::from_rng(random)
}

#[cfg(test)]
mod tests;
