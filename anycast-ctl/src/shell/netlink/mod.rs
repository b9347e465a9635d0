//! The kernel's interfaces, addresses, neighbours and routes, through rtnetlink.

mod addresses;
mod error;
mod events;
mod links;
mod local;
pub mod nexthop;
mod notifications;
mod plain;
pub mod requests;
pub mod routes;
mod socket;

pub use error::NetlinkError;
pub use events::{KernelEvent, NexthopNews, RouteNews, mac};
pub use links::{KernelChange, LinkInput, LinkTable};
pub use plain::are_plain;
pub use socket::{Netlink, links};
