//! What messages of the bus are about.

use super::{ends::End, message::Pins};
use crate::core::Time;

/// What the correspondent has to do with a message.
#[derive(Debug, PartialEq, Eq)]
pub enum News<'a> {
    /// Nothing.
    None,
    /// A Binding Update that another gateway accepted, as it came.
    Update(&'a [u8]),
    /// Flows that are bound elsewhere.
    Pins(Vec<Pins>),
    /// A part of the snapshot that this gateway asked for.
    Snapshot {
        /// Its triples.
        pins: Vec<Pins>,
        /// When the snapshot was taken.
        taken: Time,
        /// With its first part: how many of about this size there are.
        parts: Option<usize>,
    },
    /// What has ended, and when.
    Ends(Vec<(Time, End)>),
    /// Somebody wants a snapshot: the flows have to be read, see [`Bus::serve`](super::Bus::serve).
    Wanted,
    /// A gateway is back, which has heard nothing of this one since then.
    Back(Time),
}
