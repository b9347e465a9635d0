//! The kernel's interfaces, addresses, neighbours and routes, through rtnetlink.

mod addresses;
mod links;
pub mod nexthop;
pub mod requests;
pub mod routes;

use std::{
    io,
    net::{IpAddr, Ipv6Addr},
    os::fd::AsFd as _,
    time::Duration,
};

use futures_util::{Stream, StreamExt, TryStreamExt, stream::BoxStream};
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage},
    link::{LinkAttribute, LinkFlags, LinkMessage},
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    route::RouteMessage,
};
use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::{Handle, MulticastGroup};
use tokio::task::JoinHandle;

use crate::model::route::Installed;
pub use links::{KernelChange, LinkInput, LinkTable};

/// Receive buffer in octets for the notifications that arrive while the loop is busy. When it overflows, notifications
/// are lost and the tables are read again.
const RECEIVE_BUFFER: usize = 16 << 20;
/// How long to wait for an answer of the kernel. It normally answers at once, and the daemon must not hang when an
/// answer is lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a request to the kernel failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The kernel refused the request.
    #[error(transparent)]
    Refused(io::Error),
    /// The kernel did not answer in time.
    #[error("the kernel did not answer")]
    Timeout,
    /// The socket has failed, or the answer is not one to this request.
    #[error("netlink: {0}")]
    Broken(rtnetlink::Error),
    /// The socket for requests has failed, or the answer is not one to this request.
    #[error("netlink: {0}")]
    Socket(io::Error),
}

impl NetlinkError {
    /// The error number that the kernel gave, if it gave one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused(error) => error.raw_os_error(),
            Self::Timeout | Self::Broken(_) | Self::Socket(_) => None,
        }
    }
}

impl From<rtnetlink::Error> for NetlinkError {
    fn from(error: rtnetlink::Error) -> Self {
        match error {
            rtnetlink::Error::NetlinkError(message) => Self::Refused(message.to_io()),
            other => Self::Broken(other),
        }
    }
}

/// A notification of the kernel that matters to the daemon.
#[derive(Debug, PartialEq, Eq)]
pub enum KernelEvent {
    /// A change of an interface or an address.
    Change(KernelChange),
    /// A route was added, changed or deleted.
    Route(RouteNews),
    /// A host cannot be reached at an address of its link (NUD_FAILED).
    NeighbourFailed {
        /// Interface index.
        ifindex: u32,
        /// Address of the host.
        address: Ipv6Addr,
    },
    /// A neighbour may have appeared, disappeared or got another Ethernet address.
    Neighbour,
    /// Notifications were lost, so that everything has to be read again.
    Lost,
}

/// A notification about a route.
#[derive(Debug, PartialEq, Eq)]
pub struct RouteNews {
    /// The route.
    pub route: Installed,
    /// Protocol number of the program that made the route.
    pub protocol: u8,
    /// Whether the route was deleted.
    pub deleted: bool,
}

/// A netlink socket that receives the notifications about links, addresses, neighbours and IPv6 routes.
pub struct Netlink {
    handle: Handle,
    notifications: BoxStream<'static, KernelEvent>,
    driver: JoinHandle<()>,
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Netlink {
    /// Opens the socket and subscribes. Needs a tokio runtime.
    pub fn open() -> io::Result<Self> {
        let (mut connection, handle, messages) = rtnetlink::new_multicast_connection(&[
            MulticastGroup::Link,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Neigh,
        ])?;
        let socket = rtnetlink::sys::AsyncSocket::socket_mut(connection.socket_mut());
        // The size may exceed net.core.rmem_max, since every route that this daemon changes comes back as a
        // notification.
        let force = setsockopt(&socket.as_fd(), sockopt::RcvBufForce, &RECEIVE_BUFFER);
        if force.is_err() {
            socket.set_rx_buf_sz(RECEIVE_BUFFER)?;
        }
        let notifications = messages
            .filter_map(|(message, _)| std::future::ready(event(message.payload)))
            .boxed();
        Ok(Self {
            handle,
            notifications,
            driver: tokio::spawn(connection),
        })
    }

    /// Waits for the next notification that matters. Dropping the future loses nothing. A socket that has failed is
    /// opened again.
    pub async fn next(&mut self) -> KernelEvent {
        loop {
            if let Some(event) = self.notifications.next().await {
                return event;
            }
            // The connection ended by an error from which the socket does not recover.
            match Self::open() {
                Ok(anew) => {
                    *self = anew;
                    return KernelEvent::Lost;
                }
                Err(error) => {
                    tracing::error!(%error, "netlink cannot be opened again");
                    tokio::time::sleep(PATIENCE).await;
                }
            }
        }
    }

    /// Reads all interfaces and their IPv6 addresses.
    pub async fn links(&self) -> Result<Vec<KernelChange>, NetlinkError> {
        let mut changes = Vec::new();
        for message in collect(self.handle.link().get().execute()).await? {
            changes.extend(link(&message));
        }
        let mut request = self.handle.address().get();
        request.message_mut().header.family = AddressFamily::Inet6;
        for message in collect(request.execute()).await? {
            changes.extend(address(&message));
        }
        Ok(changes)
    }
}

async fn within<T>(
    request: impl Future<Output = Result<T, rtnetlink::Error>>,
) -> Result<T, NetlinkError> {
    match tokio::time::timeout(PATIENCE, request).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(NetlinkError::Timeout),
    }
}

