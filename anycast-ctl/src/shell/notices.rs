//! Writes the core's notices to the log.

use std::time::{Duration, Instant};

use super::{
    netlink::LinkTable,
    sum::{Held, Kind, Sum},
    throttle::Throttle,
};
use crate::{
    core::{
        Notice,
        notice::{FleetChange, FleetReady, HandshakeOutcome},
    },
    model::mac::Mac,
};

/// Shortest time between two log lines about the same refusal or about elections on the same interface. Without this
/// limit, anybody who can send packets could fill the disk.
const PERIOD: Duration = Duration::from_secs(10);

/// Writes notices to the log.
#[derive(Debug)]
pub(super) struct Notices {
    throttle: Throttle<(&'static str, u32)>,
    changes: Sum,
}

impl Notices {
    pub(super) fn new() -> Self {
        Self {
            throttle: Throttle::new(PERIOD),
            changes: Sum::default(),
        }
    }

    /// Writes how many changes of members and routes were not written one by one, if there were any.
    pub(super) fn sum_up(&mut self) {
        let Some(Held {
            joins,
            leaves,
            routes,
        }) = self.changes.take(Instant::now())
        else {
            return;
        };
        tracing::info!(target: "anycast::router", joins, leaves, routes,
            "more changes than this log shows one by one: `anycast-ctl monitor` does");
    }

