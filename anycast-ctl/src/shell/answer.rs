//! Answers to the control socket, out of what the core and the data plane know.

use std::{collections::HashMap, net::Ipv6Addr};

use anycast_common::abi::{maps::FlowKey, roles};

use super::{
    api::{Answer, Refusal, RefusalCode, Reply, Request, view},
    clock,
    daemon::Daemon,
    dataplane::DataplaneError,
    interfaces::role_names,
    routes::Routes,
};
use crate::{
    config::value::Mac,
    core::{
        NextHop, Time,
        controller::{Command, CommandError},
        correspondent::{BindingView, Selection},
        member::{GroupView, HandshakeState, HealthView, InterfaceView},
        pins,
        router::{Cursor, Filter, MemberRow, Router},
        rr::BINDING_LIFETIME,
    },
};

/// Groups or members in one answer: building it takes about a millisecond, in which nothing else runs.
const PAGE: usize = 1000;

pub(super) type Answered = Result<Answer, Refusal>;

impl Daemon {
    /// Answers a request. The actions of a command are performed at the end of the step.
    pub(super) fn answer(&mut self, request: Request) -> Reply<Answer> {
        let answer = match request {
            Request::Status => self.status(),
            Request::Groups { after } => Ok(Answer::Groups(self.groups(after))),
            Request::Members {
                group,
                member,
                after,
            } => self.members(Filter { group, member }, after),
            Request::Policy => self.show_policy(),
            Request::PolicyAdd { rule, place } => self.add_rule(&rule, place),
            Request::PolicyRemove { id } => self.remove_rule(id),
            Request::PolicyExplain {
                source,
                anycast,
                interface,
                mac,
            } => self.explain(source, anycast, interface.as_deref(), mac),
            Request::Reload => self.reload(),
            Request::Refusals => self.refusals(),
            Request::Monitor { .. } => Err(Refusal {
                code: RefusalCode::Failed,
                message: "the server answers it itself".to_owned(),
            }),
            Request::Bindings => self.bindings(),
            Request::Flows => Ok(Answer::Flows(self.flows())),
            Request::Flush {
                client,
                anycast,
                care_of,
            } => self.flush(&Selection {
                client,
                anycast,
                care_of,
            }),
            Request::Counters => self.counters(),
            Request::Join { anycast } => self.command(Command::Join { anycast }, anycast),
            Request::Leave { anycast } => self.command(Command::Leave { anycast }, anycast),
            Request::Drain { anycast } => self.command(Command::Drain { anycast }, anycast),
            Request::Undrain { anycast } => self.command(Command::Undrain { anycast }, anycast),
        };
        match answer {
            Ok(answer) => Reply::Ok(answer),
            Err(refusal) => Reply::Error(refusal),
        }
    }

    fn command(&mut self, command: Command, anycast: Ipv6Addr) -> Answered {
        match self
            .controller
            .command(clock::now(), command, &mut self.actions)
        {
            Ok(joined) => Ok(Answer::Done(view::Done { anycast, joined })),
            Err(error) => Err(Refusal {
                code: match error {
                    CommandError::NotMember => RefusalCode::NoSuchRole,
                    CommandError::UnknownGroup(_) => RefusalCode::UnknownGroup,
                },
                message: error.to_string(),
            }),
        }
    }

