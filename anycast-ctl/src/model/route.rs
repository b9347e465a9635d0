//! Routes of this daemon, as the configuration wants them and as the kernel has them.

use ipnet::Ipv6Net;

use super::nexthop::Resilient;
use crate::core::NextHop;

/// The routing table, metric and protocol number of the routes of this daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutePlace {
    /// Routing table number.
    pub table: u32,
    /// Metric of each route; a lower one is preferred.
    pub metric: u32,
    /// Route protocol number, which marks a route as ours.
    pub protocol: u8,
}

/// How the daemon writes its routes into the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteSettings {
    /// Table, metric and protocol of the routes.
    pub place: RoutePlace,
    /// How the next hops of a route are written.
    pub style: Style,
    /// Whether a route may have several next hops.
    pub multipath: bool,
    /// Whether plain multipath is used where zebra (FRR) runs, which does not follow resilient groups of others.
    pub plain_beside_zebra: bool,
}

/// How next hops are written into the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Next hops stand in the route itself (plain multipath). When a member joins or leaves, flows of other members may
    /// move.
    Plain,
    /// Each route uses a resilient next-hop group of its own, also when it has a single member, so that the flows of
    /// that member do not move when a second one joins.
    Resilient(Resilient),
}

/// The values by which one route of ours differs from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Routing table number.
    pub table: u32,
    /// Destination.
    pub destination: Ipv6Net,
    /// Metric.
    pub metric: u32,
}

/// The next hops of a route, in the form that the kernel has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// The next hops stand in the route itself, sorted.
    Hops(Vec<NextHop>),
    /// The route refers to the next-hop object of this number.
    Object(u32),
    /// The route has a form that this daemon never writes.
    Strange,
}

/// A route that the kernel has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Table, destination and metric of the route.
    pub key: Key,
    /// The next hops of the route.
    pub way: Way,
}
