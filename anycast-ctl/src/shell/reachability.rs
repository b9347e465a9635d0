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
        NetlinkError, mac,
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

    /// As [`probe`](Self::probe), but only of a neighbour that has an Ethernet address which the kernel believes in.
    /// Gives this address.
    pub fn confirm(&mut self, ifindex: u32, address: Ipv6Addr) -> Option<[u8; 6]> {
        let (state, mac) = self.state(ifindex, address).ok()?;
        if is_believed(state)
            && let Err(error) = self.start(ifindex, address, state)
        {
            tracing::debug!(ifindex, %address, %error, "cannot probe a next hop");
        }
        mac
    }

    fn poke(&mut self, ifindex: u32, address: Ipv6Addr) -> Result<(), NetlinkError> {
        let (state, _) = self.state(ifindex, address)?;
        self.start(ifindex, address, state)
    }

    /// What the kernel knows of a neighbour.
    fn state(
        &mut self,
        ifindex: u32,
        address: Ipv6Addr,
    ) -> Result<(NeighbourState, Option<[u8; 6]>), NetlinkError> {
        let query = RouteNetlinkMessage::GetNeighbour(message(ifindex, address));
        match self.kernel.get(&query, known) {
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok((NeighbourState::None, None)),
            known => Ok(known?.unwrap_or((NeighbourState::None, None))),
        }
    }

    /// Starts a probe of a neighbour that is in this state.
    fn start(
        &mut self,
        ifindex: u32,
        address: Ipv6Addr,
        state: NeighbourState,
    ) -> Result<(), NetlinkError> {
        let mut change = message(ifindex, address);
        let flags = match state {
            state if is_believed(state) => {
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

/// Whether the kernel uses the Ethernet address of a neighbour in this state, and does not probe it at present.
fn is_believed(state: NeighbourState) -> bool {
    matches!(
        state,
        NeighbourState::Reachable | NeighbourState::Stale | NeighbourState::Delay
    )
}

fn known(payload: &[u8]) -> Option<(NeighbourState, Option<[u8; 6]>)> {
    let message = NeighbourMessage::parse(payload).ok()?;
    Some((message.header.state, mac(&message)))
}
