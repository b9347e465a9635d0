//! Metrics of a gateway's fleet.

use super::{fleet::seconds, numbers::truth};
use crate::{core::fleet, shell::metrics::Families};

/// One row for each name, so that no series is there twice.
pub(super) fn show(families: &mut Families, fleet: &fleet::Status) {
    families.gauge(
        "fleet_ready",
        "Whether this gateway knows what the others of the fleet do, or has waited long enough.",
        truth(fleet.ready.is_some()),
    );
    families.gauge(
        "fleet_connected",
        "Whether the connection to the bus of the fleet is there.",
        truth(fleet.connected.is_some()),
    );
    let peers = fleet.peers.iter();
    let there = peers
        .clone()
        .map(|peer| (vec![("name", peer.name.clone())], truth(peer.there)));
    families.gauges(
        "fleet_peer_up",
        "Whether another gateway of the fleet was heard within ten seconds; `anycast-ctl fleet forget` takes one away.",
        there.collect(),
    );
    let ahead = peers
        .clone()
        .map(|peer| (vec![("name", peer.name.clone())], seconds(peer.ahead)));
    families.gauges(
        "fleet_peer_clock_ahead_seconds",
        "By how much the clock of another gateway of the fleet is ahead of this one's, the way included.",
        ahead.collect(),
    );
    let heard = peers.map(|peer| {
        let labels = vec![("name", peer.name.clone())];
        (labels, peer.heard.as_secs_f64())
    });
    families.gauges(
        "fleet_peer_heard_seconds",
        "How long ago another gateway of the fleet was heard.",
        heard.collect(),
    );
}
