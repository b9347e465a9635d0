//! Kinds of addresses (RFC 4291).

use core::net::Ipv6Addr;

use crate::wire::{AddressKind, Error};

/// FF02::1, every node of the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// FF02::2, every router of the link.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// Whether `address` is in fe80::/10.
#[must_use]
pub const fn is_link_local(address: Ipv6Addr) -> bool {
    address.is_unicast_link_local()
}

/// Whether `address` can be a client's or a care-of address: unicast, and meaningful beyond the
/// link. Not unspecified, loopback, multicast, link-local, IPv4-mapped or IPv4-compatible.
#[must_use]
pub fn is_routable_unicast(address: Ipv6Addr) -> bool {
    // ::/96 is the deprecated IPv4-compatible range and holds :: and ::1 (RFC 4291 section 2.5.5.1).
    let v4_compatible = address.segments().iter().take(6).all(|&word| word == 0);
    anycastable(address).is_ok() && !v4_compatible
}

/// Whether `address` can be anycast, and if not, what it is.
pub fn anycastable(address: Ipv6Addr) -> Result<(), Error> {
    let kind = if address.is_unspecified() {
        AddressKind::Unspecified
    } else if address.is_loopback() {
        AddressKind::Loopback
    } else if address.is_multicast() {
        AddressKind::Multicast
    } else if is_link_local(address) {
        AddressKind::LinkLocal
    } else if address.to_ipv4_mapped().is_some() {
        AddressKind::V4Mapped
    } else {
        return Ok(());
    };
    Err(Error::NotAnycast(kind))
}

/// The solicited-node multicast address of `address`: FF02::1:FF00:0/104 and its low 24 bits
/// (RFC 4291 section 2.7.1).
#[must_use]
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from_octets([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}
