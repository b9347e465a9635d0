//! Addresses that the daemon assigns, and those that the kernel has.

use std::net::Ipv6Addr;

/// Marks an address as ours: `ip address show proto 172`. The number that our routes have unless
/// the configuration says otherwise.
pub const PROTOCOL: u8 = 0xac;

/// An address to assign, as a /128.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The address.
    pub address: Ipv6Addr,
    /// Name of its interface.
    pub interface: String,
    /// Whether the kernel looks for duplicates before it uses it.
    pub detect_duplicates: bool,
}

/// An address that the kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its interface.
    pub ifindex: u32,
    /// The address.
    pub address: Ipv6Addr,
    /// Its prefix length.
    pub length: u8,
    /// Whether it carries [`PROTOCOL`].
    pub ours: bool,
}
