//! Sums up what happens too often for one log line each.
//!
//! A host that the policy allows may join and leave thousands of groups in a second, and each would be a line about a
//! member and one about a route.

use std::time::{Duration, Instant};

/// In each period of this length, so many lines are written at most. The others are counted.
const PERIOD: Duration = Duration::from_secs(10);
const LINES: u32 = 100;

/// What happened beyond the lines that were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// Members that joined a group.
    pub(super) joins: u64,
    /// Members that left a group.
    pub(super) leaves: u64,
    /// Routes that changed.
    pub(super) routes: u64,
}

/// The kinds that are summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Join,
    Leave,
    Route,
}

/// Counts the lines of the present period.
#[derive(Debug, Default)]
pub(super) struct Sum {
    began: Option<Instant>,
    lines: u32,
    held: Held,
}

impl Sum {
    /// Whether a line of this kind is written now.
    pub(super) fn admit(&mut self, kind: Kind, now: Instant) -> bool {
        self.began.get_or_insert(now);
        if self.lines < LINES {
            self.lines += 1;
            return true;
        }
        match kind {
            Kind::Join => self.held.joins += 1,
            Kind::Leave => self.held.leaves += 1,
            Kind::Route => self.held.routes += 1,
        }
        false
    }

    /// What was held back in a period that has ended. `None` where that is nothing.
    pub(super) fn take(&mut self, now: Instant) -> Option<Held> {
        let began = self.began?;
        if now.duration_since(began) < PERIOD {
            return None;
        }
        let Self { held, .. } = std::mem::take(self);
        (held != Held::default()).then_some(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lines_of_a_period_are_written_and_the_rest_is_counted() {
        let mut sum = Sum::default();
        let start = Instant::now();
        let later = start + PERIOD;
        let shown = (0..6_000).filter(|_| sum.admit(Kind::Join, start)).count();
        assert_eq!(shown, 100);
        assert!(!sum.admit(Kind::Leave, start) && !sum.admit(Kind::Route, start));
        assert_eq!(sum.take(later - Duration::from_millis(1)), None);
        let held = Held {
            joins: 5_900,
            leaves: 1,
            routes: 1,
        };
        assert_eq!(sum.take(later), Some(held));
        assert_eq!(sum.take(later), None, "once");
        assert!(sum.admit(Kind::Route, later), "a new period");
        assert_eq!(sum.take(later + PERIOD), None, "nothing was held back");
    }
}
