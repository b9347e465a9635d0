//! The lists that are shown: their columns and rows.

use super::{
    ask::{List, Snapshot},
    cell::Cell,
};
use crate::{
    cli::{show, show_flows},
    shell::api::view,
};

/// A list as it is shown.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) headings: Vec<&'static str>,
    pub(super) rows: Vec<Vec<Cell>>,
    /// The column that it is sorted by at first, and whether the greatest comes first.
    pub(super) sorted: (usize, bool),
    /// What stands there when there is nothing.
    pub(super) otherwise: &'static str,
}

impl Rows {
    /// The list of an answer.
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        match &snapshot.list {
            List::Groups(groups) => Self::groups(groups),
            List::Members(members) => Self::members(members),
            List::Bindings(bindings) => Self::bindings(bindings),
            List::Flows(flows) => Self::flows(flows),
            List::Handshakes(handshakes) => Self::handshakes(handshakes),
            List::Refusals(refusals) => Self::refusals(refusals, snapshot),
            List::Counters => Self::counters(snapshot),
        }
    }

    fn groups(groups: &view::Groups) -> Self {
        let behind = groups.router.iter().map(|group| {
            vec![
                address(group.anycast),
                Cell::Text("behind".into()),
                Cell::Text(group.state.replace('_', "-")),
                Cell::Count(group.members as u64),
                Cell::Time(group.since_seconds),
                Cell::Text(group.next_hops.join(" ")),
            ]
        });
        let served = groups.member.iter().map(|group| {
            let health = group.health.as_ref();
            vec![
                address(group.anycast),
                Cell::Text("served".into()),
                Cell::Text(show::state(group)),
                Cell::Count(group.sessions as u64),
                Cell::time(health.map(|health| health.since_seconds)),
                health.map_or_else(
                    || Cell::address(group.care_of),
                    |health| Cell::Text(health.state.clone()),
                ),
            ]
        });
        Self {
            headings: vec!["ANYCAST", "WHERE", "STATE", "NUMBER", "SINCE", "TO"],
            rows: behind.chain(served).collect(),
            sorted: (0, false),
            otherwise: "no groups",
        }
    }

    fn members(members: &[view::Member]) -> Self {
        let row = |member: &view::Member| {
            let state = if member.checking {
                "checking"
            } else {
                "member"
            };
            vec![
                address(member.anycast),
                Cell::Text(member.interface.clone()),
                address(member.member),
                Cell::Text(state.into()),
                Cell::Time(member.since_seconds),
                Cell::Time(member.expires_seconds),
            ]
        };
        Self {
            headings: vec![
                "ANYCAST",
                "INTERFACE",
                "MEMBER",
                "STATE",
                "SINCE",
                "EXPIRES",
            ],
            rows: members.iter().map(row).collect(),
            sorted: (0, false),
            otherwise: "no members",
        }
    }

    fn bindings(bindings: &[view::Binding]) -> Self {
        let row = |binding: &view::Binding| {
            vec![
                address(binding.client),
                address(binding.anycast),
                address(binding.care_of),
                Cell::Time(binding.age_seconds),
                Cell::Time(binding.remaining_seconds),
                Cell::Count(binding.flows as u64),
            ]
        };
        Self {
            headings: vec!["CLIENT", "ANYCAST", "CARE-OF", "AGE", "LEFT", "FLOWS"],
            rows: bindings.iter().map(row).collect(),
            sorted: (5, true),
            otherwise: "no bindings",
        }
    }

    fn flows(flows: &[view::Flow]) -> Self {
        let row = |flow: &view::Flow| {
            vec![
                end(flow.client, flow.client_port),
                end(flow.anycast, flow.service_port),
                Cell::address(flow.care_of),
                Cell::Text(show_flows::protocol(flow.protocol)),
                flow.state.clone().map_or(Cell::Nothing, Cell::Text),
                Cell::time(flow.age_seconds),
                Cell::Time(flow.idle_seconds),
            ]
        };
        Self {
            headings: vec![
                "CLIENT", "ANYCAST", "CARE-OF", "PROTO", "STATE", "AGE", "IDLE",
            ],
            rows: flows.iter().map(row).collect(),
            sorted: (6, false),
            otherwise: "no flows",
        }
    }

    fn handshakes(handshakes: &[view::Handshake]) -> Self {
        let row = |handshake: &view::Handshake| {
            vec![
                address(handshake.client),
                address(handshake.anycast),
                Cell::Text(show_flows::handshake_state(handshake)),
                Cell::Time(handshake.since_seconds),
                Cell::Count(handshake.attempts.into()),
                Cell::Count(handshake.failures.into()),
            ]
        };
        Self {
            headings: vec![
                "CLIENT", "ANYCAST", "STATE", "SINCE", "ATTEMPTS", "FAILURES",
            ],
            rows: handshakes.iter().map(row).collect(),
            sorted: (3, false),
            otherwise: "no clients are known",
        }
    }

    fn refusals(refusals: &view::Refusals, snapshot: &Snapshot) -> Self {
        let row = |(reason, total): (&String, &u64)| {
            let reports = refusals.refusals.iter();
            let reports = reports.map(|row| (&row.reason, row.last_seconds, row.source));
            let mobility = refusals.mobility.iter();
            let mobility = mobility.map(|row| (&row.reason, row.last_seconds, row.source));
            let latest = reports
                .chain(mobility)
                .filter(|(of, ..)| *of == reason)
                .min_by(|a, b| a.1.total_cmp(&b.1));
            vec![
                Cell::Text(reason.clone()),
                Cell::Count(*total),
                rate(snapshot, reason),
                Cell::time(latest.map(|(_, last, _)| last)),
                Cell::address(latest.map(|(.., source)| source)),
            ]
        };
        Self {
            headings: vec!["REASON", "TOTAL", "PER SECOND", "LAST", "LAST SOURCE"],
            rows: refusals.totals.iter().map(row).collect(),
            sorted: (2, true),
            otherwise: "nothing was refused",
        }
    }

    fn counters(snapshot: &Snapshot) -> Self {
        let counted = snapshot.counters.iter().filter(|(_, value)| **value > 0);
        let row = |(name, value): (&String, &u64)| {
            vec![
                Cell::Text(name.clone()),
                Cell::Count(*value),
                rate(snapshot, name),
            ]
        };
        Self {
            headings: vec!["COUNTER", "VALUE", "PER SECOND"],
            rows: counted.map(row).collect(),
            sorted: (2, true),
            otherwise: "every counter is 0",
        }
    }
}

fn address(address: std::net::Ipv6Addr) -> Cell {
    Cell::Address(address, None)
}

/// One end of a flow. Protocols without ports have port 0.
fn end(address: std::net::Ipv6Addr, port: u16) -> Cell {
    Cell::Address(address, Some(port).filter(|port| *port != 0))
}

fn rate(snapshot: &Snapshot, counter: &str) -> Cell {
    let rate = snapshot.rates.get(counter);
    rate.map_or(Cell::Nothing, |rate| Cell::Rate(*rate))
}
