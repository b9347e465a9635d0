//! Makes health checks. The core decides when to start one, and when it has taken too long.

mod check;
mod command;
mod unwell;

use std::{
    collections::{BTreeMap, HashMap},
    net::Ipv6Addr,
};

use prometheus_client::metrics::histogram::Histogram;
use tokio::{sync::mpsc, task::AbortHandle, time::Instant};

use crate::{
    core::{CheckAction, member::Finding},
    model::health::Target,
};

/// Number of results that can wait for the loop. There is at most one check of a group at a time.
const RESULTS: usize = 64;

/// An anycast address, and the result of a check of its service.
type Checked = (Ipv6Addr, Finding);

/// The checks that are under way.
#[derive(Debug)]
pub struct Checks {
    targets: BTreeMap<Ipv6Addr, Target>,
    running: HashMap<Ipv6Addr, AbortHandle>,
    sender: mpsc::Sender<Checked>,
    receiver: mpsc::Receiver<Checked>,
    durations: Histogram,
}

impl Checks {
    /// Makes an empty set of checks for these targets. The time of each in seconds goes to `durations`.
    #[must_use]
    pub fn new(targets: BTreeMap<Ipv6Addr, Target>, durations: Histogram) -> Self {
        let (sender, receiver) = mpsc::channel(RESULTS);
        Self {
            targets,
            running: HashMap::new(),
            sender,
            receiver,
            durations,
        }
    }

    /// Replaces the targets. A check that is under way ends as it began.
    pub fn retarget(&mut self, targets: BTreeMap<Ipv6Addr, Target>) {
        self.targets = targets;
    }

    /// Starts or stops a check, as the core wants.
    pub fn apply(&mut self, action: CheckAction) {
        match action {
            CheckAction::Start { anycast, run } => self.start(anycast, run),
            CheckAction::Abort { anycast } => self.abort(anycast),
        }
    }

    /// Starts a check. A check of the same group that is under way is stopped.
    fn start(&mut self, anycast: Ipv6Addr, run: u64) {
        self.abort(anycast);
        let Some(target) = self.targets.get(&anycast).cloned() else {
            return;
        };
        let (results, durations) = (self.sender.clone(), self.durations.clone());
        let begun = Instant::now();
        let task = tokio::spawn(async move {
            let (passed, text) = match check::check(&target).await {
                Ok(text) => (true, text),
                Err(error) => (false, error.to_string()),
            };
            durations.observe(begun.elapsed().as_secs_f64());
            // The daemon may be shutting down.
            let _ = results.send((anycast, Finding { run, passed, text })).await;
        });
        self.running.insert(anycast, task.abort_handle());
    }

    /// Stops a check. A program is killed, with every process that it started.
    fn abort(&mut self, anycast: Ipv6Addr) {
        if let Some(task) = self.running.remove(&anycast) {
            task.abort();
        }
    }

    /// Waits for the next result. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Checked {
        match self.receiver.recv().await {
            Some(result) => result,
            // This cannot happen, since this value holds a sender as well.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        self.running.values().for_each(AbortHandle::abort);
    }
}

#[cfg(test)]
mod tests;
