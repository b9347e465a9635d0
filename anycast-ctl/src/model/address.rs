//! Addresses that the daemon assigns, and those that the kernel has.

use std::net::Ipv6Addr;

/// Address protocol (`IFA_PROTO`) that marks an address as ours: `ip address show proto 172`. Our routes have the same
/// number, unless the configuration says otherwise.
pub const PROTOCOL: u8 = 0xac;

/// An address that the daemon is to assign, as a /128.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The address.
    pub address: Ipv6Addr,
    /// Name of the interface to which the address is assigned.
    pub interface: String,
    /// Whether the kernel runs duplicate address detection before it uses the address.
    pub detect_duplicates: bool,
}

/// An address that the kernel has now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Index of the interface that has the address.
    pub ifindex: u32,
    /// The address.
    pub address: Ipv6Addr,
    /// Prefix length of the address, in bits.
    pub length: u8,
    /// Whether the address carries [`PROTOCOL`], so that the daemon may remove it.
    pub ours: bool,
    /// Whether the host may choose the address as the source of its own connections. It must not do so for our
    /// addresses.
    pub preferred: bool,
    /// Whether the kernel does not use it, because another host has it, too.
    pub duplicate: bool,
}
