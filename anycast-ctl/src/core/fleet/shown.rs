//! What people see of the bus, and have to say to it.

use super::{
    Bus,
    peers::Unforgotten,
    view::{PeerView, Status},
};
use crate::core::Time;

impl Bus {
    /// What people are shown.
    #[must_use]
    pub fn status(&self, now: Time) -> Status {
        let peers = self.peers.shown().map(|peer| {
            let is_ours = peer.proven && peer.name == self.name;
            PeerView::new(peer, now, is_ours || self.peers.is_shared(&peer.name))
        });
        Status {
            name: self.name.clone(),
            connected: self.connected.map(|since| now.since(since)),
            ready: self.ready.map(|(since, how)| (now.since(since), how)),
            snapshot: self.snapshot_at.map(|at| now.since(at)),
            peers: peers.collect(),
            strangers: self.strangers.view(now),
        }
    }

    /// No longer shows a gateway that was taken away.
    pub fn dismiss(&mut self, name: &str) -> Result<(), Unforgotten> {
        self.peers.dismiss(name)
    }
}
