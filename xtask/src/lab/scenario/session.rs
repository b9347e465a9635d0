//! A session of the client.

use std::net::Ipv6Addr;

use crate::lab::{topology::Server, visitor::Visitor};

/// A session of the client behind the gateway, bound to a member.
#[derive(Debug)]
pub struct Session {
    /// The client's end of the session.
    pub visitor: Visitor,
    /// The member that answered.
    pub server: Server,
    /// The member's care-of address, C.
    pub care_of: Ipv6Addr,
    /// Port of the client.
    pub port: u16,
    /// Time at which the Binding Acknowledgement was captured.
    pub bound_at: u64,
}
