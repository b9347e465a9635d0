//! Vouches for it that nothing but the destination and the interface of a packet decides its next hop, so that the
//! programs need not ask the FIB for each new flow.
//!
//! The routes and rules of the whole machine are read once, on a thread, for there may be many. Whatever is told later
//! of a rule, or of a route that is not plain, ends the warrant at once, until they have been read again.

use std::{
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::netlink::{KernelEvent, are_plain, requests::Requests};

/// For how long the programs are told each time, which is each second.
pub(super) const WARRANT: Duration = Duration::from_secs(5);
/// How often all is read at most: a large table takes a processor some tenths of a second.
const EVERY: Duration = Duration::from_secs(30);

/// What is known.
#[derive(Debug, Default)]
pub(super) struct PlainRoutes {
    is_plain: bool,
    /// Whether nothing has ended what the reading under way finds, or the last one found.
    is_read: bool,
    reading: Option<JoinHandle<bool>>,
    began: Option<Instant>,
}

impl PlainRoutes {
    /// Takes down what the kernel tells. Gives whether it ends what was vouched for.
    pub(super) fn notified(&mut self, event: &KernelEvent) -> bool {
        let is_odd = match event {
            KernelEvent::Route(news) => !news.is_plain,
            KernelEvent::Rule | KernelEvent::Lost => true,
            _ => false,
        };
        if is_odd {
            self.is_read = false;
        }
        is_odd && std::mem::take(&mut self.is_plain)
    }

    /// Reads all when that is due. Gives whether all is plain. To be called each second.
    pub(super) fn look(&mut self, now: Instant) -> bool {
        if let Some(reading) = self.reading.take_if(|reading| reading.is_finished()) {
            // A thread that has panicked has found nothing.
            let is_plain = reading.join().unwrap_or(false);
            self.is_plain = is_plain && self.is_read;
        }
        let waited = self.began.map(|began| now.duration_since(began));
        if !self.is_read && self.reading.is_none() && waited.is_none_or(|waited| waited >= EVERY) {
            self.is_read = true;
            self.began = Some(now);
            self.reading = Some(thread::spawn(read));
        }
        self.is_plain
    }

    /// Whether a thread reads them.
    #[cfg(test)]
    pub(super) fn is_reading(&self) -> bool {
        let reading = self.reading.as_ref();
        reading.is_some_and(|reading| !reading.is_finished())
    }
}

fn read() -> bool {
    let read = Requests::open()
        .map_err(|error| error.to_string())
        .and_then(|mut requests| are_plain(&mut requests).map_err(|error| error.to_string()));
    read.unwrap_or_else(|error| {
        tracing::debug!(%error, "routes cannot be read: the FIB is asked for each new flow");
        false
    })
}
