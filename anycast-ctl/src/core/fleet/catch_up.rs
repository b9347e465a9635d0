//! How a gateway that starts gets to know what the others do, and how they tell it.

use std::time::Duration;

use rand::Rng as _;

use super::{
    bus::{ALONE, Bus, READY, UNNOTICED},
    message::{Chunk, Pins, Wish, read_pins},
    news::News,
    seal::{Id, kind},
    snapshot::{Answer, Client, Next, Part},
};
use crate::core::{
    Action, Actions, Notice, Time,
    counters::{Counter, Counters},
    notice::FleetReady,
    time::earliest,
};

/// A gateway whose snapshot comes waits for so long, and goes on with what it has. One of a million triples took
/// 43 seconds on a busy machine.
const COMES: Duration = Duration::from_secs(60);
/// A gateway that got none asks again after this time.
const RETRY: Duration = Duration::from_secs(60);

impl Bus {
    /// The connection to the bus is there, or is not. Gives since when nobody has heard this gateway, if it has come
    /// back.
    pub fn connected(&mut self, now: Time, is: bool) -> Option<Time> {
        // It may have come back before anybody saw that it was gone.
        if self.connected.is_some() {
            self.gone.get_or_insert(now.before(UNNOTICED));
        }
        self.connected = is.then_some(now);
        self.next = now;
        let never = is && self.timed_out();
        let unheard = self
            .gone
            .take_if(|_| is)
            .or(never.then_some(self.started))?;
        self.behind = self.is_ready().then_some(now);
        self.back = None;
        Some(unheard)
    }

    /// Whether another gateway may have said what this one did not hear.
    #[must_use]
    pub fn may_miss(&self, now: Time) -> bool {
        self.connected.is_none_or(|since| now < since + ALONE) || self.peers.any_lost()
    }

    /// Whether there are other gateways that hear this one.
    #[must_use]
    pub fn has_others(&self) -> bool {
        self.connected.is_some() && self.peers.there().next().is_some()
    }

    /// Whether somebody waits for [`Bus::serve`].
    #[must_use]
    pub const fn is_wanted(&self) -> bool {
        self.server.is_wanted()
    }

    /// Gives all bindings and flows to those who want a snapshot.
    pub fn serve(
        &mut self,
        now: Time,
        pins: impl Iterator<Item = Pins>,
        counters: &mut Counters,
        actions: &mut Actions,
    ) {
        for (to, wish, first) in self.server.serve(now, pins) {
            counters.count(Counter::FleetSnapshotServed);
            self.send_chunk(now, to, wish, &first, actions);
        }
    }

