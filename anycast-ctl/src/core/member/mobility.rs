//! What clients and their correspondents answer.

use anycast_common::wire::{
    self, icmpv6,
    ipv6::{self, NEXT_HEADER_MOBILITY},
    mobility::{Message, error_status},
};

use super::{
    Member,
    handshake::{Event, Evidence, Peer, Test},
};
use crate::core::{Actions, Time, counters::Counter};

impl Member {
    /// A mobility message arrived at B or C.
    pub fn mobility(
        &mut self,
        now: Time,
        packet: &ipv6::Packet<'_>,
        message: Result<Message, wire::Error>,
        actions: &mut Actions,
    ) {
        let Ok(message) = message else {
            return self.counters.count(Counter::MobilityInvalid);
        };
        let to_anycast = self.peer(packet.source, packet.destination);
        let to_care_of = self.peer_by_care_of(packet);
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
                (to_anycast, event, Counter::TestUnexpected)
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
                (to_anycast, event, Counter::AckUnexpected)
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
            // Status 1 answers a Home Address option, and we send none. The others are what a
            // correspondent receives.
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

    /// An ICMPv6 error arrived. Only one matters: "unrecognized Next Header" about a message of a
    /// handshake, which says that the client cannot bind (RFC 6275 section 11.3.5).
    pub fn icmp_error(&mut self, now: Time, packet: &ipv6::Packet<'_>, actions: &mut Actions) {
        match refused(packet) {
            Ok(Some((quoted, evidence))) => {
                let peer = match evidence {
                    Evidence::CareOfTestInit(_) => {
                        let anycast = self.care_of.get(&quoted.source);
                        anycast.and_then(|anycast| self.peer(quoted.destination, *anycast))
                    }
                    Evidence::HomeTestInit(_)
                    | Evidence::BindingUpdate(_)
                    | Evidence::BindingError => self.peer(quoted.destination, quoted.source),
                };
                let event = Event::NotUnderstood(evidence);
                self.deliver(now, peer, event, Counter::MobilityUnexpected, actions);
            }
            Ok(None) => self.counters.count(Counter::IcmpErrorIgnored),
            Err(_) => self.counters.count(Counter::IcmpErrorInvalid),
        }
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

    fn peer_by_care_of(&self, packet: &ipv6::Packet<'_>) -> Option<Peer> {
        let anycast = self.care_of.get(&packet.destination)?;
        self.peer(packet.source, *anycast)
    }
}

/// The message of ours that an ICMPv6 error says was not understood. None when it says something
/// else.
fn refused<'a>(
    packet: &ipv6::Packet<'a>,
) -> Result<Option<(ipv6::Packet<'a>, Evidence)>, wire::Error> {
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
    let evidence = match Message::parse(&quoted)? {
        Message::HomeTestInit { cookie } => Evidence::HomeTestInit(cookie),
        Message::CareOfTestInit { cookie } => Evidence::CareOfTestInit(cookie),
        Message::BindingUpdate(update) => Evidence::BindingUpdate(update.sequence),
        Message::BindingRefreshRequest
        | Message::HomeTest { .. }
        | Message::CareOfTest { .. }
        | Message::BindingAck(_)
        | Message::BindingError { .. }
        | Message::Unknown { .. } => return Ok(None),
    };
    Ok(Some((quoted, evidence)))
}
