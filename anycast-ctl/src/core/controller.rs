//! The roles of a machine, together: says which of them an input is for.
//!
//! A packet is parsed here, once. MLD goes by the roles of its interface, mobility messages go by
//! their destination: an anycast or care-of address of the member, or a client of the
//! correspondent.

use std::{
    collections::{HashMap, HashSet},
    net::Ipv6Addr,
};

use anycast_common::{
    abi::{
        event::kind,
        maps::{Flow, FlowKey},
    },
    wire::{
        self,
        ipv6::{self, Packet},
        mld,
        mobility::Message,
    },
};
use ipnet::Ipv6Net;
use rand::SeedableRng as _;

use super::{
    Action, Actions, Link, NextHop, Notice, Received, Time,
    correspondent::{self, Correspondent, Selection},
    counters::{Counter, Counters},
    member::{self, Member},
    notice::RefusedBy,
    router::{self, Policy, Router},
    rr::Generator,
    time::earliest,
};

/// What the roles of this machine are.
#[derive(Debug, Default)]
pub struct Settings {
    /// First hop of members.
    pub router: Option<router::Settings>,
    /// Server of anycast addresses.
    pub member: Option<member::Settings>,
    /// Gateway of clients.
    pub correspondent: Option<correspondent::Settings>,
    /// What is asked of an MLD message.
    pub router_alert: mld::RouterAlert,
}

/// Something that happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// An interface appeared or changed.
    Link(Link),
    /// An interface is gone.
    LinkGone {
        /// Its index.
        ifindex: u32,
    },
    /// The kernel finds that a host does not answer Neighbor Solicitations.
    NeighbourFailed {
        /// Interface index.
        ifindex: u32,
        /// Its address on that link.
        address: Ipv6Addr,
    },
    /// The kernel still has the route of an earlier run.
    Adopted {
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// One of its next hops.
        next_hop: NextHop,
    },
    /// The data plane gave us a packet.
    Packet {
        /// What it took it for: one of [`kind`].
        kind: u8,
        /// The packet.
        received: Received<'a>,
    },
    /// The data plane refused a Report or Done; this is an example.
    Refused {
        /// Why, in the words of a counter.
        reason: &'static str,
        /// The start of the packet.
        received: Received<'a>,
    },
    /// The data plane saw a client that it does not know.
    NewClient {
        /// The client, A.
        client: Ipv6Addr,
        /// The anycast address that it sent to, B.
        anycast: Ipv6Addr,
    },
    /// A Neighbor Solicitation came.
    Solicited {
        /// Interface on which it came.
        ifindex: u32,
        /// Our own Ethernet address there.
        mac: [u8; 6],
        /// The packet.
        packet: Packet<'a>,
    },
    /// A health check of the member has ended.
    Checked {
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// What it found.
        finding: member::Finding,
    },
    /// The pinned flows, as [`Action::ReadFlows`] wanted; `now` is when their reading began.
    Flows(&'a [(FlowKey, Flow)]),
}

/// What an operator can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Become a member of a configured group.
    Join {
        /// The anycast address, B.
        anycast: Ipv6Addr,
    },
    /// Stop being one.
    Leave {
        /// The anycast address, B.
        anycast: Ipv6Addr,
    },
    /// Stop being one until `Undrain`, whatever health checks say.
    Drain {
        /// The anycast address, B.
        anycast: Ipv6Addr,
    },
    /// End a drain.
    Undrain {
        /// The anycast address, B.
        anycast: Ipv6Addr,
    },
}

/// Why a command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The machine does not have the role.
    #[error("this machine has no member role: give it a [member] section and restart the daemon")]
    NotMember,
    /// There is no such group.
    #[error(
        "{0} is not a configured group: `anycast-ctl groups` lists them, [[member.group]] adds one"
    )]
    UnknownGroup(Ipv6Addr),
}

/// Roles of an interface.
#[derive(Clone, Copy, Debug, Default)]
struct On {
    router: bool,
    member: bool,
}

/// The roles of a machine.
#[derive(Debug)]
pub struct Controller {
    router: Option<Router>,
    member: Option<Member>,
    correspondent: Option<Correspondent>,
    router_alert: mld::RouterAlert,
    /// Names of the interfaces on which the roles are configured.
    router_links: HashSet<String>,
    member_links: HashSet<String>,
    /// Roles of the interfaces that are there.
    links: HashMap<u32, On>,
    /// Anycast and care-of addresses of the member.
    member_addresses: HashSet<Ipv6Addr>,
    client_prefixes: Vec<Ipv6Net>,
    counters: Counters,
}

