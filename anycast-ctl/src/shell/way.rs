//! Where this machine's kernel sends packets to an address.

use std::{io, net::Ipv6Addr};

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{LinkAttribute, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteMessage},
};
use nix::sys::{
    socket::{setsockopt, sockopt},
    time::TimeVal,
};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// How long the kernel may take.
const PATIENCE: i64 = 2;

/// A way to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// Name of the interface by which packets leave.
    pub(super) interface: String,
    /// The next hop; none where the address itself is on the link.
    pub(super) next_hop: Option<Ipv6Addr>,
    /// MTU of the interface in octets, as far as it can be read.
    pub(super) mtu: Option<u32>,
}

/// Asks the kernel for the way to an address. `None` where it has none.
pub(super) fn to(address: Ipv6Addr) -> io::Result<Option<Way>> {
    let mut route = RouteMessage::default();
    route.header.address_family = AddressFamily::Inet6;
    route.header.destination_prefix_length = 128;
    let destination = RouteAttribute::Destination(RouteAddress::Inet6(address));
    route.attributes.push(destination);
    let mut kernel = Kernel::open()?;
    let Some(RouteNetlinkMessage::NewRoute(route)) =
        kernel.ask(RouteNetlinkMessage::GetRoute(route))?
    else {
        return Ok(None);
    };
    let mut ifindex = None;
    let mut next_hop = None;
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => ifindex = Some(*index),
            RouteAttribute::Gateway(RouteAddress::Inet6(address)) => next_hop = Some(*address),
            _ => {}
        }
    }
    let Some(ifindex) = ifindex else {
        return Ok(None);
    };
    let mut link = LinkMessage::default();
    link.header.index = ifindex;
    let Some(RouteNetlinkMessage::NewLink(link)) =
        kernel.ask(RouteNetlinkMessage::GetLink(link))?
    else {
        return Ok(None);
    };
    let mut way = Way {
        interface: String::new(),
        next_hop,
        mtu: None,
    };
    for attribute in link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => way.interface = name,
            LinkAttribute::Mtu(mtu) => way.mtu = Some(mtu),
            _ => {}
        }
    }
    Ok(Some(way))
}

/// A socket for single questions.
struct Kernel(Socket);

impl Kernel {
    fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        let patience = TimeVal::new(PATIENCE, 0);
        setsockopt(&socket, sockopt::ReceiveTimeout, &patience)?;
        Ok(Self(socket))
    }

    /// The answer, or `None` where the kernel refuses: there is no such thing.
    fn ask(&mut self, question: RouteNetlinkMessage) -> io::Result<Option<RouteNetlinkMessage>> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(question));
        message.finalize();
        let mut octets = vec![0; message.buffer_len()];
        message.serialize(&mut octets);
        self.0.send(&octets, 0)?;
        let (answer, _) = self.0.recv_from_full()?;
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer);
        match answer.map(|message| message.payload) {
            Ok(NetlinkPayload::InnerMessage(answer)) => Ok(Some(answer)),
            Ok(NetlinkPayload::Error(_)) => Ok(None),
            Ok(_) => Err(io::Error::other("another message came")),
            Err(error) => Err(io::Error::other(error.to_string())),
        }
    }
}
