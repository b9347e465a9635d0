//! What a handshake sends to the client, and tells the data plane.

use std::net::Ipv6Addr;

use anycast_common::wire::mobility::{BindingUpdate, Flags, Message};

use super::state::Test;
use crate::core::{
    Action, MapAction, Time,
    counters::Counter,
    member::context::Context,
    rr::{self, Cookie, Kbm},
};

/// The three addresses of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::core::member) struct Peer {
    /// The client, A.
    pub(in crate::core::member) client: Ipv6Addr,
    /// The anycast address, B.
    pub(in crate::core::member) anycast: Ipv6Addr,
    /// The care-of address of this member, C.
    pub(in crate::core::member) care_of: Ipv6Addr,
    /// The name with which home init cookies begin, where the group has other members, which find this one by it.
    pub(in crate::core::member) name: Option<u16>,
}

impl Peer {
    /// Has the data plane not report packets of the client to B before `until`.
    pub(in crate::core::member) fn quiet(self, until: Time, cx: &mut Context<'_>) {
        let Self {
            client, anycast, ..
        } = self;
        cx.act(Action::Map(MapAction::QuietClient {
            client,
            anycast,
            until,
        }));
    }

    /// Lets the data plane lead flows of the client to C until then.
    pub(super) fn lead(self, until: Time, cx: &mut Context<'_>) {
        let Self {
            client,
            anycast,
            care_of,
            ..
        } = self;
        cx.act(Action::Map(MapAction::LeadClient {
            client,
            anycast,
            care_of,
            until,
        }));
    }

    /// Sends a Home Test Init (RFC 6275 section 6.1.3).
    pub(super) fn send_home_test_init(self, cookie: Cookie, cx: &mut Context<'_>) {
        let packet = rr::build(&Message::HomeTestInit { cookie }, self.anycast, self.client);
        cx.send(None, packet, Counter::HomeTestInitSent);
    }

    /// Sends a Care-of Test Init (RFC 6275 section 6.1.4).
    pub(super) fn send_care_of_test_init(self, cookie: Cookie, cx: &mut Context<'_>) {
        let packet = rr::build(
            &Message::CareOfTestInit { cookie },
            self.care_of,
            self.client,
        );
        cx.send(None, packet, Counter::CareOfTestInitSent);
    }

    /// Sends a Binding Update that asks for the binding (RFC 6275 section 6.1.7, draft anycast-rr).
    pub(super) fn send_update(
        self,
        sequence: u16,
        indices: (u16, u16),
        key: &Kbm,
        cx: &mut Context<'_>,
    ) {
        let update = BindingUpdate {
            sequence,
            flags: Flags::ACKNOWLEDGE | Flags::EQUIVALENT,
            lifetime: rr::LIFETIME,
            alternate_care_of: Some(self.care_of),
            nonce_indices: Some(indices),
            authenticator: None,
        };
        self.send_sealed(update, key, self.care_of, cx);
    }

    /// Sends a Binding Update that deletes the binding. No answer is awaited: if the update is lost, the binding
    /// expires.
    pub(super) fn send_deletion(self, sequence: u16, home: &Test, cx: &mut Context<'_>) {
        let update = BindingUpdate {
            sequence,
            flags: Flags::EQUIVALENT,
            lifetime: 0,
            // Several members may be bound to (A, B). This names the binding that is deleted.
            alternate_care_of: Some(self.care_of),
            nonce_indices: Some((home.nonce_index, 0)),
            authenticator: None,
        };
        // RFC 6275 section 6.2.7: the home address is used as the care-of address.
        self.send_sealed(update, &Kbm::deletion(&home.token), self.anycast, cx);
    }

    fn send_sealed(
        self,
        update: BindingUpdate,
        key: &Kbm,
        care_of: Ipv6Addr,
        cx: &mut Context<'_>,
    ) {
        let message = Message::BindingUpdate(BindingUpdate {
            authenticator: Some([0; 12]),
            ..update
        });
        let (anycast, client) = (self.anycast, self.client);
        let packet = rr::build_sealed(&message, anycast, client, key, care_of, client);
        cx.send(None, packet, Counter::BindingUpdateSent);
    }
}
