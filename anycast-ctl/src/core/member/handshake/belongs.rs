//! Whether a message that names no member is for a handshake of this one.

use anycast_common::wire::{
    ipv6,
    mobility::{BindingAck, status},
};

use super::{
    Handshakes,
    exchange::Peer,
    machine::Handshake,
    state::{State, Updating},
};
use crate::core::rr;

impl Handshakes {
    /// Whether an acknowledgement answers an update of this member.
    pub(in crate::core::member) fn expects(
        &self,
        peer: Peer,
        ack: &BindingAck,
        packet: &ipv6::Packet<'_>,
    ) -> bool {
        let known = self.table.get(&peer.into());
        known.is_some_and(|(_, handshake)| match &handshake.state {
            State::Updating(updating) => updating.is_answered_by(peer, ack, packet),
            State::Resting { .. }
            | State::Testing(_)
            | State::Bound { .. }
            | State::BackOff { .. } => false,
        })
    }

    /// Whether messages of this member to the client await an answer.
    pub(in crate::core::member) fn is_under_way(&self, peer: Peer) -> bool {
        let known = self.table.get(&peer.into());
        known.is_some_and(|(_, handshake)| Handshake::is_under_way(handshake))
    }
}

impl Updating {
    fn is_answered_by(&self, peer: Peer, ack: &BindingAck, packet: &ipv6::Packet<'_>) -> bool {
        match ack.status {
            // A correspondent that has lost the nonces cannot authenticate (RFC 6275 section 9.5.4).
            status::EXPIRED_HOME_NONCE | status::EXPIRED_CARE_OF_NONCE | status::EXPIRED_NONCES => {
                self.sent_at(ack.sequence).is_some()
            }
            _ => rr::verify(&self.key, peer.care_of, peer.client, packet),
        }
    }
}
