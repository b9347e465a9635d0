//! The raw sender and the multicast memberships.

use std::{
    collections::BTreeSet,
    io,
    net::{Ipv6Addr, SocketAddr, SocketAddrV6},
};

use socket2::{Domain, Protocol, Socket, Type};

/// Octets before the Destination Address of an IPv6 header, and after it.
const DESTINATION: std::ops::Range<usize> = 24..40;
/// `IPPROTO_RAW`: the packets are complete, their IPv6 header included.
const RAW: i32 = 255;

/// Sends packets that the core made.
#[derive(Debug)]
pub struct Sender {
    socket: Socket,
}

impl Sender {
    /// Needs `CAP_NET_RAW`.
    pub fn new() -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::from(RAW)))?;
        socket.set_header_included_v6(true)?;
        // Our own Queries are not for this host's listeners.
        socket.set_multicast_loop_v6(false)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket })
    }

    /// Sends a complete IPv6 packet; `ifindex` is the scope of its destination.
    pub fn send(&self, ifindex: Option<u32>, packet: &[u8]) -> io::Result<()> {
        let destination: [u8; 16] = packet
            .get(DESTINATION)
            .and_then(|octets| octets.try_into().ok())
            .ok_or(io::ErrorKind::InvalidInput)?;
        // The kernel wants port 0 here; the scope chooses the interface of link-local and
        // multicast destinations, and the routing table that of others.
        let to = SocketAddrV6::new(destination.into(), 0, 0, ifindex.unwrap_or(0));
        let sent = self.socket.send_to(packet, &SocketAddr::V6(to).into())?;
        if sent == packet.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }
}

/// Multicast groups that this host listens to because a role wants it.
#[derive(Debug)]
pub struct Groups {
    socket: Socket,
    wanted: BTreeSet<(u32, Ipv6Addr)>,
    joined: BTreeSet<(u32, Ipv6Addr)>,
}

impl Groups {
    /// Listens to nothing.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            socket: Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?,
            wanted: BTreeSet::new(),
            joined: BTreeSet::new(),
        })
    }

    /// Joins; [`Groups::retry`] repeats what fails.
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

    /// Leaves.
    pub fn leave(&mut self, ifindex: u32, group: Ipv6Addr) -> io::Result<()> {
        self.wanted.remove(&(ifindex, group));
        if self.joined.remove(&(ifindex, group)) {
            match self.socket.leave_multicast_v6(&group, ifindex) {
                // The interface took its memberships with it.
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

    /// The interface is gone; its number may come back as another one.
    pub fn forget(&mut self, ifindex: u32) {
        self.wanted.retain(|(index, _)| *index != ifindex);
        self.joined.retain(|(index, _)| *index != ifindex);
    }

    /// Joins what is wanted and could not be joined before.
    pub fn retry(&mut self) {
        let missing: Vec<_> = self.wanted.difference(&self.joined).copied().collect();
        for (ifindex, group) in missing {
            if let Err(error) = self.try_join(ifindex, group) {
                tracing::warn!(ifindex, %group, %error, "cannot join a multicast group");
            }
        }
    }
}
