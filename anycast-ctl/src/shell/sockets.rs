//! The raw socket that sends packets.

use std::{
    io, mem,
    net::{Ipv6Addr, SocketAddrV6},
    os::fd::AsRawFd as _,
    ptr,
};

use anycast_common::wire::ipv6::is_link_local;
use nix::{
    errno::Errno,
    libc,
    sys::socket::{SockaddrIn6, SockaddrLike as _, setsockopt, sockopt},
};
use socket2::{Domain, Protocol, Socket, Type};

/// Positions of the addresses in an IPv6 header, in octets.
const SOURCE: std::ops::Range<usize> = 8..24;
const DESTINATION: std::ops::Range<usize> = 24..40;
/// `IPPROTO_RAW`: the packets are complete, their IPv6 header included.
const RAW: i32 = 255;

/// Number of packets that are passed to the kernel in one system call.
const BATCH: usize = 128;

/// Send buffer in octets for packets that wait for their devices. The kernel charges a small packet with about 800
/// octets.
const SEND_BUFFER: usize = 16 << 20;

/// A complete IPv6 packet, with the interface index that is the scope of its destination.
pub type Outgoing = (Option<u32>, Vec<u8>);

/// Sends the packets that the core made.
#[derive(Debug)]
pub struct Sender {
    socket: Socket,
}

impl Sender {
    /// Opens the socket. Needs `CAP_NET_RAW`.
    pub fn new() -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::from(RAW)))?;
        socket.set_header_included_v6(true)?;
        // A gateway answers as its clients do, whose addresses are not its own.
        socket.set_freebind_v6(true)?;
        // Queries of this router are not meant for listeners on this host.
        socket.set_multicast_loop_v6(false)?;
        socket.set_nonblocking(true)?;
        // The buffer has to hold the messages of thousands of groups, for example when all of them are left at once.
        setsockopt(&socket, sockopt::SndBufForce, &SEND_BUFFER)
            .or_else(|_| setsockopt(&socket, sockopt::SndBuf, &SEND_BUFFER))?;
        Ok(Self { socket })
    }

    /// Sends a packet; `ifindex` is the scope of its destination.
    pub fn send(&mut self, ifindex: Option<u32>, packet: &[u8]) -> io::Result<()> {
        let mut outcome = Ok(());
        let one = [(ifindex, packet.to_vec())];
        self.send_all(&one, |_, error| outcome = Err(error));
        outcome
    }

    /// Sends packets in order, many per system call. A packet that fails is passed to `failed` and does not stop the
    /// others.
    pub fn send_all(&mut self, packets: &[Outgoing], mut failed: impl FnMut(&Outgoing, io::Error)) {
        let mut rest = packets;
        while let Some(first) = rest.first() {
            let batch = &rest[..rest.len().min(BATCH)];
            // The kernel stops at a packet that fails, and gives the error only when it is the first one.
            match send_some(&self.socket, batch) {
                Ok(sent @ 1..) => rest = &rest[sent..],
                outcome => {
                    let error = outcome.err().unwrap_or(Errno::EIO);
                    failed(first, error.into());
                    rest = &rest[1..];
                }
            }
        }
    }
}

/// What is said about a packet beside it: the address by which the kernel looks for a route (RFC 3542 section 6.2),
/// which does not read that of the packet. Rules and routes may depend on it, as they do for other packets of the
/// address; and the kernel need not choose one.
#[repr(C, align(8))]
struct Control {
    header: libc::cmsghdr,
    info: libc::in6_pktinfo,
}

impl Control {
    fn of(source: Ipv6Addr) -> Self {
        // SAFETY: a C structure of integers.
        let mut header: libc::cmsghdr = unsafe { mem::zeroed() };
        header.cmsg_len = mem::offset_of!(Self, info) + mem::size_of::<libc::in6_pktinfo>();
        header.cmsg_level = libc::IPPROTO_IPV6;
        header.cmsg_type = libc::IPV6_PKTINFO;
        let info = libc::in6_pktinfo {
            ipi6_addr: libc::in6_addr {
                s6_addr: source.octets(),
            },
            ipi6_ifindex: 0,
        };
        Self { header, info }
    }
}

/// By `sendmmsg`, with a [`Control`] for each packet. The library has one for all of them.
fn send_some(socket: &Socket, packets: &[Outgoing]) -> nix::Result<usize> {
    let destinations: Vec<_> = packets.iter().map(destination).collect();
    let mut controls: Vec<_> = packets.iter().map(control).collect();
    let mut octets: Vec<_> = packets
        .iter()
        .map(|(_, packet)| libc::iovec {
            iov_base: packet.as_ptr().cast_mut().cast(),
            iov_len: packet.len(),
        })
        .collect();
    let parts = destinations.iter().zip(&mut controls).zip(&mut octets);
    let headers = parts.map(|((destination, control), octets)| {
        // SAFETY: all-zero is a valid value of this C structure.
        let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
        let header = &mut message.msg_hdr;
        if let Some(destination) = destination {
            header.msg_name = destination.as_ptr().cast_mut().cast();
            header.msg_namelen = destination.len();
        }
        if let Some(control) = control {
            header.msg_control = ptr::from_mut(control).cast();
            header.msg_controllen = mem::size_of::<Control>();
        }
        header.msg_iov = ptr::from_mut(octets);
        header.msg_iovlen = 1;
        message
    });
    let mut headers: Vec<_> = headers.collect();
    let count = libc::c_uint::try_from(headers.len()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: there are so many, what they point to lives until the call returns, and the kernel writes to none of it
    // but the lengths.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, 0) };
    let sent = Errno::result(sent)?;
    usize::try_from(sent).map_err(|_| Errno::EINVAL)
}

/// The destination of a packet. `None` where the packet is too short to have one; the kernel then refuses the packet.
fn destination((ifindex, packet): &Outgoing) -> Option<SockaddrIn6> {
    // The kernel requires port 0 here. The scope chooses the interface for link-local and multicast destinations, and
    // the routing table chooses it for others.
    let address = address(packet, DESTINATION)?;
    Some(SocketAddrV6::new(address, 0, 0, ifindex.unwrap_or(0)).into())
}

/// The interface of what goes to a link is known, and no route is looked for by its source.
fn control((_, packet): &Outgoing) -> Option<Control> {
    let (source, destination) = (address(packet, SOURCE)?, address(packet, DESTINATION)?);
    let is_on_link = |address: Ipv6Addr| address.is_multicast() || is_link_local(address);
    let by_source = !source.is_unspecified() && !is_on_link(source) && !is_on_link(destination);
    by_source.then(|| Control::of(source))
}

fn address(packet: &[u8], at: std::ops::Range<usize>) -> Option<Ipv6Addr> {
    let octets: [u8; 16] = packet.get(at)?.try_into().ok()?;
    Some(octets.into())
}
