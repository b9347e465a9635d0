//! Snapshots: what a gateway that starts has to know of the others' bindings and flows. Who wants one asks for each
//! chunk, so nothing is sent faster than it is taken; the next one is on its way meanwhile.

use std::{sync::Arc, time::Duration};

use super::{
    message::{Chunk, Pins, Wish, write_pins},
    seal::Id,
};
use crate::core::Time;

/// Octets of a chunk, but for a part of one triple more. A server of NATS takes messages of a mebibyte.
const CHUNK: usize = 256 << 10;
/// For the triple that goes beyond it, which nearly always has few flows.
const ROOM: usize = 1 << 10;
/// A snapshot is kept for so long after its last chunk was asked for.
const KEPT: Duration = Duration::from_secs(20);
/// Who has not asked for so long has everything, or may be gone, and gives way to another one.
const IDLE: Duration = Duration::from_secs(3);
/// Snapshots that are served at the same time.
const SERVED: usize = 4;
/// Chunks that are asked for and have not come. A daemon that gives them has other things to do between two.
const ASKED: u32 = 6;
/// How long an answer is awaited, and how often a chunk is asked for.
const PATIENCE: Duration = Duration::from_secs(1);
const TRIES: u32 = 4;
/// The same for the first one the first time. The wish may overtake what shows who is asked that it is no recording:
/// two subscriptions bring them.
const HASTE: Duration = Duration::from_millis(100);
/// Who has begun to answer is busy rather than gone: with a million flows, judging them takes seconds.
const TRIES_UNDER_WAY: u32 = 8;

/// The snapshots that others want.
#[derive(Debug, Default)]
pub(super) struct Server {
    /// Who waits for a first chunk.
    waiting: Vec<(Id, Wish)>,
    serving: Vec<Serving>,
}

#[derive(Debug)]
struct Serving {
    to: Id,
    snapshot: u64,
    chunks: Arc<[Arc<Vec<u8>>]>,
    taken: Time,
    asked: Time,
}

/// A chunk that is given.
pub(super) struct Part {
    pub(super) pins: Arc<Vec<u8>>,
    /// Number of chunks of the snapshot.
    pub(super) of: u32,
    /// When it was taken.
    pub(super) taken: Time,
}

impl Serving {
    fn part(&self, number: u32) -> Option<Part> {
        let chunk = self.chunks.get(usize::try_from(number).ok()?)?;
        Some(Part {
            pins: Arc::clone(chunk),
            of: u32::try_from(self.chunks.len()).unwrap_or(u32::MAX),
            taken: self.taken,
        })
    }
}

/// What becomes of a wish.
pub(super) enum Answer {
    /// This chunk is the answer.
    Chunk(Part),
    /// The flows have to be read first.
    Later,
    /// There is none.
    None,
}

impl Server {
    pub(super) fn wish(&mut self, now: Time, from: Id, wish: Wish) -> Answer {
        self.serving.retain(|serving| now < serving.asked + KEPT);
        let mut serving = self.serving.iter_mut();
        let known = serving.find(|it| (it.to, it.snapshot) == (from, wish.snapshot));
        if let Some(serving) = known {
            serving.asked = now;
            return serving.part(wish.chunk).map_or(Answer::None, Answer::Chunk);
        }
        let busy = self.serving.len() + self.waiting.len() >= SERVED;
        let waits = self.waiting.iter().any(|(to, _)| *to == from);
        if wish.chunk != 0 || busy && !waits && !self.make_room(now) {
            return Answer::None;
        }
        self.waiting.retain(|(to, _)| *to != from);
        self.waiting.push((from, wish));
        Answer::Later
    }

    /// The snapshot that was not asked for longest gives way. Gives whether there is one.
    fn make_room(&mut self, now: Time) -> bool {
        let idle = self.serving.iter().enumerate();
        let idle = idle.filter(|(_, serving)| now >= serving.asked + IDLE);
        let longest = idle.min_by_key(|(_, serving)| serving.asked);
        longest
            .map(|(place, _)| place)
            .map(|place| self.serving.remove(place))
            .is_some()
    }

    pub(super) const fn is_wanted(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether somebody waits for a snapshot, or takes one.
    pub(super) fn is_giving(&self, now: Time) -> bool {
        let mut serving = self.serving.iter();
        self.is_wanted() || serving.any(|serving| now < serving.asked + PATIENCE)
    }

    /// Serves these pins to all who wait. Gives who they are, and their first chunks.
    pub(super) fn serve(
        &mut self,
        now: Time,
        pins: impl Iterator<Item = Pins>,
    ) -> Vec<(Id, Wish, Part)> {
        let mut chunks = vec![Vec::new()];
        for pins in pins.flat_map(Pins::parts) {
            if chunks.last().is_some_and(|last| last.len() >= CHUNK) {
                chunks.push(Vec::with_capacity(CHUNK + ROOM));
            }
            if let Some(last) = chunks.last_mut() {
                write_pins(now, &pins, last);
            }
        }
        let chunks: Arc<[_]> = chunks.into_iter().map(Arc::new).collect();
        let mut first = Vec::new();
        for (to, wish) in self.waiting.drain(..) {
            let serving = Serving {
                to,
                snapshot: wish.snapshot,
                chunks: Arc::clone(&chunks),
                taken: now,
                asked: now,
            };
            first.extend(serving.part(0).map(|part| (to, wish, part)));
            self.serving.push(serving);
        }
        first
    }
}

/// The snapshot that this gateway wants.
#[derive(Debug)]
pub(super) struct Client {
    from: Id,
    /// The chunk that is awaited.
    wish: Wish,
    /// That after the last one that was asked for.
    next: u32,
    asked: Time,
    tries: u32,
}

/// What a client does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It waits.
    Wait,
    /// It asks for this chunk, and so many after it.
    Ask(Id, Wish, u32),
    /// It has everything.
    Done,
    /// Who was asked does not answer.
    GiveUp,
}

