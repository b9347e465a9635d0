//! What happens, as it happens, for those who watch.
//!
//! The loop leaves an event in a ring that all watchers share and goes on. Who reads too slowly finds
//! that the ring went round, loses what was there, and is told how much.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use tokio::sync::broadcast;

use crate::core::Notice;

/// Events that a watcher may be late by.
const RING: usize = 1024;
/// Roles that there are to watch.
pub const ROLES: [&str; 3] = ["router", "member", "correspondent"];

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// Seconds since 1970.
    time: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
    #[serde(flatten)]
    notice: Notice,
}

impl Event {
    /// It happened now, on the interface of this name.
    #[must_use]
    pub fn new(notice: Notice, interface: Option<String>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            time: now.unwrap_or_default().as_secs_f64(),
            role: notice.role(),
            interface,
            notice,
        }
    }

    fn is_of(&self, roles: &[String]) -> bool {
        roles.is_empty()
            || self
                .role
                .is_none_or(|role| roles.iter().any(|wanted| wanted == role))
    }
}

/// Where events are left.
#[derive(Clone, Debug)]
pub struct Monitor(broadcast::Sender<Arc<Event>>);

impl Default for Monitor {
    fn default() -> Self {
        Self(broadcast::Sender::new(RING))
    }
}

impl Monitor {
    /// Whether anybody watches.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Shows an event to everybody who watches. Never waits.
    pub fn show(&self, event: Event) {
        // Nobody may be there any more.
        let _ = self.0.send(Arc::new(event));
    }

    /// Somebody watches from now on.
    #[must_use]
    pub fn watch(&self, roles: Vec<String>) -> Watcher {
        Watcher {
            events: self.0.subscribe(),
            roles,
        }
    }
}

/// What a watcher is told.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Told {
    /// An event.
    Event(#[serde(serialize_with = "shared")] Arc<Event>),
    /// As many events, of whatever role, are lost, because the watcher was too slow.
    Lost {
        /// How many.
        lost: u64,
    },
}

/// Somebody who watches.
#[derive(Debug)]
pub struct Watcher {
    events: broadcast::Receiver<Arc<Event>>,
    roles: Vec<String>,
}

impl Watcher {
    /// The roles that it watches; all when there is none.
    #[must_use]
    pub fn roles(&self) -> &[String] {
        &self.roles
    }

    /// What it is told next; none when the daemon stops. Loses nothing when it is dropped.
    pub async fn next(&mut self) -> Option<Told> {
        loop {
            match self.events.recv().await {
                Ok(event) if event.is_of(&self.roles) => return Some(Told::Event(event)),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(lost)) => return Some(Told::Lost { lost }),
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

fn shared<S: serde::Serializer>(event: &Arc<Event>, serializer: S) -> Result<S::Ok, S::Error> {
    Event::serialize(event, serializer)
}