impl Controller {
    /// The roles of `settings`. Nothing is known of any interface yet.
    #[must_use]
    pub fn new(settings: Settings, now: Time, mut random: Generator) -> Self {
        let Settings {
            router,
            member,
            correspondent,
            router_alert,
        } = settings;
        let router_links = router.iter().flat_map(|router| &router.links);
        let groups = || member.iter().flat_map(|member| &member.groups);
        let care_of = groups().filter_map(|group| group.care_of);
        Self {
            router_links: router_links.map(|link| link.interface.clone()).collect(),
            member_links: groups()
                .flat_map(|group| group.interfaces.iter().cloned())
                .collect(),
            member_addresses: groups().map(|group| group.anycast).chain(care_of).collect(),
            client_prefixes: correspondent
                .iter()
                .flat_map(|correspondent| correspondent.client_prefixes.clone())
                .collect(),
            router: router.map(|settings| Router::new(settings, now)),
            member: member.map(|settings| Member::new(settings, now, fork(&mut random))),
            correspondent: correspondent
                .map(|settings| Correspondent::new(settings, now, fork(&mut random))),
            router_alert,
            links: HashMap::new(),
            counters: Counters::default(),
        }
    }

    /// Something happened.
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
                    router.adopt(anycast, next_hop);
                }
            }
            // Such a record holds the start of a packet only.
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
            Input::Checked { anycast, finding } => {
                if let Some(member) = &mut self.member {
                    member.checked(now, anycast, finding, actions);
                }
            }
            Input::Flows(flows) => {
                if let Some(correspondent) = &mut self.correspondent {
                    correspondent.flows(now, flows, actions);
                }
            }
        }
    }

    fn link(&mut self, now: Time, link: &Link, actions: &mut Actions) {
        let on = On {
            router: self.router_links.contains(&link.name),
            member: self.member_links.contains(&link.name),
        };
        self.links.insert(link.ifindex, on);
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

    fn packet(
        &mut self,
        now: Time,
        kind: u8,
        received: &Received<'_>,
        packet: &Packet<'_>,
        actions: &mut Actions,
    ) {
        match kind {
            kind::MLD => self.mld(now, received, packet, actions),
            kind::MOBILITY => self.mobility(now, received, packet, actions),
            kind::ICMP_ERROR => {
                if let Some(member) = &mut self.member {
                    member.icmp_error(now, packet, actions);
                }
            }
            kind::CARE_OF_UNREACHABLE => {
                if let Some(correspondent) = &mut self.correspondent {
                    correspondent.unreachable(now, packet, actions);
                }
            }
            // A data plane of another version; the shell checks that it is of ours.
            _ => {}
        }
    }

    fn mld(
        &mut self,
        now: Time,
        received: &Received<'_>,
        packet: &Packet<'_>,
        actions: &mut Actions,
    ) {
        let on = self
            .links
            .get(&received.ifindex)
            .copied()
            .unwrap_or_default();
        let message = match mld::Message::parse(packet, self.router_alert) {
            Ok(message) => message,
            // These belong to the kernel, which gets its copy.
            Err(wire::Error::Multicast) => return,
            Err(error) => return self.unparsable(kind::MLD, received, error, actions),
        };
        if let Some(router) = self.router.as_mut().filter(|_| on.router) {
            router.mld(now, received, packet.source, message, actions);
        }
        if let mld::Message::Query(query) = message
            && let Some(member) = self.member.as_mut().filter(|_| on.member)
        {
            member.query(now, received, packet.source, query, actions);
        }
    }

    /// A member receives what answers its own messages, a correspondent everything else for its
    /// clients, a malformed message and an unknown type included (RFC 6275 section 9.2).
    fn mobility(
        &mut self,
        now: Time,
        received: &Received<'_>,
        packet: &Packet<'_>,
        actions: &mut Actions,
    ) {
        let message = Message::parse(packet);
        let to_member = self.member_addresses.contains(&packet.destination);
        let prefixes = &self.client_prefixes;
        let to_client = prefixes
            .iter()
            .any(|prefix| prefix.contains(&packet.destination));
        let for_member = match &message {
            Ok(
                Message::BindingRefreshRequest
                | Message::HomeTest { .. }
                | Message::CareOfTest { .. }
                | Message::BindingAck(_)
                | Message::BindingError { .. },
            ) => to_member,
            Ok(
                Message::HomeTestInit { .. }
                | Message::CareOfTestInit { .. }
                | Message::BindingUpdate(_)
                | Message::Unknown { .. },
            )
            | Err(_) => to_member && !to_client,
        };
        if let Some(member) = self.member.as_mut().filter(|_| for_member) {
            member.mobility(now, packet, message, actions);
        } else if let Some(correspondent) = self.correspondent.as_mut().filter(|_| to_client) {
            correspondent.mobility(now, received, packet, message, actions);
        } else {
            self.unexpected(packet, actions);
        }
    }

    fn unexpected(&mut self, packet: &Packet<'_>, actions: &mut Actions) {
        self.counters.count(Counter::MobilityUnexpected);
        actions.push(Action::Notice(Notice::MobilityRefused {
            source: packet.source,
            destination: packet.destination,
            reason: Counter::MobilityUnexpected.name(),
        }));
    }

    fn unparsable(
        &mut self,
        kind: u8,
        received: &Received<'_>,
        error: wire::Error,
        actions: &mut Actions,
    ) {
        self.counters.count(match kind {
            kind::MLD => Counter::MldInvalid,
            kind::ICMP_ERROR | kind::CARE_OF_UNREACHABLE => Counter::IcmpErrorInvalid,
            _ => Counter::MobilityInvalid,
        });
        actions.push(Action::Notice(Notice::Unparsable {
            ifindex: received.ifindex,
            error,
        }));
    }

    /// An operator wants something. Gives whether this machine is a member of the group now.
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

    /// An operator ends these bindings of a correspondent. Gives how many there were; none where the
    /// machine does not have the role.
    pub fn flush(&mut self, now: Time, which: &Selection, actions: &mut Actions) -> Option<usize> {
        let correspondent = self.correspondent.as_mut()?;
        Some(correspondent.flush(now, which, actions))
    }

    /// Another policy applies from now on.
    pub fn set_policy(&mut self, now: Time, policy: Policy, actions: &mut Actions) {
        if let Some(router) = &mut self.router {
            router.set_policy(now, policy, actions);
        }
    }

    /// Does what is due.
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

    /// When to [`poll`](Self::poll): no later than there is something to do, and at times earlier.
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

    /// Takes back what stands outside: memberships, routes, bindings.
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

    /// The router role, to look at.
    #[must_use]
    pub fn router(&self) -> Option<&Router> {
        self.router.as_ref()
    }

    /// The member role, to look at.
    #[must_use]
    pub fn member(&self) -> Option<&Member> {
        self.member.as_ref()
    }

    /// The correspondent takes up what an earlier run saved, see [`Correspondent::restore`].
    pub fn correspondent_mut(&mut self) -> Option<&mut Correspondent> {
        self.correspondent.as_mut()
    }

    /// The correspondent role, to look at.
    #[must_use]
    pub fn correspondent(&self) -> Option<&Correspondent> {
        self.correspondent.as_ref()
    }

    /// Every counter, over all roles.
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

/// What can be read of a packet that may be anything and may be cut short.
fn refused(reason: &'static str, received: &Received<'_>, actions: &mut Actions) {
    let packet = Packet::parse_quoted(received.packet).ok();
    let address = packet.and_then(|packet| packet.payload.get(8..24)?.try_into().ok());
    let Some((source, _)) = ends(received.packet) else {
        return;
    };
    actions.push(Action::Notice(Notice::MldRefused {
        ifindex: received.ifindex,
        source,
        mac: received.mac,
        by: RefusedBy::DataPlane,
        anycast: address.map(|octets: [u8; 16]| octets.into()),
        reason,
    }));
}

/// Another generator, seeded by this one.
fn fork(random: &mut Generator) -> Generator {
    Generator::from_rng(random)
}

/// Source and destination of a packet of which at least the IPv6 header is there.
fn ends(start: &[u8]) -> Option<(Ipv6Addr, Ipv6Addr)> {
    let source: [u8; 16] = start.get(8..24)?.try_into().ok()?;
    let destination: [u8; 16] = start.get(24..ipv6::HEADER_LEN)?.try_into().ok()?;
    Some((source.into(), destination.into()))
}

#[cfg(test)]
mod tests;
