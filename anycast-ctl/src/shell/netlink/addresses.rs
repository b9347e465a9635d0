//! Reads, adds and removes the addresses of this machine.

use std::net::Ipv6Addr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE, Parseable as _};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{
        AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol,
        CacheInfo,
    },
};

use super::{
    error::NetlinkError,
    events::address,
    links::KernelChange,
    socket::{Netlink, address_query},
};
use crate::model::address::{Held, PROTOCOL};

/// Lifetime of an address that does not expire.
const FOR_EVER: u32 = u32::MAX;

impl Netlink {
    /// Reads the IPv6 addresses of every interface.
    pub fn addresses(&mut self) -> Result<Vec<Held>, NetlinkError> {
        let read = |octets: &[u8]| held(&AddressMessage::parse(octets).ok()?);
        self.requests.dump(&address_query(), read)
    }

    /// Adds a /128 that carries our protocol number, or makes it what it should be. Its preferred lifetime is 0: the
    /// host never chooses it as the source of connections of its own (RFC 6724 section 5, rule 3).
    pub fn add_address(
        &mut self,
        ifindex: u32,
        address: Ipv6Addr,
        detect_duplicates: bool,
    ) -> Result<(), NetlinkError> {
        let mut message = message(ifindex, address, 128);
        let protocol = AddressProtocol::Other(PROTOCOL);
        message
            .attributes
            .push(AddressAttribute::Protocol(protocol));
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_valid = FOR_EVER;
        lifetime.ifa_preferred = 0;
        message
            .attributes
            .push(AddressAttribute::CacheInfo(lifetime));
        if !detect_duplicates {
            message.header.flags |= AddressHeaderFlags::Nodad;
            let flags = AddressFlags::Nodad;
            message.attributes.push(AddressAttribute::Flags(flags));
        }
        let message = RouteNetlinkMessage::NewAddress(message);
        match self.perform(message, NLM_F_CREATE | NLM_F_REPLACE) {
            Err(error) if error.errno() == Some(nix::libc::EEXIST) => Ok(()),
            result => result,
        }
    }

    /// Removes an address. It is no error if the address does not exist any more.
    pub fn remove_address(&mut self, held: Held) -> Result<(), NetlinkError> {
        let message = message(held.ifindex, held.address, held.length);
        match self.perform(RouteNetlinkMessage::DelAddress(message), 0) {
            Err(error) if error.errno() == Some(nix::libc::EADDRNOTAVAIL) => Ok(()),
            result => result,
        }
    }
}

fn message(ifindex: u32, address: Ipv6Addr, length: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.index = ifindex;
    message.header.prefix_len = length;
    let address = AddressAttribute::Address(address.into());
    message.attributes.push(address);
    message
}

fn held(message: &AddressMessage) -> Option<Held> {
    let KernelChange::Address {
        ifindex,
        address,
        preferred,
        duplicate,
        ..
    } = address(message)?
    else {
        return None;
    };
    let ours = AddressAttribute::Protocol(AddressProtocol::Other(PROTOCOL));
    Some(Held {
        ifindex,
        address,
        length: message.header.prefix_len,
        ours: message.attributes.contains(&ours),
        preferred,
        duplicate,
    })
}
