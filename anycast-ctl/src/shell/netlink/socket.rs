//! The netlink sockets of the daemon's loop.

use std::io;

use netlink_packet_core::Parseable as _;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage, address::AddressMessage, link::LinkMessage,
};

use super::{
    error::NetlinkError,
    events::{self, KernelEvent},
    links::KernelChange,
    notifications::Notifications,
    requests::{Batch, Requests},
};

/// The netlink sockets of the daemon's loop: one for notifications, and one to ask and to change. They are two, so that
/// a notification cannot be taken for the answer to a question.
#[derive(Debug)]
pub struct Netlink {
    pub(super) requests: Requests,
    notifications: Notifications,
}

impl Netlink {
    /// Opens the sockets and subscribes. Needs a tokio runtime.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            notifications: Notifications::open()?,
            requests: Requests::open()?,
        })
    }

    /// Waits for the next notification that matters. Dropping the future loses nothing.
    pub async fn next(&mut self) -> KernelEvent {
        self.notifications.next().await
    }

    /// Reads all interfaces and their IPv6 addresses.
    pub fn links(&mut self) -> Result<Vec<KernelChange>, NetlinkError> {
        links(&mut self.requests)
    }

    /// Lets the kernel execute one request.
    pub(super) fn perform(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), NetlinkError> {
        let mut batch = Batch::default();
        batch.push(message, flags);
        self.requests.perform(batch).pop().unwrap_or(Ok(()))
    }
}

/// Reads all interfaces and their IPv6 addresses.
pub fn links(requests: &mut Requests) -> Result<Vec<KernelChange>, NetlinkError> {
    let query = RouteNetlinkMessage::GetLink(LinkMessage::default());
    let link = |octets: &[u8]| events::link(&LinkMessage::parse(octets).ok()?);
    let mut changes = requests.dump(&query, link)?;
    let address = |octets: &[u8]| events::address(&AddressMessage::parse(octets).ok()?);
    changes.extend(requests.dump(&address_query(), address)?);
    Ok(changes)
}

/// A request for the IPv6 addresses of every interface.
pub(super) fn address_query() -> RouteNetlinkMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet6;
    RouteNetlinkMessage::GetAddress(message)
}
