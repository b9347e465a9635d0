//! The correspondent role: its inputs and its timers.

use std::{collections::BTreeSet, net::Ipv6Addr, time::Duration};

use anycast_common::wire::{self, ipv6, mobility::Message};

use super::{
    ahead::Ahead,
    cache::{Cache, Room},
    elsewhere::{self, Elsewhere},
    in_use::InUse,
    judging::Judging,
    keys::Keys,
    limiter::Limiter,
    live::Steering,
    offer::Offer,
    recent::Recent,
    sequences::Sequences,
    settings::Settings,
    trials::Trials,
    triple::{Pair, Triple},
};
use crate::core::{
    Action, Actions, MapAction, Notice, Received, Time,
    counters::{Counter, Counters},
    fleet::{Bus, Published},
    flows::{Sweeper, Use},
    hash::{Map, give_back},
    notice::BindingChange,
    rr::Generator,
    time::earliest,
};

/// Bindings that end in one turn, whose entries in the data plane contain their end. Where a million expire at once,
/// other gateways would take this one for lost before the last of them has, and one that gets a snapshot of it would
/// wait for each part.
const EXPIRED: usize = 1000;

/// The correspondent role.
#[derive(Debug)]
pub struct Correspondent {
    pub(super) settings: Settings,
    pub(super) rng: Generator,
    pub(super) keys: Keys,
    /// What the programs make tokens of.
    pub(super) offer: Offer,
    pub(super) cache: Cache,
    pub(super) sequences: Sequences,
    pub(super) trials: Trials,
    pub(super) limiter: Limiter,
    pub(super) sweeper: Sweeper,
    /// What it is judging.
    pub(super) judging: Option<Judging>,
    /// The pairs with bound flows, by the last sweep.
    pub(super) in_use: InUse,
    /// The bus of the fleet, where there is one, and what was said on it.
    pub(super) bus: Option<Bus>,
    pub(super) published: Published,
    pub(super) recent: Recent,
    pub(super) elsewhere: Elsewhere,
    pub(super) ahead: Ahead,
    pub(super) counters: Counters,
}

impl Correspondent {
    /// Makes a correspondent without bindings.
    #[must_use]
    pub fn new(settings: Settings, now: Time, mut rng: Generator) -> Self {
        Self {
            keys: Keys::new(settings.fleet.as_ref(), now, &mut rng),
            offer: Offer::default(),
            bus: elsewhere::join(settings.fleet.as_ref(), now, &mut rng),
            published: Published::default(),
            recent: Recent::default(),
            elsewhere: Elsewhere::default(),
            ahead: Ahead::default(),
            rng,
            cache: Cache::new(room(&settings)),
            sequences: Sequences::new(settings.sequences()),
            trials: Trials::new(settings.max_care_of),
            limiter: Limiter::new(&settings.limits),
            sweeper: Sweeper::new(settings.flows, now),
            judging: None,
            in_use: InUse::default(),
            settings,
            counters: Counters::default(),
        }
    }

    /// Replaces prefixes, limits and times. What the data plane has room for, and the fleet, stay as they are.
    pub fn reconfigure(&mut self, settings: Settings) {
        let settings = Settings {
            max_care_of: self.settings.max_care_of,
            fleet: self.settings.fleet.take(),
            ..settings
        };
        self.cache.set_room(room(&settings));
        self.sequences.set_capacity(settings.sequences());
        self.limiter.set(&settings.limits);
        self.sweeper.set(settings.flows);
        self.settings = settings;
    }

    /// Handles a mobility message. `received` is the whole packet, which a Parameter Problem quotes. `packet` and
    /// `message` are parsed from it.
    pub fn mobility(
        &mut self,
        now: Time,
        received: &Received<'_>,
        packet: &ipv6::Packet<'_>,
        message: Result<Message, wire::Error>,
        actions: &mut Actions,
    ) {
        if !self.settings.is_client(packet.destination) {
            let counter = match message {
                Ok(Message::BindingUpdate(_)) => Counter::BindingUpdateNotOurs,
                Ok(_) | Err(_) => Counter::MobilityUnexpected,
            };
            return self.refuse(now, packet, counter, actions);
        }
        self.message(now, received, packet, message, actions);
        self.offer.make(&self.keys, now, actions);
    }

