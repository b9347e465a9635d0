//! What the shell tells the core.

use std::net::Ipv6Addr;

/// State of an interface on which a role is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Interface index.
    pub ifindex: u32,
    /// Interface name.
    pub name: String,
    /// Administratively up, with a carrier.
    pub up: bool,
    /// The link-local address that our MLD messages leave from; none until the kernel has one.
    pub link_local: Option<Ipv6Addr>,
}

/// A packet that the data plane gave to the controller.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// Interface on which it came.
    pub ifindex: u32,
    /// Ethernet source address.
    pub mac: [u8; 6],
    /// The IPv6 packet, from its first header on.
    pub packet: &'a [u8],
}
