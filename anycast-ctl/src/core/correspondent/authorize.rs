//! Whether a Binding Update proves what it has to (RFC 6275 section 9.5.1).

use std::{hint::black_box, net::Ipv6Addr};

use anycast_common::wire::{
    ipv6,
    mobility::{BindingUpdate, Flags, status},
};

use super::{
    Correspondent,
    sequences::Tag,
    triple::{Pair, Triple},
};
use crate::core::{
    Time,
    counters::Counter,
    rr::{self, Kbm},
};

/// What is needed to authenticate an acknowledgement.
pub(super) struct Seal {
    pub(super) key: Kbm,
    /// C, or B when the update deletes (RFC 6275 section 6.2.7).
    pub(super) care_of: Ipv6Addr,
    /// When the newer of the nonces was first used.
    pub(super) nonces: Time,
    /// The digest of the triple of the update.
    pub(super) tag: Tag,
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
        let (Some(indices), Some(authenticator)) = (update.nonce_indices, update.authenticator)
        else {
            return Err(Refused::Silently(Counter::BindingUpdateIncomplete));
        };
        let triple = triple(packet, update);
        let tag = Tag::of(triple);
        let client = packet.destination;
        let fits =
            |seal: &Seal| rr::verify_parsed(&seal.key, seal.care_of, client, packet, authenticator);
        let mut seals = self.seals(now, triple, tag, update, indices)?;
        self.look_ahead(triple, tag);
        let Some(seal) = seals.find(fits) else {
            let counter = Counter::BindingUpdateBadAuthenticator;
            return Err(Refused::Silently(counter));
        };
        match self.not_after(now, triple, tag, update) {
            Some(last) => Err(Refused::With {
                counter: Counter::BindingUpdateBadSequence,
                status: status::SEQUENCE_OUT_OF_WINDOW,
                sequence: last,
                seal: Some(Box::new(seal)),
            }),
            None => Ok(seal),
        }
    }

    /// Looks for what an update needs that turns out to be right. The tables may fit no cache of a processor, and what
    /// they are in comes from memory while the keys are computed.
    fn look_ahead(&self, triple: Triple, tag: Tag) {
        black_box([
            self.cache.get(triple).is_some(),
            self.cache.has_way_back(triple),
            self.sequences.has(tag),
        ]);
    }

    /// The last sequence number, if that of the update is not after it. Each triple has its own numbers. So has the
    /// deletion that names no member; its number must be after that of one of the bindings that it deletes.
    fn not_after(
        &self,
        now: Time,
        triple: Triple,
        tag: Tag,
        update: &BindingUpdate,
    ) -> Option<u16> {
        let old = |last: &u16| !rr::is_after(update.sequence, *last);
        let live = self.cache.get(triple).map(|live| live.sequence);
        let last = live.or_else(|| self.sequences.last(now, tag));
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
        triple: Triple,
        tag: Tag,
        update: &BindingUpdate,
        (home, care_of): (u16, u16),
    ) -> Result<impl Iterator<Item = Seal>, Refused> {
        let Pair { client, anycast } = triple.pair();
        let homes = move || self.keys.find(now, home);
        let care_ofs = move || self.keys.find(now, care_of);
        let deletes = update.lifetime == 0;
        let named = update.alternate_care_of;
        if !deletes && named.is_none() {
            return Err(Refused::Silently(Counter::BindingUpdateIncomplete));
        }
        let has_home = homes().next().is_some();
        let has_care_of = deletes || care_ofs().next().is_some();
        let expired = match (has_home, has_care_of) {
            (true, true) => None,
            (false, true) => Some((Counter::BindingUpdateHomeNonce, status::EXPIRED_HOME_NONCE)),
            (true, false) => Some((
                Counter::BindingUpdateCareOfNonce,
                status::EXPIRED_CARE_OF_NONCE,
            )),
            (false, false) => Some((Counter::BindingUpdateBothNonces, status::EXPIRED_NONCES)),
        };
        if let Some((counter, status)) = expired {
            return Err(Refused::With {
                counter,
                status,
                sequence: update.sequence,
                seal: None,
            });
        }
        let deletions = deletes.then(homes).into_iter().flatten();
        let deletions = deletions.map(move |home| Seal {
            key: Kbm::deletion(&home.home(anycast, client)),
            care_of: anycast,
            nonces: home.first_used(),
            tag,
        });
        let binds = named.filter(|_| !deletes);
        let of_care_of = move |address| homes().map(move |home| (address, home));
        let pairs = binds.into_iter().flat_map(of_care_of);
        let bindings = pairs.flat_map(move |(address, home)| {
            let token = home.home(anycast, client);
            care_ofs().map(move |care_of| Seal {
                key: Kbm::binding(&token, &care_of.care_of(address, client)),
                care_of: address,
                nonces: home.first_used().max(care_of.first_used()),
                tag,
            })
        });
        Ok(deletions.chain(bindings))
    }
}

/// The triple of the update. B is used as C where it names no member.
pub(super) fn triple(packet: &ipv6::Packet<'_>, update: &BindingUpdate) -> Triple {
    let pair = Pair {
        client: packet.destination,
        anycast: packet.source,
    };
    let named = update.alternate_care_of;
    named.map_or(pair.unnamed(), |care_of| pair.with(care_of))
}
