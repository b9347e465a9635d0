//! Makes links, addresses and routes, through rtnetlink.

use std::{net::Ipv6Addr, time::Duration};

use anyhow::{Context as _, Result, bail};
use futures_util::{StreamExt as _, TryStreamExt as _};
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{AddressAttribute, AddressHeaderFlags, CacheInfo},
    link::{BridgeMulticastRouterType, InfoData, InfoVeth, LinkAttribute, LinkFlags, LinkMessage},
};
use nix::net::if_::if_nametoindex;
use rtnetlink::{
    AddressMessageBuilder, Handle, LinkBridge, LinkBridgePort, LinkUnspec, LinkVeth,
    MulticastGroup, RouteMessageBuilder,
};

use super::namespace::Namespace;

/// One end of a veth pair.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// Namespace of the end.
    pub namespace: &'a Namespace,
    /// Name of the interface in that namespace.
    pub name: &'a str,
    /// Ethernet address of the interface. The kernel chooses one when it is `None`.
    pub mac: Option<[u8; 6]>,
}

impl<'a> End<'a> {
    /// An end whose Ethernet address the kernel chooses.
    pub const fn new(namespace: &'a Namespace, name: &'a str) -> Self {
        Self {
            namespace,
            name,
            mac: None,
        }
    }

    /// The same with this Ethernet address.
    #[must_use]
    pub const fn with_mac(self, mac: [u8; 6]) -> Self {
        Self {
            mac: Some(mac),
            ..self
        }
    }
}

/// Makes a veth pair. Each end is made directly in its namespace, so that names never collide.
pub fn veth(left: End<'_>, right: End<'_>) -> Result<()> {
    let far = std::os::fd::AsRawFd::as_raw_fd(right.namespace.file());
    let mut peer = LinkMessage::default();
    peer.attributes = vec![
        LinkAttribute::IfName(right.name.to_owned()),
        LinkAttribute::NetNsFd(far),
    ];
    peer.attributes
        .extend(right.mac.map(|mac| LinkAttribute::Address(mac.to_vec())));
    let mut near =
        LinkVeth::new(left.name, right.name).set_info_data(InfoData::Veth(InfoVeth::Peer(peer)));
    if let Some(mac) = left.mac {
        near = near.address(mac.to_vec());
    }
    request(left.namespace, async |handle| {
        handle.link().add(near.build()).execute().await
    })
    .with_context(|| format!("cannot make the link {} - {}", left.name, right.name))
}

/// Brings both ends of a veth pair up, and waits until the kernel accepts packets at both.
///
/// An interface has its carrier at once, but for up to a second the kernel drops what is sent on it, and a bridge drops
/// what such a port receives.
pub fn connect(left: End<'_>, right: End<'_>) -> Result<()> {
    for end in [left, right] {
        up(end.namespace, end.name)?;
    }
    for end in [left, right] {
        running(end.namespace, end.name)?;
    }
    Ok(())
}

/// How long to wait for the kernel to notice a carrier.
const CARRIER: Duration = Duration::from_secs(10);

/// Waits until the interface has the flag `IFF_RUNNING`.
fn running(namespace: &Namespace, interface: &str) -> Result<()> {
    let index = index(namespace, interface)?;
    namespace.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let runs = |link: &LinkMessage| {
            link.header.index == index && link.header.flags.contains(LinkFlags::Running)
        };
        let wait = async {
            let (connection, handle, mut changes) =
                rtnetlink::new_multicast_connection(&[MulticastGroup::Link])?;
            tokio::spawn(connection);
            let mut now = handle.link().get().match_index(index).execute();
            if now.try_next().await?.is_some_and(|link| runs(&link)) {
                return Ok(());
            }
            while let Some((message, _)) = changes.next().await {
                if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) =
                    message.payload
                    && runs(&link)
                {
                    return Ok(());
                }
            }
            bail!("the kernel ended the subscription")
        };
        let result = runtime.block_on(async { tokio::time::timeout(CARRIER, wait).await });
        result
            .with_context(|| format!("{interface} does not run within {CARRIER:?}"))?
            .with_context(|| format!("cannot wait for {interface}"))
    })
}

