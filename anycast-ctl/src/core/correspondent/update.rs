//! Binding Updates (RFC 6275 sections 9.5.1 to 9.5.4).

use std::net::Ipv6Addr;

use anycast_common::wire::{
    ipv6,
    mobility::{BindingAck, BindingUpdate, Flags, Message, status},
};

use super::{
    Correspondent,
    cache::{NonceIndices, Pair, Refusal},
    changed, ended,
};
use crate::core::{
    Action, Actions, MapAction, Time,
    counters::Counter,
    notice::BindingChange,
    rr::{self, Kbm},
};

/// What an acknowledgement is authenticated with.
struct Seal {
    key: Kbm,
    /// C, or B when the update deletes (RFC 6275 section 6.2.7).
    care_of: Ipv6Addr,
}

/// How a Binding Update is refused.
enum Refused {
    /// Dropped without an answer.
    Silently(Counter),
    /// Answered with a status, authenticated where the keys are known.
    With {
        counter: Counter,
        status: u8,
        sequence: u16,
        seal: Option<Box<Seal>>,
    },
}

impl Correspondent {
    /// A Binding Update for a client of ours.
    pub(super) fn binding_update(
        &mut self,
        now: Time,
        packet: &ipv6::Packet<'_>,
        update: &BindingUpdate,
        actions: &mut Actions,
    ) {
        if !ipv6::is_routable_unicast(packet.source) {
            return self.refuse(now, packet, Counter::MobilityBadSource, actions);
        }
        if packet.home_address.is_some() {
            return self.refuse(now, packet, Counter::BindingUpdateHomeAddress, actions);
        }
        if !self.limiter.update(now, packet.source) {
            return self.counters.count(Counter::AnswerLimited);
        }
        let outcome = self
            .authorize(now, packet, update)
            .and_then(|seal| self.unless_barred(now, packet, update, seal))
            .and_then(|seal| self.apply(now, packet, update, seal, actions));
        match outcome {
            Ok(seal) => {
                if update.flags.contains(Flags::ACKNOWLEDGE) {
                    let (status, sequence) = (status::ACCEPTED, update.sequence);
                    self.acknowledge(packet, update, status, sequence, Some(&seal), actions);
                }
            }
            Err(Refused::Silently(counter)) => self.refuse(now, packet, counter, actions),
            Err(Refused::With {
                counter,
                status,
                sequence,
                seal,
            }) => {
                self.refuse(now, packet, counter, actions);
                if update.flags.contains(Flags::ACKNOWLEDGE) || always_told(status) {
                    self.acknowledge(packet, update, status, sequence, seal.as_deref(), actions);
                }
            }
        }
    }

    /// Whether the sender receives at B and C and the update is not an old one (section 9.5.1).
    ///
    /// The sequence number is judged when the authenticator is known to be right: status 135 needs
    /// the keys, and "any reason other than" the sequence number and the nonces means silence, so a
    /// message that fails in both ways is not answered.
    fn authorize(
        &self,
        now: Time,
        packet: &ipv6::Packet<'_>,
        update: &BindingUpdate,
    ) -> Result<Seal, Refused> {
        // A home registration needs IPsec with a home agent, which this is not.
        if update.flags.contains(Flags::HOME) {
            return Err(Refused::Silently(Counter::BindingUpdateHome));
        }
        let (Some(indices), Some(_)) = (update.nonce_indices, update.authenticator) else {
            return Err(Refused::Silently(Counter::BindingUpdateIncomplete));
        };
        let seal = self.seal(now, packet, update, indices)?;
        if !rr::verify(&seal.key, seal.care_of, packet.destination, packet) {
            let counter = Counter::BindingUpdateBadAuthenticator;
            return Err(Refused::Silently(counter));
        }
        let last = self.cache.sequence(pair(packet));
        match last {
            Some(last) if !rr::is_after(update.sequence, last) => Err(Refused::With {
                counter: Counter::BindingUpdateBadSequence,
                status: status::SEQUENCE_OUT_OF_WINDOW,
                sequence: last,
                seal: Some(Box::new(seal)),
            }),
            Some(_) | None => Ok(seal),
        }
    }