async fn collect<T>(
    stream: impl Stream<Item = Result<T, rtnetlink::Error>>,
) -> Result<Vec<T>, NetlinkError> {
    within(stream.try_collect()).await
}

fn event(payload: NetlinkPayload<RouteNetlinkMessage>) -> Option<KernelEvent> {
    let change = match payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message)) => link(&message),
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(message)) => {
            // When a port leaves its bridge, the kernel reports it as deleted, but only in the family of bridges.
            (message.header.interface_family == AddressFamily::Unspec).then_some(
                KernelChange::LinkGone {
                    ifindex: message.header.index,
                },
            )
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(message)) => address(&message),
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(message)) => {
            match address(&message) {
                Some(KernelChange::Address {
                    ifindex, address, ..
                }) => Some(KernelChange::AddressGone { ifindex, address }),
                _ => None,
            }
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(message)) => {
            return news(&message, false);
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelRoute(message)) => {
            return news(&message, true);
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(message)) => {
            return neighbour(&message);
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelNeighbour(message)) => {
            let ipv6 = message.header.family == AddressFamily::Inet6;
            return ipv6.then_some(KernelEvent::Neighbour);
        }
        NetlinkPayload::Overrun(_) => return Some(KernelEvent::Lost),
        _ => None,
    };
    change.map(KernelEvent::Change)
}

fn news(message: &RouteMessage, deleted: bool) -> Option<KernelEvent> {
    Some(KernelEvent::Route(RouteNews {
        route: routes::installed(message)?,
        protocol: message.header.protocol.into(),
        deleted,
    }))
}

/// The kernel also deletes entries that are not in use. Such a deletion says nothing about the neighbour.
fn neighbour(message: &NeighbourMessage) -> Option<KernelEvent> {
    let address = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => Some(*address),
            _ => None,
        })?;
    Some(match message.header.state {
        NeighbourState::Failed => KernelEvent::NeighbourFailed {
            ifindex: message.header.ifindex,
            address,
        },
        _ => KernelEvent::Neighbour,
    })
}

fn link(message: &LinkMessage) -> Option<KernelChange> {
    if message.header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let name = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.clone()),
            _ => None,
        })?;
    let (mut mac, mut below, mut above, mut elsewhere) = (None, None, None, false);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Address(address) => mac = address.as_slice().try_into().ok(),
            LinkAttribute::Link(index) => below = Some(*index),
            LinkAttribute::Controller(index) => above = Some(*index),
            LinkAttribute::LinkNetNsId(_) => elsewhere = true,
            _ => {}
        }
    }
    Some(KernelChange::Link {
        ifindex: message.header.index,
        name,
        mac,
        // The index belongs to another network namespace.
        below: below.filter(|_| !elsewhere),
        above,
        // `Running` is required as well: between the carrier and that flag the kernel drops what is sent, such as the
        // first Report.
        up: message
            .header
            .flags
            .contains(LinkFlags::Up | LinkFlags::LowerUp | LinkFlags::Running),
    })
}

fn address(message: &AddressMessage) -> Option<KernelChange> {
    let mut address = None;
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    for attribute in &message.attributes {
        match attribute {
            // On a point-to-point link, `Address` is the other end and `Local` is ours.
            AddressAttribute::Local(IpAddr::V6(local)) => address = Some(*local),
            AddressAttribute::Address(IpAddr::V6(other)) if address.is_none() => {
                address = Some(*other);
            }
            AddressAttribute::Flags(all) => flags = *all,
            _ => {}
        }
    }
    Some(KernelChange::Address {
        ifindex: message.header.index,
        address: address?,
        usable: !flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed),
        preferred: !flags.contains(AddressFlags::Deprecated),
    })
}
