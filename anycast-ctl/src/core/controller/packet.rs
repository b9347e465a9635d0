//! Passes packets of the data plane to the role that they are for.

use anycast_common::{
    abi::event::kind,
    wire::{self, ipv6::Packet, mld, mobility::Message},
};

use super::Controller;
use crate::core::{Action, Actions, Notice, Received, Time, correspondent, counters::Counter};

impl Controller {
    pub(super) fn packet(
        &mut self,
        now: Time,
        kind: u8,
        received: &Received<'_>,
        packet: &Packet<'_>,
        actions: &mut Actions,
    ) {
        match kind {
            kind::MLD => self.mld(now, received, packet, actions),
            kind::MOBILITY => self.mobility(now, received, packet, actions),
            kind::ICMP_ERROR => {
                if let Some(member) = &mut self.member {
                    member.icmp_error(now, received, packet, actions);
                }
            }
            kind::CARE_OF_UNREACHABLE => {
                if let Some(correspondent) = &mut self.correspondent {
                    correspondent.unreachable(now, packet);
                }
            }
            // This kind belongs to another version of the data plane, which the shell never uses.
            _ => {}
        }
    }

    fn mld(
        &mut self,
        now: Time,
        received: &Received<'_>,
        packet: &Packet<'_>,
        actions: &mut Actions,
    ) {
        let on = self
            .links
            .get(&received.ifindex)
            .copied()
            .unwrap_or_default();
        let message = match mld::Message::parse(packet, self.router_alert) {
            Ok(message) => message,
            // MLD messages about multicast groups are left to the kernel, which gets its own copy.
            Err(wire::Error::Multicast) => return,
            Err(error) => return self.unparsable(kind::MLD, received, error, actions),
        };
        if let Some(router) = self.router.as_mut().filter(|_| on.router) {
            router.mld(now, received, packet.source, message, actions);
        }
        if let mld::Message::Query(query) = message
            && let Some(member) = self.member.as_mut().filter(|_| on.member)
        {
            member.query(now, received, packet.source, query, actions);
        }
    }

    /// A member receives the answers to its own messages. A correspondent receives everything else that is sent to its
    /// clients, including malformed messages and unknown types (RFC 6275 section 9.2).
    fn mobility(
        &mut self,
        now: Time,
        received: &Received<'_>,
        packet: &Packet<'_>,
        actions: &mut Actions,
    ) {
        let message = Message::parse(packet);
        let to_member = self.places.member_addresses.contains(&packet.destination);
        let to_client = correspondent::contains(&self.places.client_prefixes, packet.destination);
        let for_member = match &message {
            Ok(
                Message::BindingRefreshRequest
                | Message::HomeTest { .. }
                | Message::CareOfTest { .. }
                | Message::BindingAck(_)
                | Message::BindingError { .. },
            ) => to_member,
            Ok(
                Message::HomeTestInit { .. }
                | Message::CareOfTestInit { .. }
                | Message::BindingUpdate(_)
                | Message::Unknown { .. },
            )
            | Err(_) => to_member && !to_client,
        };
        if let Some(member) = self.member.as_mut().filter(|_| for_member) {
            member.mobility(now, received, packet, message, actions);
        } else if let Some(correspondent) = self.correspondent.as_mut().filter(|_| to_client) {
            correspondent.mobility(now, received, packet, message, actions);
        } else {
            self.unexpected(packet, actions);
        }
    }

    fn unexpected(&mut self, packet: &Packet<'_>, actions: &mut Actions) {
        self.counters.count(Counter::MobilityUnexpected);
        actions.push(Action::Notice(Notice::MobilityRefused {
            source: packet.source,
            destination: packet.destination,
            reason: Counter::MobilityUnexpected.name(),
        }));
    }

    pub(super) fn unparsable(
        &mut self,
        kind: u8,
        received: &Received<'_>,
        error: wire::Error,
        actions: &mut Actions,
    ) {
        self.counters.count(match kind {
            kind::MLD => Counter::MldInvalid,
            kind::ICMP_ERROR | kind::CARE_OF_UNREACHABLE => Counter::IcmpErrorInvalid,
            _ => Counter::MobilityInvalid,
        });
        actions.push(Action::Notice(Notice::Unparsable {
            ifindex: received.ifindex,
            error,
        }));
    }
}
