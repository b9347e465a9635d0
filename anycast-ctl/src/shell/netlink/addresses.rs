//! Reads, adds and removes the addresses of this machine.

use std::net::Ipv6Addr;

use netlink_packet_route::{
    AddressFamily,
    address::{
        AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol,
        CacheInfo,
    },
};

use super::{Netlink, NetlinkError, address, collect, within};
use crate::model::address::{Held, PROTOCOL};

/// Lifetime of an address that does not expire.
const FOR_EVER: u32 = u32::MAX;

impl Netlink {
    /// Reads the IPv6 addresses of every interface.
    pub async fn addresses(&self) -> Result<Vec<Held>, NetlinkError> {
        let mut request = self.handle.address().get();
        request.message_mut().header.family = AddressFamily::Inet6;
        let messages = collect(request.execute()).await?;
        Ok(messages.iter().filter_map(held).collect())
    }

    /// Adds a /128 that carries our protocol number, or makes it what it should be. Its preferred lifetime is 0: the
    /// host never chooses it as the source of connections of its own (RFC 6724 section 5, rule 3).
    pub async fn add_address(
        &self,
        ifindex: u32,
        address: Ipv6Addr,
        detect_duplicates: bool,
    ) -> Result<(), NetlinkError> {
        let addresses = self.handle.address();
        let mut request = addresses.add(ifindex, address.into(), 128).replace();
        let message = request.message_mut();
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
        match within(request.execute()).await {
            Err(error) if error.errno() == Some(nix::libc::EEXIST) => Ok(()),
            result => result,
        }
    }

    /// Removes an address. It is no error if the address does not exist any more.
    pub async fn remove_address(&self, held: Held) -> Result<(), NetlinkError> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet6;
        message.header.index = held.ifindex;
        message.header.prefix_len = held.length;
        let address = AddressAttribute::Address(held.address.into());
        message.attributes.push(address);
        match within(self.handle.address().del(message).execute()).await {
            Err(error) if error.errno() == Some(nix::libc::EADDRNOTAVAIL) => Ok(()),
            result => result,
        }
    }
}

fn held(message: &AddressMessage) -> Option<Held> {
    let super::KernelChange::Address {
        ifindex,
        address,
        preferred,
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
    })
}