    /// The key that the nonce indices lead to (section 5.2.5).
    fn seal(
        &self,
        now: Time,
        packet: &ipv6::Packet<'_>,
        update: &BindingUpdate,
        (home, care_of): (u16, u16),
    ) -> Result<Seal, Refused> {
        let expired = |counter, status| Refused::With {
            counter,
            status,
            sequence: update.sequence,
            seal: None,
        };
        let no_home = || expired(Counter::BindingUpdateHomeNonce, status::EXPIRED_HOME_NONCE);
        let Pair { client, anycast } = pair(packet);
        let home = self.nonces.find(now, home);
        if update.lifetime == 0 {
            let home = home.ok_or_else(no_home)?;
            return Ok(Seal {
                key: Kbm::deletion(&home.home(anycast, client)),
                care_of: anycast,
            });
        }
        let Some(address) = update.alternate_care_of else {
            return Err(Refused::Silently(Counter::BindingUpdateIncomplete));
        };
        match (home, self.nonces.find(now, care_of)) {
            (Some(home), Some(care_of)) => Ok(Seal {
                key: Kbm::binding(
                    &home.home(anycast, client),
                    &care_of.care_of(address, client),
                ),
                care_of: address,
            }),
            (None, Some(_)) => Err(no_home()),
            (Some(_), None) => Err(expired(
                Counter::BindingUpdateCareOfNonce,
                status::EXPIRED_CARE_OF_NONCE,
            )),
            (None, None) => Err(expired(
                Counter::BindingUpdateBothNonces,
                status::EXPIRED_NONCES,
            )),
        }
    }

    /// The nonces of a deleted binding do not make it again (section 9.5.3). They count as expired, so
    /// that the member asks for new ones; and it gets new ones.
    fn unless_barred(
        &mut self,
        now: Time,
        packet: &ipv6::Packet<'_>,
        update: &BindingUpdate,
        seal: Seal,
    ) -> Result<Seal, Refused> {
        let deletes = update.lifetime == 0;
        let barred = |nonces: &NonceIndices| self.cache.bars(pair(packet), seal.care_of, *nonces);
        match update.nonce_indices.filter(|_| !deletes).filter(barred) {
            None => Ok(seal),
            Some((home, care_of)) => {
                self.nonces.retire(now, home);
                self.nonces.retire(now, care_of);
                Err(Refused::With {
                    counter: Counter::BindingUpdateBarred,
                    status: status::EXPIRED_NONCES,
                    sequence: update.sequence,
                    seal: None,
                })
            }
        }
    }

    /// Does what a valid update asks for, if it may. Its sequence number counts either way.
    fn apply(
        &mut self,
        now: Time,
        packet: &ipv6::Packet<'_>,
        update: &BindingUpdate,
        seal: Seal,
        actions: &mut Actions,
    ) -> Result<Seal, Refused> {
        let outcome = self.grant(now, packet, update, seal, actions);
        // A binding has it already.
        if outcome.is_err() || update.lifetime == 0 {
            self.cache.note(now, pair(packet), update.sequence);
        }
        outcome
    }

