//! What the router knows, in a form to show to operators.

use std::{net::Ipv6Addr, time::Duration};

use serde::{Serialize, Serializer};

use super::{GeneralQueries, Router, Timer, Timers, member::State, querier::Role};
use crate::core::{
    NextHop, Time,
    seconds::{maybe_seconds, seconds},
};

/// A group on a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupView {
    /// The anycast address, B.
    pub group: Ipv6Addr,
    /// Name of the interface.
    pub interface: String,
    /// State of the group.
    pub state: GroupState,
    /// Next hops of the route of `group` that are on this link.
    pub next_hops: Vec<NextHop>,
    /// Members, in the order of their addresses.
    pub members: Vec<MemberView>,
}

/// State of a group that has members (RFC 2710 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupState {
    /// "Listeners Present".
    ListenersPresent,
    /// "Checking Listeners": one member at least is being checked.
    CheckingListeners,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemberView {
    /// Link-local address of the member.
    pub address: Ipv6Addr,
    /// Ethernet source address of its last Report.
    #[serde(serialize_with = "mac")]
    pub mac: [u8; 6],
    /// How long it has been a member.
    #[serde(serialize_with = "seconds")]
    pub since: Duration,
    /// When the membership ends unless the member sends another Report.
    #[serde(serialize_with = "seconds")]
    pub expires_in: Duration,
    /// Number of the policy rule that allowed the member, counted from 0.
    pub rule: usize,
    /// Whether a Done or another router's Query has started a check of whether the member is still there.
    pub checking: bool,
}

/// A configured link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LinkView {
    /// Name of the interface.
    pub interface: String,
    /// Interface index. `None` while there is no such interface.
    pub ifindex: Option<u32>,
    /// Whether the link is up and has a carrier.
    pub up: bool,
    /// Source address of the Queries that this router sends.
    pub link_local: Option<Ipv6Addr>,
    /// Role of this router in the Querier election.
    pub role: LinkRole,
    /// Address of the Querier.
    pub querier: Option<Ipv6Addr>,
    /// Whether this router is the Querier.
    pub ours: bool,
    /// An MLDv2 querier on the link, which does not take part in the MLDv1 election.
    pub v2_querier: Option<Ipv6Addr>,
    /// Whether the configuration wants General Queries.
    pub general_queries: GeneralQueries,
    /// Which Queries the router sends as a result.
    pub queries: Queries,
    /// Why it sends these Queries.
    pub reason: Reason,
    /// When the next of these Queries is sent.
    #[serde(serialize_with = "maybe_seconds")]
    #[cfg_attr(test, schemars(with = "Option<f64>"))]
    pub next_query_in: Option<Duration>,
    /// When this router becomes the Querier unless the present Querier sends a Query.
    #[serde(serialize_with = "maybe_seconds")]
    #[cfg_attr(test, schemars(with = "Option<f64>"))]
    pub other_querier_expires_in: Option<Duration>,
    /// When the next Multicast Router Advertisement is sent, unless they are turned off.
    #[serde(serialize_with = "maybe_seconds")]
    #[cfg_attr(test, schemars(with = "Option<f64>"))]
    pub next_advertisement_in: Option<Duration>,
    /// The configured timers.
    pub timers: Timers,
    /// Multicast Listener Interval, derived from the timers.
    #[serde(serialize_with = "seconds")]
    #[cfg_attr(test, schemars(with = "f64"))]
    pub multicast_listener_interval: Duration,
    /// Other Querier Present Interval, derived from the timers.
    #[serde(serialize_with = "seconds")]
    #[cfg_attr(test, schemars(with = "f64"))]
    pub other_querier_present_interval: Duration,
    /// Whether a Done takes effect without a check.
    pub fast_leave: bool,
    /// Number of groups that have members on this link.
    pub groups: usize,
}

/// Role of the router on a link (RFC 2710 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LinkRole {
    /// The router cannot send Queries yet.
    Initial,
    /// The router is the Querier and sends the Queries.
    Querier,
    /// Another router is the Querier.
    NonQuerier,
}

/// Which Queries a router sends on a link, apart from those of checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Queries {
    /// General Queries.
    General,
    /// Address-Specific Queries for the groups that the router knows.
    AddressSpecific,
    /// No Queries.
    None,
}

/// Why a router sends these Queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The router is the Querier (RFC 2710 section 6).
    Querier,
    /// The configuration turns General Queries off.
    Configured,
    /// The router does not know yet whether there is an MLDv2 querier.
    Listening,
    /// An MLDv2 querier already asks all hosts.
    V2Querier,
    /// Another router is the Querier.
    OtherQuerier,
    /// The link has no link-local address to send from.
    NoLinkLocal,
    /// The link is down.
    Down,
}