/// Makes a bridge with these interfaces as its ports, and brings all of them up.
pub fn bridge(namespace: &Namespace, name: &str, ports: &[&str]) -> Result<()> {
    request(namespace, async |handle| {
        let bridge = LinkBridge::new(name).up().build();
        handle.link().add(bridge).execute().await
    })
    .with_context(|| format!("cannot make the bridge {name}"))?;
    for port in ports {
        let (bridge, port) = (index(namespace, name)?, index(namespace, port)?);
        request(namespace, async |handle| {
            let port = LinkUnspec::new_with_index(port);
            let message = port.controller(bridge).up().build();
            handle.link().set(message).execute().await
        })?;
    }
    Ok(())
}

/// Tells a bridge that a multicast router is behind its port, so that it forwards every Report there.
///
/// A switch with MLD snooping finds only the Querier by itself. It would forward Reports for an anycast address nowhere
/// else, since that address is not a multicast group that somebody has joined.
pub fn multicast_router(namespace: &Namespace, port: &str) -> Result<()> {
    let index = index(namespace, port)?;
    request(namespace, async |handle| {
        let port = LinkBridgePort::new(index).mcast_router(BridgeMulticastRouterType::Permanent);
        handle.link().set_port(port.build()).execute().await
    })
    .with_context(|| format!("cannot make {port} a port of a multicast router"))
}

/// Removes a port from its bridge. Its carrier stays.
pub fn detach(namespace: &Namespace, port: &str) -> Result<()> {
    let index = index(namespace, port)?;
    request(namespace, async |handle| {
        let message = LinkUnspec::new_with_index(index).nocontroller();
        handle.link().set(message.build()).execute().await
    })
    .with_context(|| format!("cannot take {port} out of its bridge"))
}

/// Brings an interface up.
pub fn up(namespace: &Namespace, interface: &str) -> Result<()> {
    let index = index(namespace, interface)?;
    request(namespace, async |handle| {
        let message = LinkUnspec::new_with_index(index);
        handle.link().set(message.up().build()).execute().await
    })
    .with_context(|| format!("cannot bring {interface} up"))
}

/// Takes an interface down, as happens when a machine loses its power. The other end loses its carrier.
pub fn down(namespace: &Namespace, interface: &str) -> Result<()> {
    let index = index(namespace, interface)?;
    request(namespace, async |handle| {
        let message = LinkUnspec::new_with_index(index);
        handle.link().set(message.down().build()).execute().await
    })
    .with_context(|| format!("cannot take {interface} down"))
}

/// Sets the MTU of an interface, in octets.
pub fn mtu(namespace: &Namespace, interface: &str, mtu: u32) -> Result<()> {
    let index = index(namespace, interface)?;
    request(namespace, async |handle| {
        let message = LinkUnspec::new_with_index(index).mtu(mtu).build();
        handle.link().set(message).execute().await
    })
    .with_context(|| format!("cannot set the MTU of {interface} to {mtu}"))
}

/// Adds an address, without duplicate address detection.
pub fn address(
    namespace: &Namespace,
    interface: &str,
    address: Ipv6Addr,
    length: u8,
) -> Result<()> {
    add_address(namespace, interface, address, length, true)
}

/// Assigns an address with a preferred lifetime of 0, so that the host never chooses it as a source.
pub fn deprecated_address(
    namespace: &Namespace,
    interface: &str,
    address: Ipv6Addr,
    length: u8,
) -> Result<()> {
    add_address(namespace, interface, address, length, false)
}

fn add_address(
    namespace: &Namespace,
    interface: &str,
    address: Ipv6Addr,
    length: u8,
    preferred: bool,
) -> Result<()> {
    let index = index(namespace, interface)?;
    request(namespace, async |handle| {
        let mut request = handle.address().add(index, address.into(), length);
        let message = AddressMessageBuilder::<Ipv6Addr>::new()
            .index(index)
            .address(address, length);
        *request.message_mut() = message.build();
        let message = request.message_mut();
        message.header.flags |= AddressHeaderFlags::Nodad;
        if !preferred {
            let mut lifetime = CacheInfo::default();
            lifetime.ifa_valid = u32::MAX;
            message
                .attributes
                .push(AddressAttribute::CacheInfo(lifetime));
        }
        request.execute().await
    })
    .with_context(|| format!("cannot give {interface} the address {address}"))
}

