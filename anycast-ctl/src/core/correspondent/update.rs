//! Binding Updates (RFC 6275 sections 9.5.1 to 9.5.4).

use std::net::Ipv6Addr;

use anycast_common::wire::{
    ipv6,
    mobility::{BindingAck, BindingUpdate, Flags, Message, status},
};

use super::{
    Correspondent,
    answer::always_told,
    cache::Refusal,
    changed, leads,
    origin::Origin,
    sequences::Tag,
    triple::{Pair, Triple},
};
use crate::core::{
    Actions, Time,
    counters::Counter,
    notice::BindingChange,
    rr::{self, Kbm},
};

/// What is needed to authenticate an acknowledgement.
pub(super) struct Seal {
    key: Kbm,
    /// C, or B when the update deletes (RFC 6275 section 6.2.7).
    care_of: Ipv6Addr,
    /// When the newer of the nonces was first used.
    nonces: Time,
}

/// How a Binding Update is refused.
pub(super) enum Refused {
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
    /// Handles a Binding Update for a client of this correspondent. Gives whether it was accepted.
    pub(super) fn binding_update(
        &mut self,
        now: Time,
        packet: &ipv6::Packet<'_>,
        update: &BindingUpdate,
        actions: &mut Actions,
    ) -> bool {
        if !ipv6::is_routable_unicast(packet.source) {
            self.refuse(now, packet, Counter::MobilityBadSource, actions);
            return false;
        }
        if packet.home_address.is_some() {
            self.refuse(now, packet, Counter::BindingUpdateHomeAddress, actions);
            return false;
        }
        if !self.limiter.update(now, packet.source) {
            self.counters.count(Counter::AnswerLimited);
            return false;
        }
        let outcome = self
            .authorize(now, packet, update)
            .and_then(|seal| self.apply(now, packet, update, seal, Origin::Own, actions));
        let accepted = outcome.is_ok();
        match outcome {
            Ok(seal) => {
                if update.flags.contains(Flags::ACKNOWLEDGE) {
                    let (status, sequence) = (status::ACCEPTED, update.sequence);
                    let mut ack = Actions::new();
                    self.acknowledge(packet, update, status, sequence, Some(&seal), &mut ack);
                    actions.extend(self.ahead.hold(triple(packet, update), ack));
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
        accepted
    }

    /// Checks that the sender receives at B and C, and that the update is not an old one (section 9.5.1).
    ///
    /// The sequence number is judged when the authenticator is known to be right: status 135 needs
    /// the keys, and "any reason other than" the sequence number and the nonces means silence, so a
    /// message that fails in both ways is not answered.
    pub(super) fn authorize(
        &self,
        now: Time,
        packet: &ipv6::Packet<'_>,
        update: &BindingUpdate,
    ) -> Result<Seal, Refused> {
        // A home registration needs IPsec and a home agent. A correspondent is none.
        if update.flags.contains(Flags::HOME) {
            return Err(Refused::Silently(Counter::BindingUpdateHome));
        }
        let (Some(indices), Some(_)) = (update.nonce_indices, update.authenticator) else {
            return Err(Refused::Silently(Counter::BindingUpdateIncomplete));
        };
        let mut seals = self.seals(now, packet, update, indices)?.into_iter();
        let fits = |seal: &Seal| rr::verify(&seal.key, seal.care_of, packet.destination, packet);
        let Some(seal) = seals.find(fits) else {
            let counter = Counter::BindingUpdateBadAuthenticator;
            return Err(Refused::Silently(counter));
        };
        match self.not_after(now, packet, update) {
            Some(last) => Err(Refused::With {
                counter: Counter::BindingUpdateBadSequence,
                status: status::SEQUENCE_OUT_OF_WINDOW,
                sequence: last,
                seal: Some(Box::new(seal)),
            }),
            None => Ok(seal),
        }
    }

    /// The last sequence number, if that of the update is not after it. Each triple has its own numbers. So has the
    /// deletion that names no member; its number must be after that of one of the bindings that it deletes.
    fn not_after(
        &self,
        now: Time,
        packet: &ipv6::Packet<'_>,
        update: &BindingUpdate,
    ) -> Option<u16> {
        let old = |last: &u16| !rr::is_after(update.sequence, *last);
        let triple = triple(packet, update);
        let live = self.cache.get(triple).map(|live| live.sequence);
        let last = live.or_else(|| self.sequences.last(now, Tag::of(triple)));
        if last.is_some_and(|last| old(&last)) || triple != triple.pair().unnamed() {
            return last.filter(old);
        }
        let numbers = || self.cache.of(triple.pair()).map(|(_, live)| live.sequence);
        numbers().find(|_| numbers().all(|last| old(&last)))
    }

    /// The keys that the nonce indices may lead to (section 5.2.5): one, or while a fleet changes its secret those of
    /// both, the new one first.
    fn seals(
        &self,
        now: Time,
        packet: &ipv6::Packet<'_>,
        update: &BindingUpdate,
        (home, care_of): (u16, u16),
    ) -> Result<Vec<Seal>, Refused> {
        let expired = |counter, status| Refused::With {
            counter,
            status,
            sequence: update.sequence,
            seal: None,
        };
        let no_home = || expired(Counter::BindingUpdateHomeNonce, status::EXPIRED_HOME_NONCE);
        let (client, anycast) = (packet.destination, packet.source);
        let homes = || self.keys.find(now, home);
        let has_home = homes().next().is_some();
        if update.lifetime == 0 {
            if !has_home {
                return Err(no_home());
            }
            let seals = homes().map(|home| Seal {
                key: Kbm::deletion(&home.home(anycast, client)),
                care_of: anycast,
                nonces: home.first_used(),
            });
            return Ok(seals.collect());
        }
        let Some(address) = update.alternate_care_of else {
            return Err(Refused::Silently(Counter::BindingUpdateIncomplete));
        };
        let care_ofs = || self.keys.find(now, care_of);
        match (has_home, care_ofs().next().is_some()) {
            (true, true) => {
                let pairs = homes().flat_map(|home| care_ofs().map(move |care_of| (home, care_of)));
                let seals = pairs.map(|(home, care_of)| Seal {
                    key: Kbm::binding(
                        &home.home(anycast, client),
                        &care_of.care_of(address, client),
                    ),
                    care_of: address,
                    nonces: home.first_used().max(care_of.first_used()),
                });
                Ok(seals.collect())
            }
            (false, true) => Err(no_home()),
            (true, false) => Err(expired(
                Counter::BindingUpdateCareOfNonce,
                status::EXPIRED_CARE_OF_NONCE,
            )),
            (false, false) => Err(expired(
                Counter::BindingUpdateBothNonces,
                status::EXPIRED_NONCES,
            )),
        }
    }

    /// The nonces of a deleted binding do not make it again (section 9.5.3), nor do those of an update that may be one
    /// that is forgotten. They count as expired, so that the member asks for new ones. It gets new ones at once, and in
    /// a fleet with the next period.
    fn unless_barred(
        &mut self,
        now: Time,
        update: &BindingUpdate,
        tag: Tag,
        seal: Seal,
    ) -> Result<Seal, Refused> {
        if update.lifetime == 0 || !self.sequences.bars(now, tag, seal.nonces) {
            return Ok(seal);
        }
        if let Some((home, care_of)) = update.nonce_indices {
            self.keys.retire(now, home);
            self.keys.retire(now, care_of);
        }
        Err(Refused::With {
            counter: Counter::BindingUpdateBarred,
            status: status::EXPIRED_NONCES,
            sequence: update.sequence,
            seal: None,
        })
    }

    /// Does what a valid update asks for, if it is permitted. Its sequence number is noted, unless its nonces are
    /// barred.
    pub(super) fn apply(
        &mut self,
        now: Time,
        packet: &ipv6::Packet<'_>,
        update: &BindingUpdate,
        seal: Seal,
        origin: Origin,
        actions: &mut Actions,
    ) -> Result<Seal, Refused> {
        let triple = triple(packet, update);
        let tag = Tag::of(triple);
        let seal = self.unless_barred(now, update, tag, seal)?;
        let nonces = seal.nonces;
        let outcome = self.grant(now, triple, update, seal, origin, actions);
        self.cache.note(triple, update.sequence);
        self.sequences.note(now, tag, update.sequence, nonces);
        outcome
    }

    /// Makes, renews or deletes a binding (sections 9.5.2 and 9.5.3).
    fn grant(
        &mut self,
        now: Time,
        triple: Triple,
        update: &BindingUpdate,
        seal: Seal,
        origin: Origin,
        actions: &mut Actions,
    ) -> Result<Seal, Refused> {
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
            self.delete(now, triple, update, seal.nonces, actions);
            return Ok(seal);
        }
        if !self.can_be_care_of(seal.care_of, triple.anycast) {
            return Err(Refused::Silently(Counter::BindingUpdateBadCareOf));
        }
        if !self.settings.may_bind(triple.anycast) {
            let counter = Counter::BindingUpdateProhibited;
            return Err(refused(counter, status::PROHIBITED, seal));
        }
        if self.trials.is_alone(now, triple.client, triple.care_of) {
            let counter = Counter::BindingUpdateLeftAlone;
            return Err(refused(counter, status::UNSPECIFIED, seal));
        }
        let steered = self.cache.steering(triple.pair());
        let bound = self
            .cache
            .bind(now, triple, update.sequence, seal.nonces, origin);
        let full = |counter| (counter, status::INSUFFICIENT_RESOURCES);
        let (counter, status) = match bound {
            Ok((live, before)) => {
                self.counters.count(Counter::BindingUpdateAccepted);
                // The pair (A, C) is set first, since the answers of a flow to C need it.
                actions.push(leads(triple, live.expires));
                let change = before.map_or(BindingChange::Created, |_| BindingChange::Renewed);
                actions.push(changed(triple, change, None));
                if before.is_some() || !self.is_told_first(now, triple) {
                    self.steer(triple.pair(), steered, actions);
                }
                return Ok(seal);
            }
            Err(Refusal::Full) => {
                // Pairs (A, C) that are no longer used give way.
                self.sweeper.no_later_than(now);
                full(Counter::BindingTableFull)
            }
            Err(Refusal::PrefixFull) => full(Counter::BindingPrefixFull),
            Err(Refusal::MemberFull) => full(Counter::BindingMemberFull),
            Err(Refusal::PairFull) => full(Counter::BindingPairFull),
            Err(Refusal::CareOfTaken) => (Counter::BindingUpdateCareOfTaken, status::PROHIBITED),
        };
        Err(refused(counter, status, seal))
    }

    /// Ends the binding that the update names, or all that it is newer than where it names none. Their nonces cannot
    /// make another binding. `by` is when the nonce of the update was first used.
    fn delete(
        &mut self,
        now: Time,
        triple: Triple,
        update: &BindingUpdate,
        by: Time,
        actions: &mut Actions,
    ) {
        let named = triple != triple.pair().unnamed();
        let live = self.cache.of(triple.pair());
        let meant = live.filter(|(other, live)| match named {
            true => *other == triple,
            false => rr::is_after(update.sequence, live.sequence),
        });
        let meant: Vec<_> = meant.map(|(other, live)| (other, live.nonces)).collect();
        for (other, nonces) in meant {
            self.end(now, other, BindingChange::Deleted, actions);
            let tag = Tag::of(other);
            self.sequences.note(now, tag, update.sequence, by);
            self.sequences.bar(now, tag, nonces);
        }
    }

    /// Whether flows may be sent to `care_of` instead of `anycast` (RFC 6275 section 6.1.7).
    pub(super) fn can_be_care_of(&self, care_of: Ipv6Addr, anycast: Ipv6Addr) -> bool {
        ipv6::is_routable_unicast(care_of)
            && care_of != anycast
            && !self.settings.is_client(care_of)
    }

    /// Sends an acknowledgement to the source of the update, without a routing header (section 9.5.4).
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
            // Never more than one unit, as the draft has it, whatever was asked for.
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
            if let Some(Seal { key, care_of, .. }) = seal {
                rr::seal(key, *care_of, client, &mut answer)?;
            }
            Ok(answer)
        });
        self.send(answer, Counter::BindingAckSent, actions);
    }
}

/// The triple of the update. B is used as C where it names no member.
fn triple(packet: &ipv6::Packet<'_>, update: &BindingUpdate) -> Triple {
    let pair = Pair {
        client: packet.destination,
        anycast: packet.source,
    };
    let named = update.alternate_care_of;
    named.map_or(pair.unnamed(), |care_of| pair.with(care_of))
}
