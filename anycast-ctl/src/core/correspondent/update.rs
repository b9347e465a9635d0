//! Binding Updates (RFC 6275 sections 9.5.1 to 9.5.4).

use std::net::Ipv6Addr;

use anycast_common::wire::{
    ipv6,
    mobility::{BindingAck, BindingUpdate, Flags, Message, status},
};

use super::{
    Correspondent,
    answer::always_told,
    authorize::{Refused, Seal, triple},
    cache::Refusal,
    changed, leads,
    origin::Origin,
    sequences::Tag,
    triple::Triple,
};
use crate::core::{Actions, Time, counters::Counter, notice::BindingChange, rr};

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
                    let ack = actions.len();
                    self.acknowledge(packet, update, status, sequence, Some(&seal), actions);
                    self.ahead.hold(triple(packet, update), actions, ack);
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

    /// The nonces of a deleted binding do not make it again (section 9.5.3), nor do those of an update that may be one
    /// that is forgotten. They count as expired, so that the member asks for new ones. It gets new ones at once, and in
    /// a fleet with the next period.
    fn unless_barred(
        &mut self,
        now: Time,
        update: &BindingUpdate,
        seal: Seal,
    ) -> Result<Seal, Refused> {
        if update.lifetime == 0 || !self.sequences.bars(now, seal.tag, seal.nonces) {
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
        let seal = self.unless_barred(now, update, seal)?;
        let (tag, nonces) = (seal.tag, seal.nonces);
        let outcome = self.grant(now, triple, update, seal, origin, actions);
        if outcome.is_err() || update.lifetime == 0 {
            // A binding that was made has it.
            self.cache.note(triple, update.sequence);
        }
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
        let bound = self
            .cache
            .bind(now, triple, update.sequence, seal.nonces, origin);
        let full = |counter| (counter, status::INSUFFICIENT_RESOURCES);
        let (counter, status) = match bound {
            Ok(bound) => {
                self.counters.count(Counter::BindingUpdateAccepted);
                // The pair (A, C) is set first, since the answers of a flow to C need it.
                actions.push(leads(triple, bound.live.expires));
                actions.push(changed(triple, bound.change(), None));
                if bound.before.is_some() || !self.is_told_first(now, triple) {
                    self.steer(triple.pair(), bound.steered, bound.steers, actions);
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
        let answer = match seal {
            Some(Seal { key, care_of, .. }) => {
                rr::build_sealed(&ack, client, anycast, key, *care_of, client)
            }
            None => rr::build(&ack, client, anycast),
        };
        self.send(answer, Counter::BindingAckSent, actions);
    }
}
