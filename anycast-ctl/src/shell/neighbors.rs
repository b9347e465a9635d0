//! Receives Solicitations that arrive at this host: those of neighbours, and those of switches that look for multicast
//! routers.

use std::{
    io::{self, IoSliceMut},
    net::Ipv6Addr,
    os::fd::AsRawFd as _,
};

use anycast_common::wire::ipv6;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};

/// Longest message that is read, in octets. A Solicitation with its one option has 32.
const LONGEST: usize = 256;

/// A Solicitation, with what the kernel says about it.
#[derive(Debug)]
pub struct Solicited {
    /// Index of the interface on which it arrived.
    pub ifindex: u32,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    hop_limit: u8,
    message: Vec<u8>,
}

impl Solicited {
    /// The message as a packet. Its IPv6 header is made again from what the kernel says, since the raw socket gives no
    /// headers.
    #[must_use]
    pub fn packet(&self) -> ipv6::Packet<'_> {
        ipv6::Packet::bare(
            self.source,
            self.destination,
            self.hop_limit,
            ipv6::NEXT_HEADER_ICMPV6,
            &self.message,
        )
    }
}

/// A raw socket that receives a copy of every ICMPv6 message of one type.
#[derive(Debug)]
pub struct Neighbors {
    socket: AsyncFd<Socket>,
}

impl Neighbors {
    /// Opens the socket. Needs `CAP_NET_RAW` and a tokio runtime.
    pub fn open(message_type: u8) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
        // The filter drops other types in the kernel: it loads the type, and accepts the whole message if it is the
        // one that is wanted.
        socket.attach_filter(&[
            SockFilter::new(0x30, 0, 0, 0),
            SockFilter::new(0x15, 0, 1, u32::from(message_type)),
            SockFilter::new(0x06, 0, 0, u32::MAX),
            SockFilter::new(0x06, 0, 0, 0),
        ])?;
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        socket.set_recv_hoplimit_v6(true)?;
        socket.set_nonblocking(true)?;
        // SAFETY: the socket owns its file descriptor, always gives the same one, and lives in the `AsyncFd` until both
        // are dropped.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        Ok(Self { socket })
    }

    /// Waits for the next Solicitation. Dropping the future loses nothing.
    pub async fn next(&self) -> io::Result<Solicited> {
        loop {
            let mut ready = self.socket.readable().await?;
            if let Ok(result) = ready.try_io(|socket| receive(socket.get_ref()))
                && let Some(solicited) = result?
            {
                return Ok(solicited);
            }
        }
    }
}

fn receive(socket: &Socket) -> io::Result<Option<Solicited>> {
    let mut message = vec![0; LONGEST];
    let mut control = nix::cmsg_space!(nix::libc::in6_pktinfo, nix::libc::c_int);
    let mut parts = [IoSliceMut::new(&mut message)];
    let received = recvmsg::<SockaddrIn6>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::empty(),
    )?;
    let (mut arrived, mut hop_limit) = (None, None);
    for control in received.cmsgs()? {
        match control {
            ControlMessageOwned::Ipv6PacketInfo(info) => arrived = Some(info),
            ControlMessageOwned::Ipv6HopLimit(limit) => hop_limit = u8::try_from(limit).ok(),
            _ => {}
        }
    }
    let (source, length) = (received.address.map(|source| source.ip()), received.bytes);
    let (Some(source), Some(arrived), Some(hop_limit)) = (source, arrived, hop_limit) else {
        return Ok(None);
    };
    message.truncate(length);
    Ok(Some(Solicited {
        ifindex: arrived.ipi6_ifindex,
        source,
        destination: arrived.ipi6_addr.s6_addr.into(),
        hop_limit,
        message,
    }))
}