    /// Handles a message to a client.
    fn message(
        &mut self,
        now: Time,
        received: &Received<'_>,
        packet: &ipv6::Packet<'_>,
        message: Result<Message, wire::Error>,
        actions: &mut Actions,
    ) {
        match message {
            Ok(Message::HomeTestInit { cookie }) => {
                self.home_test_init(now, packet, cookie, actions);
            }
            Ok(Message::CareOfTestInit { cookie }) => {
                self.care_of_test_init(now, packet, cookie, actions);
            }
            Ok(Message::BindingUpdate(update)) => {
                if self.binding_update(now, packet, &update, actions) {
                    self.tell_update(now, received.packet, actions);
                }
            }
            Ok(Message::Unknown { mh_type: _ }) => self.unknown_type(now, packet, actions),
            // These messages are for mobile nodes.
            Ok(
                Message::BindingRefreshRequest
                | Message::HomeTest { .. }
                | Message::CareOfTest { .. }
                | Message::BindingAck(_)
                | Message::BindingError { .. },
            ) => self.refuse(now, packet, Counter::MobilityUnexpected, actions),
            Err(error) => self.malformed(now, received, packet, error, actions),
        }
    }

    /// The time of day at `now`, since 1970. Keys of a fleet depend on it; those of others do not.
    pub fn clock(&mut self, now: Time, unix: Duration) {
        self.keys.clock(now, unix);
        if let Some(bus) = &mut self.bus {
            bus.clock(now, unix);
        }
    }

    /// Removes the pairs (A, C) from the data plane that no binding uses and that are not in `pairs`. `now` is when the
    /// sweep began.
    pub(super) fn used(
        &mut self,
        now: Time,
        pairs: Map<(Ipv6Addr, Ipv6Addr), Use>,
        actions: &mut Actions,
    ) {
        for (client, care_of) in self.cache.sweep(now, &pairs) {
            actions.push(Action::Map(MapAction::RemoveCareOf { client, care_of }));
        }
        self.in_use = InUse::counted(now, pairs);
        give_back(&mut self.in_use.flows);
    }

    /// Adopts a pair (A, C) of an earlier run. It stays until a sweep finds no flow that uses it.
    pub fn adopt(&mut self, client: Ipv6Addr, care_of: Ipv6Addr, anycast: Ipv6Addr) {
        self.cache.adopt(client, care_of, anycast);
    }

    /// Does what is due at `now`.
    pub fn poll(&mut self, now: Time, actions: &mut Actions) {
        for _ in 0..EXPIRED {
            let Some(triple) = self.cache.over(now) else {
                break;
            };
            self.counters.count(Counter::BindingExpired);
            self.end(now, triple, BindingChange::Expired, actions);
        }
        self.poll_bus(now, actions);
        self.judge(now, actions);
        while let Some((triple, waited)) = self.ahead.take(now) {
            let steers = self.cache.steering(triple.pair());
            self.steer(triple.pair(), None, steers, actions);
            actions.extend(waited);
        }
        // Before flows are told by which others would undo it.
        self.tell_again(now, actions);
        self.spare(now);
        if self.sweeper.hurries(now) {
            actions.push(Action::HurryFlows);
        }
        let soon = self.sweeper.is_asked(now);
        // Those that were read before are judged first.
        if self.judging.is_none() && self.sweeper.due(now) {
            actions.push(Action::ReadFlows { soon });
        }
        if let Some(since) = self.recent.due(now) {
            actions.push(Action::ReadRecentFlows { since });
        }
        self.offer.renew(&self.keys, now, actions);
    }