impl Router {
    /// Every group on every link, in the order of addresses, then of the settings.
    #[must_use]
    pub fn groups(&self, now: Time) -> Vec<GroupView> {
        self.groups
            .iter()
            .map(|(key @ (anycast, id), group)| {
                let link = &self.links[*id];
                let next_hops = self.routes.next_hops(*anycast).iter().copied();
                GroupView {
                    group: *anycast,
                    interface: link.settings.interface.clone(),
                    state: if group.is_checking() {
                        GroupState::CheckingListeners
                    } else {
                        GroupState::ListenersPresent
                    },
                    next_hops: next_hops
                        .filter(|hop| Some(hop.ifindex) == link.ifindex)
                        .collect(),
                    members: group
                        .members
                        .iter()
                        .map(|(address, member)| MemberView {
                            address: *address,
                            mac: member.admission.mac,
                            since: now - member.since,
                            expires_in: self
                                .left(now, Timer::Member(*key, *address))
                                .unwrap_or_default(),
                            rule: member.admission.rule,
                            checking: member.state == State::Checking,
                        })
                        .collect(),
                }
            })
            .collect()
    }

    /// The next hops of the route of an address, each with the name of its interface.
    #[must_use]
    pub fn next_hops(&self, anycast: Ipv6Addr) -> Vec<(NextHop, &str)> {
        let name = |hop: &NextHop| {
            let mut links = self.links.iter();
            let link = links.find(|link| link.ifindex == Some(hop.ifindex))?;
            Some((*hop, link.settings.interface.as_str()))
        };
        let hops = self.routes.next_hops(anycast).iter();
        hops.filter_map(name).collect()
    }

    /// Every configured link, in the order of the settings.
    #[must_use]
    pub fn links(&self, now: Time) -> Vec<LinkView> {
        self.links
            .iter()
            .enumerate()
            .filter(|(_, link)| !link.is_retired())
            .map(|(id, link)| {
                let (role, queries, reason) = match link.role {
                    Role::Initial if link.up => {
                        (LinkRole::Initial, Queries::None, Reason::NoLinkLocal)
                    }
                    Role::Initial => (LinkRole::Initial, Queries::None, Reason::Down),
                    Role::Querier if link.listening => {
                        (LinkRole::Querier, Queries::None, Reason::Listening)
                    }
                    Role::Querier if link.asks_everybody() => {
                        (LinkRole::Querier, Queries::General, Reason::Querier)
                    }
                    Role::Querier => {
                        let reason = match link.settings.general_queries {
                            GeneralQueries::Never => Reason::Configured,
                            GeneralQueries::Polite | GeneralQueries::Always => Reason::V2Querier,
                        };
                        (LinkRole::Querier, Queries::AddressSpecific, reason)
                    }
                    Role::NonQuerier { .. } => {
                        (LinkRole::NonQuerier, Queries::None, Reason::OtherQuerier)
                    }
                };
                let timers = link.settings.timers;
                let querier = link.querier();
                LinkView {
                    interface: link.settings.interface.clone(),
                    ifindex: link.ifindex,
                    up: link.up,
                    link_local: link.link_local,
                    role,
                    querier: querier.map(|(address, _)| address),
                    ours: querier.is_some_and(|(_, ours)| ours),
                    v2_querier: link.v2_querier,
                    general_queries: link.settings.general_queries,
                    queries,
                    reason,
                    next_query_in: self
                        .left(now, Timer::GeneralQuery(id))
                        .or_else(|| self.left(now, Timer::Refresh(id))),
                    other_querier_expires_in: self.left(now, Timer::OtherQuerier(id)),
                    next_advertisement_in: self.left(now, Timer::Advertise(id)),
                    timers,
                    multicast_listener_interval: timers.multicast_listener_interval(),
                    other_querier_present_interval: timers.other_querier_present_interval(),
                    fast_leave: link.settings.fast_leave,
                    groups: link.groups.len(),
                }
            })
            .collect()
    }

    fn left(&self, now: Time, timer: Timer) -> Option<Duration> {
        self.schedule.get(timer).map(|time| time - now)
    }
}

fn mac<S: Serializer>(mac: &[u8; 6], serializer: S) -> Result<S::Ok, S::Error> {
    let [a, b, c, d, e, f] = mac;
    serializer.collect_str(&format_args!(
        "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"
    ))
}
