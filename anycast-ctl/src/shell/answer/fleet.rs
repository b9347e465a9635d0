//! Answers about the fleet.

use super::common::{Answered, no_role};
use crate::core::fleet::Unforgotten;
use crate::shell::{
    api::{Answer, Refusal, RefusalCode, view},
    bus::Bus,
    clock,
    engine::Engine,
    perform::Performer,
};

pub(super) fn fleet(core: &Engine, performer: &Performer) -> Answered {
    if core.controller().correspondent().is_none() {
        return Err(no_role("correspondent"));
    }
    let fleet = of(core, performer).ok_or_else(|| Refusal {
        code: RefusalCode::Failed,
        message: "this gateway has no bus: [correspondent.fleet] servers names one".to_owned(),
    })?;
    Ok(Answer::Fleet(Box::new(fleet)))
}

/// No longer shows a gateway that was taken away, and gives the others.
pub(super) fn forget(core: &mut Engine, performer: &Performer, name: &str) -> Answered {
    let message = match core.dismiss_peer(name) {
        None | Some(Ok(())) => return fleet(core, performer),
        Some(Err(Unforgotten::There)) => {
            format!("gateway {name} is there: take it away first, and forget it ten seconds later")
        }
        Some(Err(Unforgotten::Unknown)) => {
            format!("no gateway {name} was heard: `anycast-ctl fleet` shows the others")
        }
    };
    let code = RefusalCode::Failed;
    Err(Refusal { code, message })
}

/// The fleet, where there is a bus.
pub(super) fn of(core: &Engine, performer: &Performer) -> Option<view::Fleet> {
    let correspondent = core.controller().correspondent()?;
    let status = correspondent.bus()?.status(clock::now());
    let load = performer.bus().map(Bus::load).unwrap_or_default();
    let peers = status.peers.into_iter().map(|peer| view::FleetPeer {
        name: peer.name,
        there: peer.there,
        ready: peer.ready,
        heard_seconds: peer.heard.as_secs_f64(),
        clock_ahead_seconds: seconds(peer.ahead),
        clock_is_off: peer.clock_is_off,
        name_is_shared: peer.shared,
        bindings: peer.bindings,
        flows: peer.flows,
    });
    let strangers = status.strangers.into_iter().map(|it| view::FleetStranger {
        name: it.name,
        fingerprint: it.fingerprint,
        heard_seconds: it.heard.as_secs_f64(),
    });
    Some(view::Fleet {
        name: status.name,
        connected_seconds: status.connected.map(|since| since.as_secs_f64()),
        ready: status.ready.is_some(),
        ready_by: status.ready.map(|(_, how)| how.name().to_owned()),
        snapshot_age_seconds: status.snapshot.map(|age| age.as_secs_f64()),
        triples: correspondent.triples(),
        backlog: load.backlog,
        unsent: load.unsent,
        untaken: load.untaken,
        peers: peers.collect(),
        strangers: strangers.collect(),
    })
}

/// Clocks that differ by years are as wrong as those that differ by hours.
pub(super) fn seconds(milliseconds: i64) -> f64 {
    let most = i64::from(i32::MAX);
    let bounded = i32::try_from(milliseconds.clamp(-most, most)).unwrap_or(i32::MAX);
    f64::from(bounded) / 1000.0
}
