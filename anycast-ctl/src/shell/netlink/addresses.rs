//! Reads, adds and removes the addresses of this machine.

use std::net::Ipv6Addr;

use netlink_packet_route::{
    AddressFamily,
    address::{
        AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol,
    },
};

use super::{Netlink, NetlinkError, address, collect, within};
use crate::model::address::{Held, PROTOCOL};

impl Netlink {
    /// Reads the IPv6 addresses of every interface.
    pub async fn addresses(&self) -> Result<Vec<Held>, NetlinkError> {
        let mut request = self.handle.address().get();
        request.message_mut().header.family = AddressFamily::Inet6;
        let messages = collect(request.execute()).await?;
        Ok(messages.iter().filter_map(held).collect())
    }

    /// Adds a /128 address that carries our protocol number. An address that exists already stays as it is.
    pub async fn add_address(
        &self,
        ifindex: u32,
        address: Ipv6Addr,
        detect_duplicates: bool,
    ) -> Result<(), NetlinkError> {
        let addresses = self.handle.address();
        let mut request = addresses.add(ifindex, address.into(), 128);
        let message = request.message_mut();
        let protocol = AddressProtocol::Other(PROTOCOL);
        message
            .attributes
            .push(AddressAttribute::Protocol(protocol));
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
        ifindex, address, ..
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
    })
}
