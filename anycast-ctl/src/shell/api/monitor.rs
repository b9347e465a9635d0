//! Sends events to the clients that watch them.
//!
//! The loop writes an event into a ring that all watchers share, and goes on. A watcher that reads too slowly loses the
//! events which were overwritten in the ring, and is told how many.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use tokio::sync::broadcast;

use crate::core::Notice;

/// Number of events by which a watcher may fall behind.
const RING: usize = 1024;
/// Names of the roles that can be watched.
pub const ROLES: [&str; 3] = ["router", "member", "correspondent"];

/// An event, with its time.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    /// Makes an event that happened now, on the interface of this name.
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

/// The sending end, to which events are passed.
#[derive(Clone, Debug)]
pub struct Monitor(broadcast::Sender<Arc<Event>>);

impl Default for Monitor {
    fn default() -> Self {
        Self(broadcast::Sender::new(RING))
    }
}

impl Monitor {
    /// Whether any client watches.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Passes an event to all watchers. Never waits.
    pub fn show(&self, event: Event) {
        // There may be no watcher any more, which is no error.
        let _ = self.0.send(Arc::new(event));
    }

    /// Adds a watcher, which gets all events of these roles from now on.
    #[must_use]
    pub fn watch(&self, roles: Vec<String>) -> Watcher {
        Watcher {
            events: self.0.subscribe(),
            roles,
        }
    }
}

/// A line that a watcher gets.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Told {
    /// An event.
    Event(
        #[serde(serialize_with = "shared")]
        #[cfg_attr(test, schemars(with = "Event"))]
        Arc<Event>,
    ),
    /// Number of events, of any role, that were lost because the watcher was too slow.
    Lost {
        /// Number of lost events.
        lost: u64,
    },
}

/// The receiving end of one client that watches.
#[derive(Debug)]
pub struct Watcher {
    events: broadcast::Receiver<Arc<Event>>,
    roles: Vec<String>,
}

impl Watcher {
    /// Names of the roles that it watches. An empty list stands for all roles.
    #[must_use]
    pub fn roles(&self) -> &[String] {
        &self.roles
    }

    /// Waits for the next line. `None` when the daemon stops. Dropping the future loses nothing.
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
