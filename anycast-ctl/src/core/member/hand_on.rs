//! Hands messages on to the member that they are for, where routers that hash flows brought them to this one.
//!
//! A Home Test and an ICMPv6 error name the member that they are for. A member that a Home Test named is remembered for
//! some seconds, and gets a copy of messages that name no member: Binding Errors, and Binding Acknowledgements that are
//! not for this member. Each member takes the messages of its own handshakes, which it knows by cookie, sequence number
//! and authenticator.

use std::net::Ipv6Addr;

use anycast_common::wire::{
    ipv6,
    mobility::{Message, error_status},
};

use super::{
    Member,
    arrived::Arrived,
    handshake::{Event, Peer},
    peers::{Named, Peers},
    refusal::Refusal,
};
use crate::core::{Actions, counters::Counter};

impl Member {
    /// Hands a message to B on if it is for other members. Gives whether it was.
    pub(super) fn hand_on(
        &mut self,
        arrived: &Arrived<'_>,
        message: &Message,
        actions: &mut Actions,
    ) -> bool {
        let Arrived { now, packet, .. } = *arrived;
        let pair = (packet.source, packet.destination);
        let Some(peers) = self.peers(packet.destination) else {
            return false;
        };
        let (to, counter) = match message {
            Message::HomeTest { cookie, .. } => {
                let Named::Peer(care_of) = peers.named(*cookie) else {
                    return false;
                };
                (vec![care_of], Counter::HomeTestHandedOn)
            }
            Message::BindingAck(ack) => {
                let ours = self.peer(packet.source, packet.destination);
                if ours.is_some_and(|ours| self.handshakes.expects(ours, ack, packet)) {
                    return false;
                }
                (self.hand_on.shown(now, pair), Counter::AckHandedOn)
            }
            Message::BindingError {
                status: error_status::UNRECOGNIZED_MH_TYPE,
                home_address: _,
            } => {
                let ours = self.peer(packet.source, packet.destination);
                if ours.is_some_and(|ours| self.handshakes.is_under_way(ours)) {
                    return false;
                }
                (self.hand_on.shown(now, pair), Counter::ErrorHandedOn)
            }
            Message::BindingError { .. }
            | Message::BindingRefreshRequest
            | Message::CareOfTest { .. }
            | Message::HomeTestInit { .. }
            | Message::CareOfTestInit { .. }
            | Message::BindingUpdate(_)
            | Message::Unknown { .. } => return false,
        };
        if let Some(ours) = self.peer(packet.source, packet.destination)
            && !matches!(message, Message::BindingError { .. })
            && !to.is_empty()
        {
            let (handshakes, mut cx) = self.handshakes_mut(now, actions);
            handshakes.message(ours, Event::Speaks, &mut cx);
        }
        let names_its_owner = matches!(message, Message::HomeTest { .. });
        for care_of in &to {
            if self.send_on(arrived, packet.source, *care_of, counter, actions) && names_its_owner {
                self.hand_on.note(now, pair, *care_of);
            }
        }
        !to.is_empty()
    }

    /// Hands an ICMPv6 error to B on if it is about a message of another member. Gives whether it was.
    pub(super) fn hand_on_error(
        &mut self,
        arrived: &Arrived<'_>,
        refusal: &Refusal,
        actions: &mut Actions,
    ) -> bool {
        let anycast = arrived.packet.destination;
        let Some(peers) = self.peers(anycast).filter(|_| anycast == refusal.source) else {
            return false;
        };
        let Some(care_of) = refusal.asked_by(peers) else {
            return false;
        };
        let client = refusal.destination;
        self.send_on(arrived, client, care_of, Counter::ErrorHandedOn, actions);
        true
    }

    /// The handshake that a message to C is for, if its client sent it to B and another member handed it on. An
    /// acknowledgement may be a copy, where Home Tests of several members came at the same time.
    pub(super) fn take_handed_on(
        &mut self,
        packet: &ipv6::Packet<'_>,
        message: &Message,
    ) -> Result<Option<Peer>, Counter> {
        let peer = self.peer_by_care_of(packet);
        let peer = peer.filter(|peer| self.peers(peer.anycast).is_some());
        let Some(peer) = peer else {
            return Ok(None);
        };
        match message {
            Message::BindingAck(ack) if !self.handshakes.expects(peer, ack, packet) => {
                return Err(Counter::HandedOnNotOurs);
            }
            Message::HomeTest { .. } | Message::BindingAck(_) => {
                self.counters.count(Counter::HandedOnReceived);
            }
            Message::CareOfTest { .. }
            | Message::BindingRefreshRequest
            | Message::BindingError { .. }
            | Message::HomeTestInit { .. }
            | Message::CareOfTestInit { .. }
            | Message::BindingUpdate(_)
            | Message::Unknown { .. } => {}
        }
        Ok(Some(peer))
    }

    /// The other members of the group, if there are any.
    fn peers(&self, anycast: Ipv6Addr) -> Option<&Peers> {
        let peers = &self.groups.get(&anycast)?.settings.peers;
        Some(peers).filter(|peers| !peers.is_empty())
    }

    fn send_on(
        &mut self,
        arrived: &Arrived<'_>,
        client: Ipv6Addr,
        care_of: Ipv6Addr,
        counter: Counter,
        actions: &mut Actions,
    ) -> bool {
        let Some(packet) = arrived.to(care_of) else {
            self.counters.count(Counter::HandOnHopLimit);
            return false;
        };
        if !self.hand_on.admits(arrived.now, client) {
            self.counters.count(Counter::HandOnLimited);
            return false;
        }
        let (_, mut cx) = self.handshakes_mut(arrived.now, actions);
        cx.send(None, Ok(packet), counter);
        true
    }
}