    fn status(&mut self) -> Answered {
        let now = clock::now();
        let flows = self.flows().len();
        let served = self.served();
        let router = self.controller.router();
        let member = self.controller.member();
        let (router_groups, members) = router.map(Router::totals).unwrap_or_default();
        let links = router.map(|router| router.links(now)).unwrap_or_default();
        let links = links
            .iter()
            .map(serde_json::to_value)
            .collect::<Result<_, _>>();
        let handshakes = member.map(|member| {
            let known = member.handshakes(now).into_iter();
            let under_way =
                |state| matches!(state, HandshakeState::Testing | HandshakeState::Updating);
            known.filter(|handshake| under_way(handshake.state)).count()
        });
        let correspondent = self.controller.correspondent();
        let summary = view::Summary {
            groups: router_groups + served.len(),
            members,
            routes: self.performer.routes.as_ref().map_or(0, Routes::count),
            bindings: correspondent.map_or(0, |role| role.bindings(now).len()),
            flows,
            handshakes: handshakes.unwrap_or(0),
        };
        Ok(Answer::Status(Box::new(view::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: now.since(self.started).as_secs_f64(),
            roles: role_names(self.roles),
            interfaces: self.interfaces.view(&self.links),
            links: links.map_err(|error: serde_json::Error| failed(&error))?,
            groups: served,
            summary,
        })))
    }

    fn groups(&mut self, after: Option<view::Cursor>) -> view::Groups {
        let now = clock::now();
        let first = after.is_none();
        let member = if first { self.served() } else { Vec::new() };
        let after = after.map(cursor);
        let router = self.controller.router();
        let page = router.map(|router| router.groups_page(now, after.as_ref(), PAGE));
        let (router, next) = page.unwrap_or_default();
        let router = router.into_iter().map(|group| view::RouterGroup {
            anycast: group.group,
            state: name_of(&group.state),
            next_hops: group
                .next_hops
                .iter()
                .map(|hop| next_hop(hop, &group.interface))
                .collect(),
            members: group.members,
            since_seconds: group.since.as_secs_f64(),
            expires_seconds: group.expires_in.as_secs_f64(),
            interface: group.interface,
        });
        view::Groups {
            router: router.collect(),
            member,
            next: next.map(cursor_view),
        }
    }

    /// The groups that this machine serves.
    fn served(&mut self) -> Vec<view::MemberGroup> {
        let now = clock::now();
        let sessions = self.sessions(now);
        let member = self.controller.member().map(|member| member.groups(now));
        let groups = member.unwrap_or_default().into_iter();
        groups.map(|group| member_group(group, &sessions)).collect()
    }

    /// How many sessions are pinned to this member, by anycast address.
    fn sessions(&mut self, now: Time) -> HashMap<Ipv6Addr, usize> {
        let mut sessions = HashMap::new();
        if let Some(limits) = self.sessions {
            for (key, flow) in self.dataplane.maps().member_flows() {
                if pins::goes_on(&limits, now, &key, &flow) {
                    *sessions.entry(key.anycast.into()).or_default() += 1;
                }
            }
        }
        sessions
    }

    fn members(&self, filter: Filter, after: Option<view::Cursor>) -> Answered {
        let Some(router) = self.controller.router() else {
            return Err(no_role("router"));
        };
        let after = after.map(cursor);
        let (page, next) = router.members_page(clock::now(), filter, after.as_ref(), PAGE);
        let view = |row: MemberRow| view::Member {
            anycast: row.group,
            interface: row.interface,
            member: row.member.address,
            mac: Mac(row.member.mac).to_string(),
            since_seconds: row.member.since.as_secs_f64(),
            expires_seconds: row.member.expires_in.as_secs_f64(),
            rule: Some(row.member.rule),
            checking: row.member.checking,
        };
        Ok(Answer::Members(view::Members {
            members: page.into_iter().map(view).collect(),
            next: next.map(cursor_view),
        }))
    }

    fn bindings(&mut self) -> Answered {
        let mut pinned: HashMap<_, usize> = HashMap::new();
        for (key, flow) in self.dataplane.maps().flows() {
            *pinned
                .entry((key.client, key.anycast, flow.care_of))
                .or_default() += 1;
        }
        let Some(correspondent) = self.controller.correspondent() else {
            return Err(no_role("correspondent"));
        };
        let bindings = correspondent.bindings(clock::now());
        let view = |binding: BindingView| {
            // Every Binding Update gives the whole lifetime.
            let age = BINDING_LIFETIME.saturating_sub(binding.remaining);
            let key = (
                binding.client.octets(),
                binding.anycast.octets(),
                binding.care_of.octets(),
            );
            view::Binding {
                client: binding.client,
                anycast: binding.anycast,
                care_of: binding.care_of,
                sequence: binding.sequence,
                age_seconds: age.as_secs_f64(),
                remaining_seconds: binding.remaining.as_secs_f64(),
                flows: pinned.get(&key).copied().unwrap_or(0),
            }
        };
        Ok(Answer::Bindings(bindings.into_iter().map(view).collect()))
    }

    fn flows(&mut self) -> Vec<view::Flow> {
        let now = clock::now();
        let since = |time: u64| now.since(Time::from_nanos(time)).as_secs_f64();
        let mut flows = Vec::new();
        if self.roles & roles::CORRESPONDENT != 0 {
            for (key, flow) in self.dataplane.maps().flows() {
                let last = flow.last_out.max(flow.last_in).max(flow.pinned_at);
                let age = Some(since(flow.pinned_at));
                flows.push(flow_view(
                    &key,
                    flow.care_of,
                    age,
                    since(last),
                    "correspondent",
                ));
            }
        }
        if self.roles & roles::MEMBER != 0 {
            for (key, flow) in self.dataplane.maps().member_flows() {
                flows.push(flow_view(
                    &key,
                    flow.care_of,
                    None,
                    since(flow.last_in),
                    "member",
                ));
            }
        }
        flows
    }

    fn counters(&mut self) -> Answered {
        let own = [
            ("packet_send_failed", self.performer.send_failed),
            ("map_update_failed", self.performer.map_failed),
        ];
        let named = |(name, value): (&str, u64)| (name.to_owned(), value);
        let data_plane = self
            .dataplane
            .maps()
            .counters()
            .map_err(|error| map(&error))?;
        Ok(Answer::Counters(view::Counters {
            data_plane: data_plane.into_iter().map(named).collect(),
            controller: self
                .controller
                .counters()
                .into_iter()
                .chain(own)
                .map(named)
                .collect(),
        }))
    }
}

