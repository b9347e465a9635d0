//! Lets the kernel verify that members still answer on their links.

use std::{net::Ipv6Addr, time::Instant};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE, Parseable as _};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
    },
};
use nix::libc;

use super::{
    netlink::{
        NetlinkError,
        requests::{Batch, Requests},
    },
    throttle::{PERIOD, Throttle},
};

/// Starts probes in the kernel's neighbour table. The kernel reports their results as notifications.
#[derive(Debug)]
pub struct Reachability {
    kernel: Requests,
    refused: Throttle<Option<i32>>,
}

impl Reachability {
    /// Makes a value that sends its requests by this socket.
    #[must_use]
    pub fn new(kernel: Requests) -> Self {
        Self {
            kernel,
            refused: Throttle::new(PERIOD),
        }
    }

    /// Starts Neighbor Unreachability Detection of a neighbour (RFC 4861 section 7.3): three Solicitations, one second
    /// apart.
    pub fn probe(&mut self, ifindex: u32, address: Ipv6Addr) {
        let Err(error) = self.poke(ifindex, address) else {
            return;
        };
        // A link that disappeared or is down is reported by other notifications.
        let (errno, now) = (error.errno(), Instant::now());
        if let Some(held) = self.refused.admit(errno, now) {
            tracing::debug!(target: "anycast::router", ifindex, %address, %error, held,
                "cannot probe a member");
        }
    }

    fn poke(&mut self, ifindex: u32, address: Ipv6Addr) -> Result<(), NetlinkError> {
        let message = message(ifindex, address);
        let query = RouteNetlinkMessage::GetNeighbour(message.clone());
        let state = match self.kernel.get(&query, state) {
            Err(error) if error.errno() == Some(libc::ENOENT) => NeighbourState::None,
            state => state?.unwrap_or(NeighbourState::None),
        };
        let mut change = message;
        let flags = match state {
            NeighbourState::Reachable | NeighbourState::Stale | NeighbourState::Delay => {
                change.header.state = NeighbourState::Probe;
                NLM_F_REPLACE
            }
            NeighbourState::None | NeighbourState::Failed => {
                change.header.flags = NeighbourFlags::Use;
                NLM_F_CREATE
            }
            // A probe is under way already, or an administrator made the entry permanent.
            _ => return Ok(()),
        };
        let mut batch = Batch::default();
        batch.push(RouteNetlinkMessage::NewNeighbour(change), flags);
        self.kernel.perform(batch).pop().unwrap_or(Ok(()))
    }
}

fn message(ifindex: u32, address: Ipv6Addr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.ifindex = ifindex;
    let address = NeighbourAddress::Inet6(address);
    message.attributes = vec![NeighbourAttribute::Destination(address)];
    message
}

fn state(payload: &[u8]) -> Option<NeighbourState> {
    let message = NeighbourMessage::parse(payload).ok()?;
    Some(message.header.state)
}