    /// Sections 9.5.2 and 9.5.3.
    fn grant(
        &mut self,
        now: Time,
        packet: &ipv6::Packet<'_>,
        update: &BindingUpdate,
        seal: Seal,
        actions: &mut Actions,
    ) -> Result<Seal, Refused> {
        let pair = pair(packet);
        let refused = |counter, status, seal| Refused::With {
            counter,
            status,
            sequence: update.sequence,
            seal: Some(Box::new(seal)),
        };
        if !update.flags.contains(Flags::EQUIVALENT) {
            let counter = Counter::BindingUpdateNotEquivalent;
            return Err(refused(counter, status::PROHIBITED, seal));
        }
        if update.lifetime == 0 {
            self.counters.count(Counter::BindingDeleted);
            if let Some(live) = self.cache.delete(now, pair) {
                ended(pair, live.care_of, BindingChange::Deleted, actions);
            }
            return Ok(seal);
        }
        if !self.can_be_care_of(seal.care_of, pair.anycast) {
            return Err(Refused::Silently(Counter::BindingUpdateBadCareOf));
        }
        if !self.settings.may_bind(pair.anycast) {
            let counter = Counter::BindingUpdateProhibited;
            return Err(refused(counter, status::PROHIBITED, seal));
        }
        // The seal was made with them.
        let nonces = update.nonce_indices.unwrap_or_default();
        let bound = self
            .cache
            .bind(now, pair, seal.care_of, update.sequence, nonces);
        match bound {
            Ok((live, before)) => {
                self.counters.count(Counter::BindingUpdateAccepted);
                self.pins.acquit(live.care_of);
                let Pair { client, anycast } = pair;
                let care_of = live.care_of;
                // The way back first: the answer to a flow that goes to C must find it.
                actions.push(Action::Map(MapAction::SetCareOf {
                    client,
                    care_of,
                    anycast,
                    expires: live.expires,
                }));
                actions.push(Action::Map(MapAction::SetBinding {
                    client,
                    anycast,
                    care_of,
                    expires: live.expires,
                }));
                let (change, from) = match before {
                    None => (BindingChange::Created, None),
                    Some(before) if before.care_of == care_of => (BindingChange::Renewed, None),
                    Some(before) => (BindingChange::Moved, Some(before.care_of)),
                };
                actions.push(changed(pair, care_of, change, from));
                Ok(seal)
            }
            Err(Refusal::Full) => {
                let counter = Counter::BindingTableFull;
                Err(refused(counter, status::INSUFFICIENT_RESOURCES, seal))
            }
            Err(Refusal::CareOfTaken) => {
                let counter = Counter::BindingUpdateCareOfTaken;
                Err(refused(counter, status::PROHIBITED, seal))
            }
        }
    }

    /// Whether flows may be sent to `care_of` instead of `anycast` (RFC 6275 section 6.1.7).
    fn can_be_care_of(&self, care_of: Ipv6Addr, anycast: Ipv6Addr) -> bool {
        ipv6::is_routable_unicast(care_of)
            && care_of != anycast
            && !self.settings.is_client(care_of)
    }

    /// Section 9.5.4: to the source of the update, without a routing header.
    fn acknowledge(
        &mut self,
        packet: &ipv6::Packet<'_>,
        update: &BindingUpdate,
        status: u8,
        sequence: u16,
        seal: Option<&Seal>,
        actions: &mut Actions,
    ) {
        let accepted = status == status::ACCEPTED;
        let ack = Message::BindingAck(BindingAck {
            status,
            sequence,
            // Never more than the draft's one unit, whatever was asked for.
            lifetime: if accepted {
                update.lifetime.min(rr::LIFETIME)
            } else {
                0
            },
            authenticator: seal.map(|_| [0; 12]),
            ..BindingAck::default()
        });
        let (client, anycast) = (packet.destination, packet.source);
        let answer = rr::build(&ack, client, anycast).and_then(|mut answer| {
            if let Some(Seal { key, care_of }) = seal {
                rr::seal(key, *care_of, client, &mut answer)?;
            }
            Ok(answer)
        });
        self.send(answer, Counter::BindingAckSent, actions);
    }
}

/// Refusals that are acknowledged even when the update does not ask for it (section 9.5.4).
fn always_told(status: u8) -> bool {
    matches!(
        status,
        status::INSUFFICIENT_RESOURCES
            | status::SEQUENCE_OUT_OF_WINDOW
            | status::EXPIRED_HOME_NONCE
            | status::EXPIRED_CARE_OF_NONCE
            | status::EXPIRED_NONCES
    )
}

fn pair(packet: &ipv6::Packet<'_>) -> Pair {
    Pair {
        client: packet.destination,
        anycast: packet.source,
    }
}
