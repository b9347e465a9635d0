//! Builds the answers for the control socket, from what the core and the data plane know.

mod clients;
mod common;
mod counters;
mod explain;
mod fleet;
mod fleet_metrics;
mod flows;
mod groups;
mod member_metrics;
mod metrics;
mod numbers;
mod policy;
mod problems;
mod refusals;
mod status;
mod traffic;

use std::net::Ipv6Addr;

use anycast_common::abi::roles;

pub(super) use common::{Answered, failed, no_role};
pub(super) use flows::{flush as flush_flows, flushed};
pub(super) use policy::LivePolicy;

use super::{
    advice,
    api::{Answer, Refusal, RefusalCode, Reply, Request, server::Call, view},
    engine::Engine,
    flows::{Need, Seen, Snapshot},
    perform::Performer,
    plane::Plane,
};
use crate::core::{
    controller::{Command, CommandError},
    member::HandshakeFilter,
    router::Filter,
};

/// The parts of the daemon from which answers are built.
pub(super) struct Desk<'a> {
    pub(super) core: &'a mut Engine,
    pub(super) plane: &'a mut Plane,
    pub(super) performer: &'a mut Performer,
    pub(super) policy: &'a mut LivePolicy,
    pub(super) seen: &'a Seen,
}

impl Desk<'_> {
    /// Answers a request. The actions of a command are performed at the end of the step.
    pub(super) fn answer(&mut self, request: &Request) -> Answered {
        let Self {
            core,
            plane,
            performer,
            policy,
            seen,
        } = self;
        match request.clone() {
            Request::Status => status::status(core, plane, performer, seen),
            Request::Groups { after } => Ok(Answer::Groups(groups::groups(core, seen, after))),
            Request::Members {
                group,
                member,
                after,
            } => groups::members(core, Filter { group, member }, after),
            Request::Policy => policy.show(core, plane),
            Request::PolicyAdd { rule, position } => policy.add(core, plane, &rule, position),
            Request::PolicyRemove { id } => policy.remove(core, plane, id),
            Request::PolicyExplain {
                source,
                anycast,
                interface,
                mac,
            } => policy::explain(core, source, anycast, interface.as_deref(), mac),
            Request::Refusals => refusals::refusals(core, plane, performer),
            Request::Monitor { .. } | Request::Flush { .. } | Request::Reload => Err(Refusal {
                code: RefusalCode::Failed,
                message: "it is answered elsewhere".to_owned(),
            }),
            Request::Bindings { which, after } => clients::bindings(core, &which.into(), after),
            Request::Handshakes {
                client,
                anycast,
                after,
            } => clients::handshakes(core, HandshakeFilter { client, anycast }, after),
            Request::Flows { which, open, after } => {
                flows::page(seen, &which.into(), open, after.as_ref())
            }
            Request::Explain { client, anycast } => {
                explain::explain(core, plane, performer, seen, client, anycast)
            }
            Request::Fleet => fleet::fleet(core, performer),
            Request::FleetForget { name } => fleet::forget(core, performer, &name),
            Request::Counters => counters::counters(core, plane, performer),
            Request::Metrics { openmetrics } => {
                metrics::metrics(core, plane, performer, seen, openmetrics)
            }
            Request::Join { anycast } => command(core, Command::Join { anycast }, anycast),
            Request::Leave { anycast } => command(core, Command::Leave { anycast }, anycast),
            Request::Drain { anycast } => command(core, Command::Drain { anycast }, anycast),
            Request::Undrain { anycast } => command(core, Command::Undrain { anycast }, anycast),
        }
    }
}

/// Whether the flows have to be read before the request can be answered.
pub(super) fn needs_flows(request: &Request, plane: &Plane, seen: &Seen) -> bool {
    match request {
        Request::Status | Request::Metrics { .. } | Request::Explain { .. } => {
            plane.has(roles::CORRESPONDENT | roles::MEMBER)
        }
        Request::Groups { after: None } => plane.has(roles::MEMBER),
        // The pages after the first one show the same read, or the last one that has what they show.
        Request::Flows { after, open, .. } => {
            let shows = |read: &Snapshot| !open || read.open.is_some();
            after.is_none() || !seen.last().is_some_and(shows)
        }
        _ => false,
    }
}

/// What they have to be read for.
pub(super) fn need_of(request: &Request) -> Need {
    let open = match request {
        Request::Flows { open, .. } => *open,
        Request::Explain { .. } => true,
        _ => false,
    };
    Need { open, soon: true }
}

/// Sends the answer to the client that asked.
pub(super) fn reply(call: Call, answer: Answered) {
    let reply = match answer {
        Ok(answer) => Reply::Ok(answer),
        Err(refusal) => Reply::Error(refusal),
    };
    // The client may have disconnected, which is no error.
    let _ = call.reply.send(reply);
}

fn command(core: &mut Engine, command: Command, anycast: Ipv6Addr) -> Answered {
    match core.command(command) {
        Ok(joined) => Ok(Answer::Done(view::Done { anycast, joined })),
        Err(error) => Err(Refusal {
            code: match error {
                CommandError::NotMember => RefusalCode::NoSuchRole,
                CommandError::UnknownGroup(_) => RefusalCode::UnknownGroup,
            },
            message: advice::command(error),
        }),
    }
}