impl Client {
    pub(super) const fn new(now: Time, from: Id, snapshot: u64) -> (Self, Wish) {
        let wish = Wish { snapshot, chunk: 0 };
        let client = Self {
            from,
            wish,
            next: 1,
            asked: now,
            tries: 1,
        };
        (client, wish)
    }

    /// Whether this chunk is the one that is awaited. The first one may come from any gateway that was asked.
    pub(super) fn awaits(&self, from: Id, chunk: &Chunk<'_>) -> bool {
        chunk.wish == self.wish && (from == self.from || !self.is_under_way())
    }

    /// A chunk that is not awaited. One that came before its turn is not taken, and is asked for once more.
    pub(super) fn passed(&mut self, from: Id, chunk: &Chunk<'_>) {
        let Wish { snapshot, chunk } = chunk.wish;
        if (from, snapshot) == (self.from, self.wish.snapshot) && chunk > self.wish.chunk {
            self.next = self.next.min(chunk);
        }
    }

    /// Whether a part of the snapshot has come.
    pub(super) const fn is_under_way(&self) -> bool {
        self.wish.chunk > 0
    }

    /// The number of a snapshot of which nothing has come yet. Who was asked may still be reading its flows, and has
    /// the answer when it is asked for the same again.
    pub(super) const fn unanswered(&self) -> Option<u64> {
        match self.is_under_way() {
            true => None,
            false => Some(self.wish.snapshot),
        }
    }

    /// The chunk that was awaited came.
    pub(super) fn took(&mut self, now: Time, from: Id, of: u32) -> Next {
        self.from = from;
        self.wish.chunk += 1;
        self.asked = now;
        self.tries = 1;
        if self.wish.chunk >= of {
            return Next::Done;
        }
        let end = self.wish.chunk.saturating_add(ASKED).min(of);
        let first = Wish {
            chunk: self.next.max(self.wish.chunk),
            ..self.wish
        };
        self.next = end;
        match end.checked_sub(first.chunk + 1) {
            Some(more) => Next::Ask(self.from, first, more),
            None => Next::Wait,
        }
    }

    pub(super) fn poll(&mut self, now: Time) -> Next {
        if now < self.deadline() {
            return Next::Wait;
        }
        let most = match self.is_under_way() {
            true => TRIES_UNDER_WAY,
            false => TRIES,
        };
        if self.tries >= most {
            return Next::GiveUp;
        }
        self.asked = now;
        self.tries += 1;
        // This one alone: what was asked for after it may only be slow.
        Next::Ask(self.from, self.wish, 0)
    }

    pub(super) fn deadline(&self) -> Time {
        let first = !self.is_under_way() && self.tries == 1;
        self.asked + if first { HASTE } else { PATIENCE }
    }

    pub(super) const fn from(&self) -> Id {
        self.from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: Id = 7;
    const OF: u32 = 10;

    fn after(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    /// The chunks that are asked for.
    fn asked(next: Next) -> Vec<u32> {
        match next {
            Next::Ask(FROM, first, more) => (first.chunk..=first.chunk + more).collect(),
            Next::Wait => Vec::new(),
            other => panic!("{other:?}"),
        }
    }

    fn chunk(number: u32) -> Chunk<'static> {
        Chunk {
            wish: Wish {
                snapshot: 1,
                chunk: number,
            },
            of: OF,
            age: Duration::ZERO,
            pins: &[],
        }
    }

    #[test]
    fn of_a_slow_bus_only_the_chunk_that_is_awaited_is_asked_for_again() {
        let (mut client, _) = Client::new(after(0), FROM, 1);
        assert_eq!(asked(client.took(after(0), FROM, OF)), [1, 2, 3, 4, 5, 6]);
        assert_eq!(asked(client.poll(after(1))), [1]);
        assert_eq!(asked(client.poll(after(2))), [1]);
        assert_eq!(asked(client.took(after(3), FROM, OF)), [7]);
        // That which came of asking twice.
        client.passed(FROM, &chunk(1));
        assert_eq!(asked(client.took(after(3), FROM, OF)), [8]);
    }

    #[test]
    fn a_chunk_that_came_before_its_turn_is_asked_for_once_more() {
        let (mut client, _) = Client::new(after(0), FROM, 1);
        assert_eq!(asked(client.took(after(0), FROM, OF)), [1, 2, 3, 4, 5, 6]);
        let early = chunk(2);
        assert!(!client.awaits(FROM, &early));
        client.passed(FROM, &early);
        assert_eq!(asked(client.poll(after(1))), [1]);
        assert_eq!(asked(client.took(after(1), FROM, OF)), [2, 3, 4, 5, 6, 7]);
    }
}
