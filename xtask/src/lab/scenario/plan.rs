//! How much of everything, and how soon.

use std::time::Duration;

/// Octets in a mebibyte. Round numbers are easy to recognise in a capture.
pub const MIB: u64 = 1 << 20;
/// Time limit for events that normally happen at once, on a machine that is busy with other things.
pub const SOON: Duration = Duration::from_secs(5);

/// Time between two queries to a daemon about state whose changes it does not announce.
pub const ASK_AGAIN: Duration = Duration::from_millis(50);

/// Options of the steps.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Octets that the session exchanges in each direction after its route was removed.
    pub outlive: u64,
    /// Whether the daemons keep running afterwards.
    pub keep: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            outlive: 100 * MIB,
            keep: false,
        }
    }
}
