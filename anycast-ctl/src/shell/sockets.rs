//! The raw socket that sends packets, and the multicast memberships.

use std::{
    collections::BTreeSet,
    fmt,
    io::{self, IoSlice},
    net::{Ipv6Addr, SocketAddrV6},
    os::fd::AsRawFd as _,
};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, MultiHeaders, SockaddrIn6, sendmmsg, setsockopt, sockopt},
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::core::GroupAction;

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

/// Multicast groups that this host listens to because a role needs them.
#[derive(Debug)]
pub struct Groups {
    socket: Socket,
    wanted: BTreeSet<(u32, Ipv6Addr)>,
    joined: BTreeSet<(u32, Ipv6Addr)>,
}

impl Groups {
    /// Opens the socket. No group is joined yet.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            socket: Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?,
            wanted: BTreeSet::new(),
            joined: BTreeSet::new(),
        })
    }

    /// Joins or leaves a group, as the core wants. An error is logged.
    pub fn apply(&mut self, action: GroupAction) {
        match action {
            GroupAction::Join { ifindex, group } => {
                if let Err(error) = self.join(ifindex, group) {
                    tracing::warn!(ifindex, %group, %error, "cannot join a multicast group: trying again");
                }
            }
            GroupAction::Leave { ifindex, group } => {
                if let Err(error) = self.leave(ifindex, group) {
                    tracing::warn!(ifindex, %group, %error, "cannot leave a multicast group");
                }
            }
        }
    }

    /// Joins a group. If that fails, [`Groups::retry`] tries again.
    pub fn join(&mut self, ifindex: u32, group: Ipv6Addr) -> io::Result<()> {
        self.wanted.insert((ifindex, group));
        self.try_join(ifindex, group)
    }

    fn try_join(&mut self, ifindex: u32, group: Ipv6Addr) -> io::Result<()> {
        if self.joined.contains(&(ifindex, group)) {
            return Ok(());
        }
        match self.socket.join_multicast_v6(&group, ifindex) {
            Err(error) if error.raw_os_error() != Some(nix::libc::EADDRINUSE) => Err(error),
            _ => {
                self.joined.insert((ifindex, group));
                Ok(())
            }
        }
    }

    /// Leaves a group.
    pub fn leave(&mut self, ifindex: u32, group: Ipv6Addr) -> io::Result<()> {
        self.wanted.remove(&(ifindex, group));
        if self.joined.remove(&(ifindex, group)) {
            match self.socket.leave_multicast_v6(&group, ifindex) {
                // The memberships of an interface end with it.
                Err(error)
                    if !matches!(
                        error.raw_os_error(),
                        Some(nix::libc::EADDRNOTAVAIL | nix::libc::ENODEV)
                    ) =>
                {
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Leaves all groups on an interface that no role has any more.
    pub fn leave_all(&mut self, ifindex: u32) {
        let joined: Vec<_> = self.joined.iter().copied().collect();
        for (_, group) in joined.into_iter().filter(|(index, _)| *index == ifindex) {
            self.apply(GroupAction::Leave { ifindex, group });
        }
        self.forget(ifindex);
    }

    /// Forgets the memberships of an interface that disappeared, since its index may be given to another one.
    pub fn forget(&mut self, ifindex: u32) {
        self.wanted.retain(|(index, _)| *index != ifindex);
        self.joined.retain(|(index, _)| *index != ifindex);
    }

    /// Joins the wanted groups that could not be joined before.
    pub fn retry(&mut self) {
        let missing: Vec<_> = self.wanted.difference(&self.joined).copied().collect();
        for (ifindex, group) in missing {
            if let Err(error) = self.try_join(ifindex, group) {
                tracing::warn!(ifindex, %group, %error, "cannot join a multicast group");
            }
        }
    }
}
