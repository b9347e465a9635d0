//! In the guest: a session that stands still on the way passes in the end, and is worse than without us all the same.

use anyhow::{Result, ensure};

/// Seconds in which a session may pass without being compared to its control.
pub(super) const QUICK: f64 = 5.0;
/// How many times as long as its control a session that is not quick may take.
const SLOWER: f64 = 10.0;

/// Whether a session took no longer than it may, by the seconds of the same one without daemons.
pub(super) fn none(took: f64, control: f64) -> Result<()> {
    ensure!(
        took <= QUICK.max(SLOWER * control),
        "the session took {took:.1} s, and {control:.1} s without daemons"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_stands_still_is_too_slow() {
        for (took, control, is_right) in [
            (0.6, 1.0, true),
            (4.9, 0.3, true),
            (5.1, 0.3, false),
            (9.9, 1.0, true),
            (10.1, 1.0, false),
            (143.8, 0.6, false),
            (60.0, 6.5, true),
        ] {
            let is_found = none(took, control).is_ok();
            assert_eq!(is_found, is_right, "{took} s against {control} s");
        }
    }
}
