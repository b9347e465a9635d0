//! The kernel's interfaces, addresses and routes over rtnetlink.

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

/// Room for notifications while the loop is busy; more are lost and the tables are read again.
const RECEIVE_BUFFER: usize = 16 << 20;
/// How long the kernel may take to answer. It answers at once; a lost answer must not stall us.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the kernel did not do it.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// It refused.
    #[error(transparent)]
    Refused(io::Error),
    /// It did not answer.
    #[error("the kernel did not answer")]
    Timeout,
    /// The socket is gone, or something else answered.
    #[error("netlink: {0}")]
    Broken(rtnetlink::Error),
    /// The same, of a socket for requests.
    #[error("netlink: {0}")]
    Socket(io::Error),
}

impl NetlinkError {
    /// The error number, where the kernel gave one.
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

/// A notification that concerns us.
#[derive(Debug, PartialEq, Eq)]
pub enum KernelEvent {
    /// Of an interface or an address.
    Change(KernelChange),
    /// A route was added, changed or deleted.
    Route(RouteNews),
    /// A host is not to be reached at an address of its link (NUD_FAILED).
    NeighbourFailed {
        /// Interface index.
        ifindex: u32,
        /// Its address.
        address: Ipv6Addr,
    },
    /// A neighbour has come, has gone, or has another Ethernet address, perhaps.
    Neighbour,
    /// Notifications were lost: everything has to be read again.
    Lost,
}

/// What the kernel says of a route.
#[derive(Debug, PartialEq, Eq)]
pub struct RouteNews {
    /// The route.
    pub route: Installed,
    /// Who made it.
    pub protocol: u8,
    /// It is gone.
    pub deleted: bool,
}

/// A netlink socket that is subscribed to links, addresses, neighbours and IPv6
/// routes.
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
    /// Opens and subscribes. Needs a tokio runtime.
    pub fn open() -> io::Result<Self> {
        let (mut connection, handle, messages) = rtnetlink::new_multicast_connection(&[
            MulticastGroup::Link,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Neigh,
        ])?;
        let socket = rtnetlink::sys::AsyncSocket::socket_mut(connection.socket_mut());
        // Beyond what net.core.rmem_max allows: every route that we change comes back here.
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

    /// The next notification that concerns us. Loses nothing when it is dropped. A broken socket
    /// is opened again.
    pub async fn next(&mut self) -> KernelEvent {
        loop {
            if let Some(event) = self.notifications.next().await {
                return event;
            }
            // The connection ended: an error of the socket that it does not recover from.
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

    /// All interfaces and their IPv6 addresses.
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
            // A port that leaves its bridge is deleted, but only in the family of bridges.
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

/// An entry that is deleted only, for want of use, says nothing about the neighbour.
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
    Some(KernelChange::Link {
        ifindex: message.header.index,
        name,
        // `Running`, too: between carrier and that the kernel drops what is sent, such as the first Report.
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
            // On a point-to-point link `Address` is the other end and `Local` is ours.
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
    })
}
