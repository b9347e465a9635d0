//! Values by which the shell tells the core about interfaces and packets.

use std::net::Ipv6Addr;

/// State of an interface on which at least one role is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Interface index.
    pub ifindex: u32,
    /// Interface name.
    pub name: String,
    /// Whether the interface is administratively up and has a carrier.
    pub up: bool,
    /// Link-local address from which this host sends its MLD messages. `None` until the kernel has one.
    pub link_local: Option<Ipv6Addr>,
}

/// A packet that the data plane passed to the controller.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// Index of the interface on which it arrived.
    pub ifindex: u32,
    /// Ethernet source address.
    pub mac: [u8; 6],
    /// The IPv6 packet, from its first header on.
    pub packet: &'a [u8],
}