    pub(super) fn wish<'a>(
        &mut self,
        now: Time,
        from: Id,
        wish: Wish,
        actions: &mut Actions,
    ) -> News<'a> {
        // Who has not heard from the others yet is no help to others.
        if !self.is_ready() {
            return News::None;
        }
        match self.server.wish(now, from, wish) {
            Answer::Chunk(part) => self.send_chunk(now, from, wish, &part, actions),
            Answer::Later => return News::Wanted,
            Answer::None => {}
        }
        News::None
    }

    pub(super) fn chunk<'a>(
        &mut self,
        now: Time,
        from: Id,
        chunk: &Chunk<'_>,
        actions: &mut Actions,
    ) -> Result<News<'a>, Counter> {
        // One that was asked for twice, or was given up, is authentic and new, and nobody waits for it.
        let Some(client) = &mut self.client else {
            return Ok(News::None);
        };
        if !client.awaits(from, chunk) {
            client.passed(from, chunk);
            return Ok(News::None);
        }
        let taken = now.before(chunk.age);
        let mut pins = read_pins(taken, chunk.pins).ok_or(Counter::FleetMessageMalformed)?;
        for pins in &mut pins {
            pins.remaining = pins.remaining.saturating_sub(chunk.age);
        }
        match client.took(now, from, chunk.of) {
            Next::Ask(to, first, more) => self.ask(now, to, first, more, actions),
            Next::Wait | Next::GiveUp => {}
            Next::Done => {
                self.client = None;
                self.snapshot_at = Some(now);
                (self.behind, self.back) = (None, None);
                if let Some((_, how)) = &mut self.ready {
                    *how = FleetReady::Snapshot;
                } else {
                    self.become_ready(now, FleetReady::Snapshot, actions);
                }
            }
        }
        let parts = (chunk.wish.chunk == 0).then_some(chunk.of);
        let parts = parts.and_then(|parts| parts.try_into().ok());
        Ok(News::Snapshot { pins, taken, parts })
    }

    /// Gets a snapshot from the gateway that answered first, or finds that there is none.
    pub(super) fn catch_up(&mut self, now: Time, actions: &mut Actions) {
        if let (true, Some(behind)) = (self.is_ready(), self.behind) {
            if self.connected.is_none() {
                self.client = None;
                return;
            }
            if now >= self.bound(behind) {
                // It goes on by what it knows, and by what it hears from now on.
                self.client = None;
                (self.behind, self.back) = (None, None);
                self.retry = now + RETRY;
                if self.has_others() && !self.timed_out() {
                    let how = FleetReady::TimedOut;
                    self.ready = self.ready.map(|(since, _)| (since, how));
                    actions.push(Action::Notice(Notice::FleetReady { how }));
                }
                return;
            }
        } else if now >= self.bound(self.started) {
            self.client = None;
            self.retry = now + RETRY;
            return self.become_ready(now, FleetReady::TimedOut, actions);
        }
        let (mut other_than, mut unanswered) = (None, None);
        if let Some(client) = &mut self.client {
            match client.poll(now) {
                Next::Ask(to, first, more) => return self.ask(now, to, first, more, actions),
                Next::GiveUp => {
                    (other_than, unanswered) = (Some(client.from()), client.unanswered());
                    if client.is_under_way() {
                        self.broken = Some(now);
                    }
                }
                Next::Wait | Next::Done => return,
            }
            self.client = None;
        }
        let ready = || self.peers.there().filter(|(_, peer)| peer.ready);
        let chosen = ready().filter(|(id, _)| other_than != Some(*id));
        let chosen = chosen.min_by_key(|(id, _)| self.back != Some(*id));
        if let Some((from, _)) = chosen.or_else(|| ready().next()) {
            let snapshot = unanswered.unwrap_or_else(|| self.rng.next_u64());
            let (client, wish) = Client::new(now, from, snapshot);
            self.client = Some(client);
            self.ask(now, from, wish, 0, actions);
        } else if !self.is_ready() && self.connected.is_some_and(|since| now >= since + ALONE) {
            self.become_ready(now, FleetReady::Alone, actions);
        }
    }

    /// Whether a snapshot is wanted, and nobody is asked for it.
    pub(super) const fn wants_one(&self) -> bool {
        self.client.is_none() && (self.ready.is_none() || self.behind.is_some())
    }

    /// Whether a gateway that starts is taking a snapshot. What it may put off has its turn in time, however long that
    /// takes.
    #[must_use]
    pub fn is_taking(&self, now: Time) -> bool {
        let comes = self.client.as_ref().is_some_and(Client::is_under_way);
        comes && !self.is_ready() && now < self.started + READY
    }

    /// Whether another gateway waits for a snapshot of this one, or takes it.
    #[must_use]
    pub fn is_giving(&self, now: Time) -> bool {
        self.server.is_giving(now)
    }

    /// When [`Bus::catch_up`] has something to do.
    pub(super) fn catch_up_deadline(&self) -> Option<Time> {
        let client = self.client.as_ref().map(Client::deadline);
        if !self.is_ready() {
            let alone = self.connected.map(|since| since + ALONE);
            return earliest(Some(self.bound(self.started)), client.or(alone));
        }
        let Some(behind) = self.connected.and(self.behind) else {
            return self.retries();
        };
        earliest(Some(self.bound(behind)), client)
    }

    /// Until when a snapshot is awaited, from `since` on: for longer while it comes, or another one may come instead.
    fn bound(&self, since: Time) -> Time {
        if self.client.as_ref().is_some_and(Client::is_under_way) {
            return since + COMES;
        }
        let broken = self.broken.filter(|broken| *broken >= since);
        broken.map_or(since + READY, |broken| (broken + READY).min(since + COMES))
    }

    /// Whether this gateway goes on without the snapshot that it wanted.
    fn timed_out(&self) -> bool {
        let how = self.ready.map(|(_, how)| how);
        how == Some(FleetReady::TimedOut)
    }

    /// When a snapshot that did not come is asked for again, where somebody has one.
    fn retries(&self) -> Option<Time> {
        let has = || self.peers.there().any(|(_, peer)| peer.ready);
        let wanted = self.timed_out() && self.behind.is_none() && self.connected.is_some();
        (wanted && has()).then_some(self.retry)
    }

    /// Asks again for a snapshot that did not come, when it is time.
    pub(super) fn try_again(&mut self, now: Time) {
        if self.retries().is_some_and(|retry| retry <= now) {
            self.behind = Some(now);
        }
    }

    fn become_ready(&mut self, now: Time, how: FleetReady, actions: &mut Actions) {
        self.ready = Some((now, how));
        self.next = now;
        actions.push(Action::Notice(Notice::FleetReady { how }));
    }

    /// Asks for a chunk, and so many after it.
    fn ask(&mut self, now: Time, to: Id, first: Wish, more: u32, actions: &mut Actions) {
        for chunk in first.chunk..=first.chunk.saturating_add(more) {
            let mut body = Vec::new();
            Wish { chunk, ..first }.write(&mut body);
            self.send(now, Some(to), kind::WISH, &body, actions);
        }
    }

    fn send_chunk(&mut self, now: Time, to: Id, wish: Wish, part: &Part, actions: &mut Actions) {
        let Part { pins, of, taken } = part;
        let chunk = Chunk {
            wish,
            of: *of,
            age: now.since(*taken),
            pins,
        };
        let mut body = Vec::with_capacity(pins.len() + 32);
        chunk.write(&mut body);
        self.send(now, Some(to), kind::CHUNK, &body, actions);
    }
}