/// Adds a static route.
pub fn route(
    namespace: &Namespace,
    destination: Ipv6Addr,
    length: u8,
    via: Ipv6Addr,
    interface: &str,
) -> Result<()> {
    let route = by(namespace, (destination, length), via, interface)?.build();
    request(namespace, async |handle| {
        handle.route().add(route).execute().await
    })
    .with_context(|| format!("cannot add the route to {destination}/{length}"))
}

/// Replaces the static route of this metric by another one.
pub fn replace_route(
    namespace: &Namespace,
    (destination, length): (Ipv6Addr, u8),
    via: Ipv6Addr,
    interface: &str,
    metric: u32,
) -> Result<()> {
    let route = by(namespace, (destination, length), via, interface)?;
    let route = route.priority(metric).build();
    request(namespace, async |handle| {
        handle.route().add(route).replace().execute().await
    })
    .with_context(|| format!("cannot replace the route to {destination}/{length}"))
}

fn by(
    namespace: &Namespace,
    (destination, length): (Ipv6Addr, u8),
    via: Ipv6Addr,
    interface: &str,
) -> Result<RouteMessageBuilder<Ipv6Addr>> {
    Ok(RouteMessageBuilder::<Ipv6Addr>::new()
        .destination_prefix(destination, length)
        .gateway(via)
        .output_interface(index(namespace, interface)?))
}

/// Removes the static route of this metric.
pub fn remove_route(
    namespace: &Namespace,
    (destination, length): (Ipv6Addr, u8),
    metric: u32,
) -> Result<()> {
    let route = RouteMessageBuilder::<Ipv6Addr>::new()
        .destination_prefix(destination, length)
        .priority(metric)
        .build();
    request(namespace, async |handle| {
        handle.route().del(route).execute().await
    })
    .with_context(|| format!("cannot remove the route to {destination}/{length}"))
}

/// Adds a permanent neighbour entry, or changes its Ethernet address.
pub fn neighbour(
    namespace: &Namespace,
    interface: &str,
    address: Ipv6Addr,
    mac: [u8; 6],
) -> Result<()> {
    let index = index(namespace, interface)?;
    request(namespace, async |handle| {
        let request = handle.neighbours().add(index, address.into());
        request.link_layer_address(&mac).replace().execute().await
    })
    .with_context(|| format!("cannot add the neighbour {address} on {interface}"))
}

/// The index of an interface.
pub fn index(namespace: &Namespace, interface: &str) -> Result<u32> {
    namespace.run(|| if_nametoindex(interface).with_context(|| format!("no interface {interface}")))
}

/// The Ethernet address of an interface.
pub fn mac(namespace: &Namespace, interface: &str) -> Result<[u8; 6]> {
    let index = index(namespace, interface)?;
    let link = request(namespace, async |handle| {
        let mut link = handle.link().get().match_index(index).execute();
        link.try_next().await
    });
    let attributes = link?.map(|link| link.attributes).unwrap_or_default();
    let mac = attributes
        .into_iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Address(mac) => <[u8; 6]>::try_from(mac).ok(),
            _ => None,
        });
    mac.with_context(|| format!("{interface} has no Ethernet address"))
}

fn request<R: Send>(
    namespace: &Namespace,
    body: impl AsyncFnOnce(Handle) -> Result<R, rtnetlink::Error> + Send,
) -> Result<R> {
    namespace.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection()?;
            tokio::spawn(connection);
            Ok(body(handle).await?)
        })
    })
}

/// Deletes an interface. The other end of a veth pair is deleted as well.
pub fn delete(namespace: &Namespace, interface: &str) -> Result<()> {
    let index = index(namespace, interface)?;
    request(namespace, async |handle| {
        handle.link().del(index).execute().await
    })
    .with_context(|| format!("cannot remove {interface}"))
}