    pub(super) fn log(&mut self, notice: &Notice, links: &LinkTable) {
        let kind = match notice {
            Notice::MemberJoined { .. } => Some(Kind::Join),
            Notice::MemberLeft { .. } => Some(Kind::Leave),
            Notice::Route { .. } => Some(Kind::Route),
            _ => None,
        };
        if let Some(kind) = kind {
            self.sum_up();
            if !self.changes.admit(kind, Instant::now()) {
                return;
            }
        }
        let name = |ifindex: u32| match links.name(ifindex) {
            Some(name) => name.to_owned(),
            None => format!("interface {ifindex}"),
        };
        let event = notice.event();
        match notice {
            Notice::Querier {
                ifindex,
                querier,
                ours,
            } => {
                if let Some(held) = self.throttle.admit(("querier", *ifindex), Instant::now()) {
                    let interface = name(*ifindex);
                    tracing::info!(target: "anycast::router", event, interface, %querier, ours, held, "querier");
                }
            }
            Notice::MemberJoined {
                ifindex,
                anycast,
                member,
                rule,
            } => {
                let interface = name(*ifindex);
                tracing::info!(target: "anycast::router", event, %anycast, interface, %member, rule, "member joined");
            }
            Notice::MemberLeft {
                ifindex,
                anycast,
                member,
                cause,
            } => {
                let interface = name(*ifindex);
                tracing::info!(target: "anycast::router", event, %anycast, interface, %member, ?cause, "member left");
            }
            Notice::MldRefused {
                ifindex,
                source,
                mac,
                by,
                anycast,
                reason,
            } => {
                if let Some(held) = self.throttle.admit((reason, *ifindex), Instant::now()) {
                    let interface = name(*ifindex);
                    let anycast = anycast.map(tracing::field::display);
                    tracing::warn!(target: "anycast::router", event, interface, %source, mac = %Mac(*mac), anycast, reason, ?by, held, "refused");
                }
            }
            Notice::Route { anycast, next_hops } => {
                tracing::info!(target: "anycast::router", event, %anycast, ?next_hops, "route");
            }
            Notice::Membership { anycast, joined } => {
                tracing::info!(target: "anycast::member", event, %anycast, joined, "membership");
            }
            Notice::Health {
                anycast,
                healthy: true,
                said,
            } => tracing::info!(target: "anycast::member", event, %anycast, said, "healthy"),
            Notice::Health {
                anycast,
                healthy: false,
                said,
            } => tracing::warn!(target: "anycast::member", event, %anycast, said, "unhealthy"),
            Notice::HandshakeStarted { client, anycast } => {
                tracing::debug!(target: "anycast::member", event, %client, %anycast, "handshake started");
            }
            Notice::Handshake {
                client,
                anycast,
                outcome,
            } => match outcome {
                HandshakeOutcome::Refused(status) => {
                    if let Some(held) = self
                        .throttle
                        .admit(("handshake", u32::from(*status)), Instant::now())
                    {
                        tracing::warn!(target: "anycast::member", event, %client, %anycast, status, held, "binding refused");
                    }
                }
                HandshakeOutcome::Bound
                | HandshakeOutcome::NoAnswer
                | HandshakeOutcome::NotCapable
                | HandshakeOutcome::Left => {
                    tracing::debug!(target: "anycast::member", event, %client, %anycast, ?outcome, "handshake");
                }
            },
            Notice::Binding {
                client,
                anycast,
                care_of,
                change,
                moved_from,
            } => {
                let moved_from = moved_from.map(tracing::field::display);
                tracing::debug!(target: "anycast::correspondent", event, %client, %anycast, %care_of, ?change, moved_from, "binding");
            }
            Notice::TrialFailed {
                client,
                anycast,
                care_of,
                protocol,
                client_port,
                service_port,
                reason,
                left_alone,
            } => {
                tracing::debug!(
                    target: "anycast::correspondent", event,
                    %client, %anycast, %care_of, protocol, client_port, service_port, reason, left_alone,
                    "trial failed"
                );
            }
            Notice::CareOfFailed {
                care_of,
                cause,
                flows,
            } => {
                tracing::warn!(target: "anycast::correspondent", event, %care_of, ?cause, flows, "care-of address failed");
            }
            Notice::Flushed {
                client,
                anycast,
                care_of,
                bindings,
                flows,
            } => {
                let [client, anycast, care_of] =
                    [client, anycast, care_of].map(|address| address.map(tracing::field::display));
                tracing::info!(target: "anycast::correspondent", event, client, anycast, care_of, bindings, flows, "flushed");
            }
            Notice::Forgotten {
                client,
                anycast,
                care_of,
                clients,
            } => {
                let [client, anycast, care_of] =
                    [client, anycast, care_of].map(|address| address.map(tracing::field::display));
                tracing::info!(target: "anycast::member", event, client, anycast, care_of, clients, "forgotten");
            }
            Notice::FleetPeer {
                name,
                change: FleetChange::Joined,
            } => tracing::info!(target: "anycast::fleet", event, name, "gateway joined"),
            Notice::FleetPeer {
                name,
                change: FleetChange::Lost,
            } => tracing::warn!(target: "anycast::fleet", event, name, "gateway lost"),
            Notice::FleetReady { how } => match how {
                FleetReady::Snapshot | FleetReady::Alone => {
                    tracing::info!(target: "anycast::fleet", event, how = how.name(), "caught up");
                }
                FleetReady::TimedOut => tracing::warn!(
                    target: "anycast::fleet", event,
                    "no snapshot of another gateway within time: sessions that only the others know may break here"
                ),
            },
            Notice::FleetClock {
                name,
                ahead_seconds,
            } => tracing::error!(
                target: "anycast::fleet", event,
                name, ahead_seconds,
                "the clocks of two gateways differ by more than 30 s: handshakes that both have a part in will be \
                 refused; see that NTP runs on both"
            ),
            Notice::FleetStranger { name, fingerprint } => {
                tracing::warn!(target: "anycast::fleet", event, name, fingerprint, "a gateway on the bus has another secret");
            }
            Notice::MobilityRefused {
                source,
                destination,
                reason,
            } => {
                if let Some(held) = self.throttle.admit((reason, 0), Instant::now()) {
                    tracing::warn!(target: "anycast::correspondent", event, %source, %destination, reason, held, "refused");
                }
            }
            Notice::Unparsable { ifindex, error } => {
                if let Some(held) = self
                    .throttle
                    .admit(("unparsable", *ifindex), Instant::now())
                {
                    let interface = name(*ifindex);
                    tracing::warn!(event, interface, %error, held, "a packet that the data plane passed does not parse");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
