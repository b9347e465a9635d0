//! Answers that need no state: Home and Care-of Tests, Binding Errors, Parameter Problems; and what is always answered.

use anycast_common::wire::{
    self, icmpv6, ipv6,
    mobility::{Message, error_status, status},
};

use super::Correspondent;
use crate::core::{
    Action, Actions, Received, Time,
    counters::Counter,
    rr::{self, Cookie},
};

impl Correspondent {
    /// Answers a Home Test Init (RFC 6275 sections 9.4.1 and 9.4.3).
    pub(super) fn home_test_init(
        &mut self,
        now: Time,
        packet: &ipv6::Packet<'_>,
        cookie: Cookie,
        actions: &mut Actions,
    ) {
        if !self.may_test(now, packet, actions) {
            return;
        }
        let generation = self.keys.current(now, &mut self.rng);
        let test = Message::HomeTest {
            nonce_index: generation.index(),
            cookie,
            token: generation.home(packet.source, packet.destination).expose(),
        };
        self.answer(packet, &test, Counter::HomeTestSent, actions);
    }

    /// Answers a Care-of Test Init (RFC 6275 sections 9.4.2 and 9.4.4).
    pub(super) fn care_of_test_init(
        &mut self,
        now: Time,
        packet: &ipv6::Packet<'_>,
        cookie: Cookie,
        actions: &mut Actions,
    ) {
        if !self.may_test(now, packet, actions) {
            return;
        }
        let generation = self.keys.current(now, &mut self.rng);
        let test = Message::CareOfTest {
            nonce_index: generation.index(),
            cookie,
            token: generation
                .care_of(packet.source, packet.destination)
                .expose(),
        };
        self.answer(packet, &test, Counter::CareOfTestSent, actions);
    }

    /// Answers a message whose MH Type is not known (RFC 6275 sections 9.2 and 9.3.3).
    pub(super) fn unknown_type(
        &mut self,
        now: Time,
        packet: &ipv6::Packet<'_>,
        actions: &mut Actions,
    ) {
        if !ipv6::is_routable_unicast(packet.source) {
            return self.refuse(now, packet, Counter::MobilityBadSource, actions);
        }
        if !self.limiter.error(now) {
            return self.counters.count(Counter::ErrorLimited);
        }
        let error = Message::BindingError {
            status: error_status::UNRECOGNIZED_MH_TYPE,
            home_address: packet
                .home_address
                .unwrap_or(std::net::Ipv6Addr::UNSPECIFIED),
        };
        self.answer(packet, &error, Counter::BindingErrorSent, actions);
    }

    /// Answers a message that does not parse (RFC 6275 section 9.2).
    pub(super) fn malformed(
        &mut self,
        now: Time,
        received: &Received<'_>,
        packet: &ipv6::Packet<'_>,
        error: wire::Error,
        actions: &mut Actions,
    ) {
        let counter = match error {
            wire::Error::HomeAddressOption => Counter::TestInitHomeAddress,
            _ => Counter::MobilityInvalid,
        };
        self.refuse(now, packet, counter, actions);
        let (wire::Error::PayloadProto { offset, .. } | wire::Error::HeaderLength { offset }) =
            error
        else {
            return;
        };
        let Ok(pointer) = u32::try_from(offset) else {
            return;
        };
        if !ipv6::is_routable_unicast(packet.source) {
            return;
        }
        if !self.limiter.error(now) {
            return self.counters.count(Counter::ErrorLimited);
        }
        let mut buffer = vec![0; icmpv6::MAX_ERROR_LEN];
        let written = icmpv6::error(
            &mut buffer,
            packet.destination,
            packet.source,
            icmpv6::PARAMETER_PROBLEM,
            icmpv6::ERRONEOUS_HEADER,
            pointer,
            received.packet,
        );
        let packet = written.map(|length| {
            buffer.truncate(length);
            buffer
        });
        self.send(packet, Counter::ParameterProblemSent, actions);
    }

    /// Whether a Test Init is answered.
    fn may_test(&mut self, now: Time, packet: &ipv6::Packet<'_>, actions: &mut Actions) -> bool {
        if packet.home_address.is_some() {
            self.refuse(now, packet, Counter::TestInitHomeAddress, actions);
            return false;
        }
        if !ipv6::is_routable_unicast(packet.source) {
            self.refuse(now, packet, Counter::MobilityBadSource, actions);
            return false;
        }
        let may = self.limiter.init(now, packet.source);
        if !may {
            self.counters.count(Counter::AnswerLimited);
        }
        may
    }

    /// Sends `message` back to where `packet` came from, in the name of the client.
    fn answer(
        &mut self,
        packet: &ipv6::Packet<'_>,
        message: &Message,
        counter: Counter,
        actions: &mut Actions,
    ) {
        let answer = rr::build(message, packet.destination, packet.source);
        self.send(answer, counter, actions);
    }

    /// Sends a packet, and counts it.
    pub(super) fn send(
        &mut self,
        packet: Result<Vec<u8>, wire::Error>,
        counter: Counter,
        actions: &mut Actions,
    ) {
        let Ok(packet) = packet else {
            return self.counters.count(Counter::PacketNotWritten);
        };
        self.counters.count(counter);
        actions.push(Action::Send {
            ifindex: None,
            packet,
        });
    }
}

/// Refusals that are acknowledged even when the update does not ask for it (section 9.5.4).
pub(super) fn always_told(status: u8) -> bool {
    matches!(
        status,
        status::INSUFFICIENT_RESOURCES
            | status::SEQUENCE_OUT_OF_WINDOW
            | status::EXPIRED_HOME_NONCE
            | status::EXPIRED_CARE_OF_NONCE
            | status::EXPIRED_NONCES
    )
}
