//! Messages of a member that a client did not understand, as ICMPv6 errors quote them.

use std::net::Ipv6Addr;

use anycast_common::wire::{
    self, icmpv6,
    ipv6::{self, NEXT_HEADER_MOBILITY},
    mobility::Message,
};

use super::{
    handshake::Evidence,
    peers::{Named, Peers},
};

/// A message of a member that was not understood, as an ICMPv6 error quotes it.
pub(super) struct Refusal {
    /// Source of the message, B or C.
    pub(super) source: Ipv6Addr,
    /// Destination of the message, the client A.
    pub(super) destination: Ipv6Addr,
    pub(super) evidence: Evidence,
    /// The care-of address C, if the message contains it.
    pub(super) care_of: Option<Ipv6Addr>,
}

impl Refusal {
    /// The other member that sent the message from B. `None` when no other member did.
    pub(super) fn asked_by(&self, peers: &Peers) -> Option<Ipv6Addr> {
        match self.evidence {
            Evidence::HomeTestInit(cookie) => match peers.named(cookie) {
                Named::Peer(care_of) => Some(care_of),
                Named::Us | Named::Nobody => None,
            },
            Evidence::BindingUpdate(_) => self.care_of.filter(|care_of| peers.contains(*care_of)),
            Evidence::CareOfTestInit(_) | Evidence::BindingError => None,
        }
    }
}

/// The message of a member that was not understood, according to an ICMPv6 error. `None` when the error says something
/// else.
pub(super) fn refused(packet: &ipv6::Packet<'_>) -> Result<Option<Refusal>, wire::Error> {
    let icmp = icmpv6::Message::parse(packet)?;
    if (icmp.message_type, icmp.code)
        != (icmpv6::PARAMETER_PROBLEM, icmpv6::UNRECOGNIZED_NEXT_HEADER)
    {
        return Ok(None);
    }
    let quoted = ipv6::Packet::parse_quoted(icmp.quoted)?;
    if quoted.protocol != NEXT_HEADER_MOBILITY {
        return Ok(None);
    }
    let (evidence, care_of) = match Message::parse(&quoted)? {
        Message::HomeTestInit { cookie } => (Evidence::HomeTestInit(cookie), None),
        Message::CareOfTestInit { cookie } => (Evidence::CareOfTestInit(cookie), None),
        Message::BindingUpdate(update) => (
            Evidence::BindingUpdate(update.sequence),
            update.alternate_care_of,
        ),
        Message::BindingRefreshRequest
        | Message::HomeTest { .. }
        | Message::CareOfTest { .. }
        | Message::BindingAck(_)
        | Message::BindingError { .. }
        | Message::Unknown { .. } => return Ok(None),
    };
    Ok(Some(Refusal {
        source: quoted.source,
        destination: quoted.destination,
        evidence,
        care_of,
    }))
}
