//! The IPv6 header, its extension header chain (RFC 8200) and the kinds of addresses (RFC 4291).

mod address;
mod chain;
mod header;
mod numbers;
mod packet;
mod parse;

pub use address::{
    ALL_NODES, ALL_ROUTERS, anycastable, is_link_local, is_routable_unicast, solicited_node,
};
pub use header::header;
pub use numbers::*;
pub use packet::{Fragment, Packet};
