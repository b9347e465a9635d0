//! Routes of ours, as the configuration wants them and as the kernel has them.

use ipnet::Ipv6Net;

use super::nexthop::Resilient;
use crate::core::NextHop;

/// What marks a route as ours, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutePlace {
    /// Routing table.
    pub table: u32,
    /// Metric.
    pub metric: u32,
    /// Route protocol number.
    pub protocol: u8,
}

/// How routes are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteSettings {
    /// Where they stand.
    pub place: RoutePlace,
    /// How their next hops are written.
    pub style: Style,
    /// A route may have several next hops.
    pub multipath: bool,
}

/// How next hops are written into the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Into the routes: plain multipath, where a member that comes or goes moves flows of others.
    Plain,
    /// One resilient next-hop group a route, also for a single member: a second one then moves
    /// nothing.
    Resilient(Resilient),
}

/// What tells our routes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Routing table.
    pub table: u32,
    /// Destination.
    pub destination: Ipv6Net,
    /// Metric.
    pub metric: u32,
}

/// Where a route leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Its own next hops, sorted.
    Hops(Vec<NextHop>),
    /// The next-hop object of this number.
    Object(u32),
    /// Something that our routes never have.
    Strange,
}

/// A route of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Its place.
    pub key: Key,
    /// Where it leads to.
    pub way: Way,
}