fn member_group(group: GroupView, sessions: &HashMap<Ipv6Addr, usize>) -> view::MemberGroup {
    let interface = |on: InterfaceView| view::MemberInterface {
        interface: on.name,
        state: if on.report_owed {
            "delaying_listener".into()
        } else {
            "idle_listener".into()
        },
    };
    let health = |health: HealthView| view::Health {
        state: name_of(&health.health),
        since_seconds: health.since.as_secs_f64(),
        said: health.said,
        last_error: health.last_error,
        last_error_age_seconds: health.last_error_age.map(|age| age.as_secs_f64()),
    };
    view::MemberGroup {
        anycast: group.anycast,
        care_of: group.care_of,
        interfaces: group.interfaces.into_iter().map(interface).collect(),
        joined: group.joined,
        wanted: group.wanted,
        draining_seconds: group.draining.map(|since| since.as_secs_f64()),
        sessions: sessions.get(&group.anycast).copied().unwrap_or(0),
        health: group.health.map(health),
    }
}

fn flow_view(
    key: &FlowKey,
    care_of: [u8; 16],
    age_seconds: Option<f64>,
    idle_seconds: f64,
    role: &str,
) -> view::Flow {
    view::Flow {
        client: key.client.into(),
        client_port: u16::from_be_bytes(key.client_port),
        anycast: key.anycast.into(),
        service_port: u16::from_be_bytes(key.service_port),
        protocol: key.protocol,
        care_of: care_of.into(),
        age_seconds,
        idle_seconds,
        role: role.to_owned(),
    }
}

fn next_hop(hop: &NextHop, interface: &str) -> String {
    match hop.via {
        Some(via) => format!("{via}%{interface}"),
        None => format!("on-link%{interface}"),
    }
}

/// The name that a state has in JSON.
pub(super) fn name_of(state: &impl serde::Serialize) -> String {
    match serde_json::to_value(state) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

fn cursor(view: view::Cursor) -> Cursor {
    Cursor {
        group: view.group,
        interface: view.interface,
        member: view.member,
    }
}

fn cursor_view(cursor: Cursor) -> view::Cursor {
    view::Cursor {
        group: cursor.group,
        interface: cursor.interface,
        member: cursor.member,
    }
}

pub(super) fn no_role(role: &str) -> Refusal {
    Refusal {
        code: RefusalCode::NoSuchRole,
        message: format!("this machine is not a {role}: ask a machine that is"),
    }
}

pub(super) fn map(error: &DataplaneError) -> Refusal {
    Refusal {
        code: RefusalCode::Failed,
        message: format!("cannot read the maps of the data plane: {error}"),
    }
}

fn failed(error: &serde_json::Error) -> Refusal {
    Refusal {
        code: RefusalCode::Failed,
        message: error.to_string(),
    }
}
