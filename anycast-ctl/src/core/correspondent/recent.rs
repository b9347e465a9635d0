//! When the flows are read of which the other gateways of a fleet have to hear soon.

use std::time::Duration;

use crate::core::{Time, fleet::Published};

/// Between two readings, so that the others know of a flow before its trial is over, for so many flows that are in use.
const CADENCE: Duration = Duration::from_millis(500);
const CADENCE_FLOWS: usize = 100_000;
/// Longest time between two readings. With that of a reading and of the bus it is still within a trial.
const LONGEST: Duration = Duration::from_millis(1500);
/// Flows are in use of late if they were since this time before the last reading. In it the others hear at least once
/// of one that passes in one direction, and what another gateway tells of a flow is younger.
const OF_LATE: Duration = Duration::from_secs(3);

/// When flows are read of which the others have to hear soon.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// `None` while the result is awaited, and where there is no bus.
    next: Option<Time>,
    last: Time,
    begun: bool,
    /// All are wanted at the next reading, or by that which is awaited, for a snapshot.
    all_wanted: bool,
    pub(super) all_awaited: bool,
    /// Number of all flows, in use or not.
    pub(super) number: usize,
}

impl Recent {
    /// Whether a reading is due: of flows that were in use since then.
    pub(super) fn due(&mut self, now: Time) -> Option<Time> {
        self.next.take_if(|next| *next <= now)?;
        self.all_awaited = std::mem::take(&mut self.all_wanted);
        Some(match self.all_awaited {
            true => Time::ZERO,
            false => self.last.before(OF_LATE),
        })
    }

    /// All flows are wanted as soon as can be, without being judged, which takes longer.
    pub(super) fn want_all(&mut self, now: Time) {
        self.all_wanted = true;
        if let Some(next) = &mut self.next {
            *next = now;
        }
    }

    /// Nothing is read before this time.
    pub(super) fn not_before(&mut self, time: Time) {
        self.next = self.next.map(|next| next.max(time));
    }

    pub(super) const fn deadline(&self) -> Option<Time> {
        self.next
    }

    /// So many flows that are in use were read, and so many of them are told. The reading began at `now`.
    pub(super) fn read(&mut self, now: Time, number: usize, told: usize) {
        if self.all_wanted {
            self.next = Some(now);
            return self.told(now, told);
        }
        let many = u32::try_from(number / CADENCE_FLOWS).unwrap_or(u32::MAX);
        let pause = CADENCE.saturating_mul(many.saturating_add(1));
        self.next = Some(now + pause.min(LONGEST));
        self.told(now, told);
    }

    /// Where more had to be told than are at once, the next reading has the rest, silent or not.
    fn told(&mut self, now: Time, told: usize) {
        if told < Published::MOST {
            self.last = self.last.max(now);
        }
    }

    /// So many flows there are, and so many of them are told. The first time is the beginning of all.
    pub(super) fn read_all(&mut self, now: Time, number: usize, told: usize) {
        self.number = number;
        self.told(now, told);
        if !self.begun {
            self.begun = true;
            self.next = Some(now + CADENCE);
        }
    }
}