    /// When [`Correspondent::poll`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let bus = self.bus.as_ref().and_then(Bus::deadline);
        let judging = self.judging.as_ref().map(Judging::due);
        let sweeps = earliest(self.sweeper.deadline(), self.recent.deadline());
        let sweeps = earliest(sweeps, judging);
        let sweeps = earliest(sweeps, self.elsewhere.deadline());
        let own = earliest(self.cache.deadline(), sweeps);
        earliest(earliest(own, bus), self.ahead.deadline())
    }

    /// Takes every binding out of the data plane. New flows go by plain anycast; bound ones go on.
    pub fn shutdown(&mut self, now: Time, actions: &mut Actions) {
        self.offer.withdraw(actions);
        // What others have told is not told again.
        self.judge_all(now, actions);
        let triples: Vec<Triple> = self.cache.live().map(|(triple, _)| triple).collect();
        let pairs: BTreeSet<Pair> = triples.iter().map(|triple| triple.pair()).collect();
        for triple in triples {
            self.cache.unbind(now, triple);
            actions.push(stops_leading(triple));
        }
        let removed = |Pair { client, anycast }| MapAction::RemoveBinding { client, anycast };
        actions.extend(pairs.into_iter().map(removed).map(Action::Map));
    }

    /// Ends a binding, if there is one, and tells the data plane and watchers.
    pub(super) fn end(
        &mut self,
        now: Time,
        triple: Triple,
        change: BindingChange,
        actions: &mut Actions,
    ) -> bool {
        let steered = self.cache.steering(triple.pair());
        if self.cache.unbind(now, triple).is_none() {
            return false;
        }
        self.ahead.forget(triple);
        // The entry of a binding that has expired contains its end.
        if change != BindingChange::Expired {
            actions.push(stops_leading(triple));
        }
        actions.push(changed(triple, change, None));
        let steers = self.cache.steering(triple.pair());
        self.steer(triple.pair(), steered, steers, actions);
        true
    }

    /// Tells the data plane which binding steers the new flows of (A, B), if that is another one than
    /// before, or the same for longer.
    pub(super) fn steer(
        &self,
        pair: Pair,
        before: Option<Steering>,
        now: Option<Steering>,
        actions: &mut Actions,
    ) {
        // A flow that seems new may be bound elsewhere.
        if !self.is_ready() {
            return;
        }
        let Pair { client, anycast } = pair;
        let steered = |(triple, live): Steering| (triple.care_of, live.expires);
        let (before, now) = (before.map(steered), now.map(steered));
        if before == now {
            return;
        }
        let Some((care_of, expires)) = now else {
            return actions.push(Action::Map(MapAction::RemoveBinding { client, anycast }));
        };
        actions.push(steers(pair.with(care_of), expires));
        let from = before.map(|(before, _)| before);
        if let Some(from) = from.filter(|from| *from != care_of) {
            let moved = changed(pair.with(care_of), BindingChange::Moved, Some(from));
            actions.push(moved);
        }
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Counts a refusal, and reports it unless there are too many.
    pub(super) fn refuse(
        &mut self,
        now: Time,
        packet: &ipv6::Packet<'_>,
        counter: Counter,
        actions: &mut Actions,
    ) {
        self.counters.count(counter);
        if self.limiter.notice(now) {
            actions.push(Action::Notice(Notice::MobilityRefused {
                source: packet.source,
                destination: packet.destination,
                reason: counter.name(),
            }));
        }
    }
}

fn room(settings: &Settings) -> Room {
    Room {
        bindings: settings.max_bindings,
        per_prefix: settings.max_per_prefix,
        per_member: settings.max_per_member,
        care_of: settings.max_care_of,
    }
}

/// The member of this triple no longer leads its flows.
pub(super) fn stops_leading(triple: Triple) -> Action {
    leads(triple, Time::ZERO)
}

/// The member of this triple leads its flows until `until`.
pub(super) fn leads(triple: Triple, expires: Time) -> Action {
    let Triple {
        client,
        anycast,
        care_of,
    } = triple;
    Action::Map(MapAction::SetCareOf {
        client,
        care_of,
        anycast,
        expires,
    })
}

/// The member of this triple gets new flows until `expires`.
pub(super) fn steers(triple: Triple, expires: Time) -> Action {
    let Triple {
        client,
        anycast,
        care_of,
    } = triple;
    Action::Map(MapAction::SetBinding {
        client,
        anycast,
        care_of,
        expires,
    })
}

pub(super) fn changed(
    triple: Triple,
    change: BindingChange,
    moved_from: Option<Ipv6Addr>,
) -> Action {
    Action::Notice(Notice::Binding {
        client: triple.client,
        anycast: triple.anycast,
        care_of: triple.care_of,
        change,
        moved_from,
    })
}
