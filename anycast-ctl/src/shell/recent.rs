//! The flows of the data plane that were in use of late, of which the other gateways of a fleet have to hear. A thread
//! reads them, as it does [all](super::flows).

use anycast_common::abi::maps::{Flow, FlowKey};
use tokio::task::{JoinHandle, spawn_blocking};

use super::{clock, dataplane::FlowReader};
use crate::core::Time;

/// When a reading began, and what it found.
pub(super) type Found = (Time, Vec<(FlowKey, Flow)>);

/// Reads them.
pub(super) struct Recent {
    reader: FlowReader,
    reading: Option<JoinHandle<Found>>,
}

impl Recent {
    pub(super) const fn new(reader: FlowReader) -> Self {
        let reading = None;
        Self { reader, reading }
    }

    /// Begins to read flows that were in use since this time. Nobody asks twice before there is an answer.
    pub(super) fn read(&mut self, since: Time) {
        let reader = self.reader.clone();
        self.reading = Some(spawn_blocking(move || (clock::now(), reader.recent(since))));
    }

    /// Waits until they are read, or for ever when they are not being read. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Found {
        let Some(reading) = &mut self.reading else {
            return std::future::pending().await;
        };
        let found = reading.await.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot read the flows");
            (clock::now(), Vec::new())
        });
        self.reading = None;
        found
    }
}
