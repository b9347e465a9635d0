//! The raw socket that sends packets.

use std::{
    fmt,
    io::{self, IoSlice},
    net::SocketAddrV6,
    os::fd::AsRawFd as _,
};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, MultiHeaders, SockaddrIn6, sendmmsg, setsockopt, sockopt},
};
use socket2::{Domain, Protocol, Socket, Type};

/// Position of the Destination Address in an IPv6 header, in octets.
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
pub struct Sender {
    socket: Socket,
    headers: MultiHeaders<SockaddrIn6>,
}

impl Sender {
    /// Opens the socket. Needs `CAP_NET_RAW`.
    pub fn new() -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::from(RAW)))?;
        socket.set_header_included_v6(true)?;
        // Queries of this router are not meant for listeners on this host.
        socket.set_multicast_loop_v6(false)?;
        socket.set_nonblocking(true)?;
        // The buffer has to hold the messages of thousands of groups, for example when all of them are left at once.
        setsockopt(&socket, sockopt::SndBufForce, &SEND_BUFFER)
            .or_else(|_| setsockopt(&socket, sockopt::SndBuf, &SEND_BUFFER))?;
        let headers = MultiHeaders::preallocate(BATCH, None);
        Ok(Self { socket, headers })
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
            let addresses: Vec<_> = batch.iter().map(destination).collect();
            let octets: Vec<_> = batch
                .iter()
                .map(|(_, packet)| [IoSlice::new(packet)])
                .collect();
            // The kernel stops at a packet that fails, and gives the error only when it is the first one.
            let sent = sendmmsg(
                self.socket.as_raw_fd(),
                &mut self.headers,
                &octets,
                addresses,
                [],
                MsgFlags::empty(),
            );
            match sent.map(Iterator::count) {
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

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

/// The destination of a packet. `None` where the packet is too short to have one; the kernel then refuses the packet.
fn destination((ifindex, packet): &Outgoing) -> Option<SockaddrIn6> {
    let octets: [u8; 16] = packet.get(DESTINATION)?.try_into().ok()?;
    // The kernel requires port 0 here. The scope chooses the interface for link-local and multicast destinations, and
    // the routing table chooses it for others.
    Some(SocketAddrV6::new(octets.into(), 0, 0, ifindex.unwrap_or(0)).into())
}
