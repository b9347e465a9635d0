//! Answers to the control socket, out of what the core and the data plane know.

use std::{collections::HashMap, net::Ipv6Addr};

use super::{
    advice,
    api::{Answer, Refusal, RefusalCode, Request, view},
    clock,
    daemon::Daemon,
    dataplane::{DataplaneError, OtherSize},
    interfaces::role_names,
    routes::Routes,
};
use crate::{
    core::{
        NextHop,
        controller::{Command, CommandError},
        correspondent::Correspondent,
        member::{GroupView, HandshakeFilter, HealthView, InterfaceView, Member},
        router::{Cursor, Filter, MemberRow, Router},
    },
    model::mac::Mac,
};

/// Groups or members in one answer: building it takes about a millisecond, in which nothing else runs.
pub(super) const PAGE: usize = 1000;

pub(super) type Answered = Result<Answer, Refusal>;

impl Daemon {
    /// Answers a request. The actions of a command are performed at the end of the step.
    pub(super) fn answer(&mut self, request: &Request) -> Answered {
        match request.clone() {
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
            Request::Monitor { .. } | Request::Flush { .. } => Err(Refusal {
                code: RefusalCode::Failed,
                message: "it is answered elsewhere".to_owned(),
            }),
            Request::Bindings { which, after } => self.bindings(&which.into(), after),
            Request::Handshakes {
                client,
                anycast,
                after,
            } => self.handshakes(HandshakeFilter { client, anycast }, after),
            Request::Flows { which, after } => self.flows_page(&which.into(), after.as_ref()),
            Request::Counters => self.counters(),
            Request::Join { anycast } => self.command(Command::Join { anycast }, anycast),
            Request::Leave { anycast } => self.command(Command::Leave { anycast }, anycast),
            Request::Drain { anycast } => self.command(Command::Drain { anycast }, anycast),
            Request::Undrain { anycast } => self.command(Command::Undrain { anycast }, anycast),
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
                message: advice::command(error),
            }),
        }
    }

    fn status(&mut self) -> Answered {
        let now = clock::now();
        let served = self.served();
        let router = self.controller.router();
        let member = self.controller.member();
        let (router_groups, members) = router.map(Router::totals).unwrap_or_default();
        let links = router.map(|router| router.links(now)).unwrap_or_default();
        let links = links
            .iter()
            .map(serde_json::to_value)
            .collect::<Result<_, _>>();
        let correspondent = self.controller.correspondent();
        let summary = view::Summary {
            groups: router_groups + served.len(),
            members,
            routes: self.performer.routes.as_ref().map_or(0, Routes::count),
            bindings: correspondent.map_or(0, Correspondent::bound),
            flows: self.flow_count(),
            handshakes: member.map_or(0, Member::under_way),
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
            other_sizes: self.other_sizes(),
        })))
    }

    fn other_sizes(&self) -> Vec<view::OtherSize> {
        let view = |found: &OtherSize| view::OtherSize {
            map: found.map.to_owned(),
            entries: found.entries,
            configured: found.configured,
        };
        self.dataplane.other_sizes().iter().map(view).collect()
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
        Ok(Answer::Members(view::Page {
            rows: page.into_iter().map(view).collect(),
            next: next.map(cursor_view),
        }))
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
