//! The socket that receives the kernel's notifications, and nothing else.
//!
//! The kernel gives a notification the sequence number of the request that caused it, which may have come by another
//! socket. A socket that also asked for dumps would take such a notification for the answer to a request of its own.

use std::{collections::VecDeque, io, os::fd::AsFd as _};

use netlink_packet_core::NetlinkBuffer;
use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    error::PATIENCE,
    events::{KernelEvent, event},
};

/// Receive buffer in octets for the notifications that arrive while the loop is busy. When it overflows, notifications
/// are lost and the tables are read again.
const RECEIVE_BUFFER: usize = 16 << 20;
/// Longest notification in octets.
const DATAGRAM: usize = 64 << 10;
/// What is subscribed to, by the numbers of `enum rtnetlink_groups`: links, neighbours, IPv6 addresses, IPv6 routes,
/// IPv6 rules and next-hop objects.
const GROUPS: [u32; 6] = [1, 3, 9, 11, 19, 32];

/// A netlink socket that receives notifications about links, addresses, neighbours, IPv6 routes and rules, and next-hop
/// objects.
#[derive(Debug)]
pub(super) struct Notifications {
    socket: AsyncFd<Socket>,
    /// What has been received and not been handed out yet.
    events: VecDeque<KernelEvent>,
    datagram: Vec<u8>,
}

impl Notifications {
    /// Opens the socket and subscribes. Needs a tokio runtime.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        // A socket that is connected to the kernel gets no messages of other processes.
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_non_blocking(true)?;
        // The size may exceed net.core.rmem_max, since every route that this daemon changes comes back as a
        // notification.
        if setsockopt(&socket.as_fd(), sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            socket.set_rx_buf_sz(RECEIVE_BUFFER)?;
        }
        for group in GROUPS {
            match socket.add_membership(group) {
                // Linux before 5.3 has no next-hop objects, and no group for them.
                Err(error) if group == 32 && error.kind() == io::ErrorKind::InvalidInput => {}
                result => result?,
            }
        }
        // SAFETY: the socket owns its file descriptor, always gives the same one, and lives in the `AsyncFd` until both
        // are dropped.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        Ok(Self {
            socket,
            events: VecDeque::new(),
            datagram: Vec::with_capacity(DATAGRAM),
        })
    }

    /// Waits for the next notification that matters. Dropping the future loses nothing. A socket that has failed is
    /// opened again.
    pub(super) async fn next(&mut self) -> KernelEvent {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            match self.receive().await {
                Ok(()) => {}
                // The receive buffer has overflowed.
                Err(error) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => {
                    return KernelEvent::Lost;
                }
                Err(error) => {
                    tracing::error!(%error, "netlink has failed: opening it again");
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
        }
    }

    /// Waits for a datagram and reads its messages.
    async fn receive(&mut self) -> io::Result<()> {
        let Self {
            socket,
            events,
            datagram,
        } = self;
        loop {
            let mut ready = socket.readable().await?;
            datagram.clear();
            let Ok(result) = ready.try_io(|socket| socket.get_ref().recv(datagram, 0)) else {
                continue;
            };
            result?;
            break;
        }
        let mut rest = &datagram[..];
        while let Ok(message) = NetlinkBuffer::new_checked(rest) {
            let length = message.length() as usize;
            events.extend(event(&NetlinkBuffer::new(&rest[..length])));
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(())
    }
}
