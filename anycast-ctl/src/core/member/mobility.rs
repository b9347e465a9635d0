//! Messages from clients and their correspondents.

use anycast_common::wire::{
    self, ipv6,
    mobility::{Message, error_status},
};

use super::{
    Member,
    arrived::Arrived,
    handshake::{Event, Evidence, Peer, Test},
    refusal::refused,
};
use crate::core::{Actions, Received, Time, counters::Counter};

impl Member {
    /// Handles a mobility message to B or C.
    pub fn mobility(
        &mut self,
        now: Time,
        received: &Received<'_>,
        packet: &ipv6::Packet<'_>,
        message: Result<Message, wire::Error>,
        actions: &mut Actions,
    ) {
        let Ok(message) = message else {
            return self.counters.count(Counter::MobilityInvalid);
        };
        let arrived = Arrived::new(now, received, packet);
        if self.hand_on(&arrived, &message, actions) {
            return;
        }
        let to_anycast = self.peer(packet.source, packet.destination);
        let to_care_of = self.peer_by_care_of(packet);
        let handed_on = match self.take_handed_on(packet, &message) {
            Ok(handed_on) => handed_on,
            Err(counter) => return self.counters.count(counter),
        };
        let (peer, event, unexpected) = match message {
            Message::HomeTest {
                nonce_index,
                cookie,
                token,
            } => {
                let test = Test {
                    nonce_index,
                    token: token.into(),
                };
                let event = Event::HomeTest { cookie, test };
                (to_anycast.or(handed_on), event, Counter::TestUnexpected)
            }
            Message::CareOfTest {
                nonce_index,
                cookie,
                token,
            } => {
                let test = Test {
                    nonce_index,
                    token: token.into(),
                };
                let event = Event::CareOfTest { cookie, test };
                (to_care_of, event, Counter::TestUnexpected)
            }
            Message::BindingAck(ack) => {
                let event = Event::Ack { ack, packet };
                (to_anycast.or(handed_on), event, Counter::AckUnexpected)
            }
            Message::BindingRefreshRequest => {
                let event = Event::RefreshRequest;
                (to_anycast, event, Counter::MobilityUnexpected)
            }
            Message::BindingError {
                status: error_status::UNRECOGNIZED_MH_TYPE,
                home_address: _,
            } => {
                let event = Event::NotUnderstood(Evidence::BindingError);
                (
                    to_anycast.or(to_care_of),
                    event,
                    Counter::MobilityUnexpected,
                )
            }
            // Status 1 answers a Home Address option, which a member never sends. The other messages are for
            // correspondents.
            Message::BindingError { .. }
            | Message::HomeTestInit { .. }
            | Message::CareOfTestInit { .. }
            | Message::BindingUpdate(_)
            | Message::Unknown { .. } => {
                return self.counters.count(Counter::MobilityUnexpected);
            }
        };
        self.deliver(now, peer, event, unexpected, actions);
    }

    /// Handles an ICMPv6 error. The only one that matters is "unrecognized Next Header" about a message of a handshake:
    /// the client does not know the Mobility Header (RFC 6275 section 11.3.5).
    pub fn icmp_error(
        &mut self,
        now: Time,
        received: &Received<'_>,
        packet: &ipv6::Packet<'_>,
        actions: &mut Actions,
    ) {
        let refusal = match refused(packet) {
            Ok(Some(refusal)) => refusal,
            Ok(None) => return self.counters.count(Counter::IcmpErrorIgnored),
            Err(_) => return self.counters.count(Counter::IcmpErrorInvalid),
        };
        let arrived = Arrived::new(now, received, packet);
        if self.hand_on_error(&arrived, &refusal, actions) {
            return;
        }
        let peer = match refusal.evidence {
            Evidence::CareOfTestInit(_) => {
                let anycast = self.care_of.get(&refusal.source);
                anycast.and_then(|anycast| self.peer(refusal.destination, *anycast))
            }
            Evidence::HomeTestInit(_) | Evidence::BindingUpdate(_) | Evidence::BindingError => {
                self.peer(refusal.destination, refusal.source)
            }
        };
        let event = Event::NotUnderstood(refusal.evidence);
        self.deliver(now, peer, event, Counter::MobilityUnexpected, actions);
    }

    fn deliver(
        &mut self,
        now: Time,
        peer: Option<Peer>,
        event: Event<'_>,
        unexpected: Counter,
        actions: &mut Actions,
    ) {
        let (handshakes, mut cx) = self.handshakes_mut(now, actions);
        if !peer.is_some_and(|peer| handshakes.message(peer, event, &mut cx)) {
            cx.count(unexpected);
        }
    }

    pub(super) fn peer_by_care_of(&self, packet: &ipv6::Packet<'_>) -> Option<Peer> {
        let anycast = self.care_of.get(&packet.destination)?;
        self.peer(packet.source, *anycast)
    }
}
