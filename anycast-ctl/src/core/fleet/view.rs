//! What people are shown of a fleet.

use std::time::Duration;

use super::peers::Peer;
use crate::core::{Notice, Time, notice::FleetReady};

/// Gateways with another secret that are remembered.
const STRANGERS: usize = 8;
/// One that was not heard for so long is no longer shown.
const SHOWN: Duration = Duration::from_secs(60);

/// The state of this gateway on the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The name by which others know it.
    pub name: String,
    /// For how long the connection to the bus has been there.
    pub connected: Option<Duration>,
    /// For how long it has been ready, and by what.
    pub ready: Option<(Duration, FleetReady)>,
    /// How long ago the snapshot was complete.
    pub snapshot: Option<Duration>,
    /// The other gateways.
    pub peers: Vec<PeerView>,
    /// Gateways that have another secret, as they say themselves.
    pub strangers: Vec<StrangerView>,
}

/// Another gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerView {
    /// Its name.
    pub name: String,
    /// Whether it was heard of late.
    pub there: bool,
    /// Whether it is ready.
    pub ready: bool,
    /// How long ago it was heard.
    pub heard: Duration,
    /// By how many milliseconds its clock is ahead of ours.
    pub ahead: i64,
    /// Whether that is more than is good.
    pub clock_is_off: bool,
    /// Whether another gateway that is there has the same name.
    pub shared: bool,
    /// Number of its bindings.
    pub bindings: u32,
    /// Number of its bound flows.
    pub flows: u32,
}

/// A gateway that has another secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StrangerView {
    /// The name that it gives.
    pub name: String,
    /// The fingerprint of its secret.
    pub fingerprint: String,
    /// How long ago it was heard.
    pub heard: Duration,
}

impl PeerView {
    pub(super) fn new(peer: &Peer, now: Time, shared: bool) -> Self {
        Self {
            name: peer.name.clone(),
            there: peer.proven,
            ready: peer.ready,
            heard: now.since(peer.heard),
            ahead: peer.ahead,
            clock_is_off: peer.warned,
            shared,
            bindings: peer.bindings,
            flows: peer.flows,
        }
    }
}

/// A gateway with another secret, by what it says of itself.
#[derive(Debug)]
pub(super) struct Stranger {
    name: String,
    fingerprint: String,
    heard: Time,
}

impl Stranger {
    pub(super) fn new(name: String, fingerprint: [u8; 4], heard: Time) -> Self {
        let hex = fingerprint.iter().map(|octet| format!("{octet:02x}"));
        Self {
            name,
            fingerprint: hex.collect(),
            heard,
        }
    }
}

/// Those that were heard last.
#[derive(Debug, Default)]
pub(super) struct Strangers(Vec<Stranger>);

impl Strangers {
    /// Notes one. Gives what to tell of one that is new.
    pub(super) fn note(&mut self, stranger: Stranger) -> Option<Notice> {
        let now = stranger.heard;
        self.0.retain(|known| now.since(known.heard) < SHOWN);
        let same = |known: &&mut Stranger| {
            (&known.name, &known.fingerprint) == (&stranger.name, &stranger.fingerprint)
        };
        if let Some(known) = self.0.iter_mut().find(same) {
            known.heard = now;
            return None;
        }
        if self.0.len() >= STRANGERS {
            return None;
        }
        let notice = Notice::FleetStranger {
            name: stranger.name.clone(),
            fingerprint: stranger.fingerprint.clone(),
        };
        self.0.push(stranger);
        Some(notice)
    }

    pub(super) fn view(&self, now: Time) -> Vec<StrangerView> {
        let heard = self.0.iter().map(|known| StrangerView {
            name: known.name.clone(),
            fingerprint: known.fingerprint.clone(),
            heard: now.since(known.heard),
        });
        heard.filter(|known| known.heard < SHOWN).collect()
    }
}

/// By how many milliseconds the first is after the second.
pub(super) fn difference(first: Duration, second: Duration) -> i64 {
    let whole = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    whole(first) - whole(second)
}

/// In milliseconds.
pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
