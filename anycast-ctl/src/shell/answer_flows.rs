//! Answers about bindings, handshakes and flows.

use std::{collections::HashMap, net::Ipv6Addr};

use anycast_common::{
    abi::{maps::FlowKey, roles},
    wire::mobility::status,
};

use super::{
    answer::{Answered, PAGE, map, name_of, no_role},
    api::{Answer, Refusal, RefusalCode, Reply, Request, server::Call, view},
    clock,
    daemon::Daemon,
    dataplane::flow_order,
    flows::Snapshot,
};
use crate::core::{
    Action, Notice, Time,
    controller::Input,
    correspondent::{BindingView, Selection},
    member::{HandshakeFilter, HandshakeView, Heard},
    pins,
};

/// Flows that are looked at for a page, whether they are on it or not.
const SCAN: usize = 10_000;

/// Who waits for the flows to be read.
#[derive(Debug)]
pub(super) enum Waiter {
    /// The core, which judges them.
    Core,
    /// Somebody who asked what can be answered then.
    Call(Call),
    /// Somebody who ended so many bindings; their flows are next.
    Flush {
        which: Selection,
        bindings: usize,
        call: Call,
    },
}

impl Daemon {
    /// Somebody asks.
    pub(super) fn call(&mut self, call: Call) {
        if let Request::Flush {
            client,
            anycast,
            care_of,
        } = call.request
        {
            let which = Selection {
                client,
                anycast,
                care_of,
            };
            return self.flush(which, call);
        }
        if self.needs_flows(&call.request) {
            return self.flows.wait(Waiter::Call(call));
        }
        let answer = self.answer(&call.request);
        // Who is told that it is done finds it done.
        self.perform();
        reply(call, answer);
    }

    fn needs_flows(&self, request: &Request) -> bool {
        let has = |wanted: u8| self.roles & wanted != 0;
        match request {
            Request::Status => has(roles::CORRESPONDENT | roles::MEMBER),
            Request::Groups { after: None } => has(roles::MEMBER),
            // The pages after the first one are of the same read, unless it is forgotten.
            Request::Flows { after, .. } => after.is_none() || self.flows.last().is_none(),
            _ => false,
        }
    }

    /// The flows have been read.
    pub(super) fn flows_read(&mut self, waiters: Vec<Waiter>) {
        for waiter in waiters {
            match waiter {
                Waiter::Core => match self.flows.last() {
                    Some(read) => {
                        let input = Input::Flows(&read.flows);
                        self.controller.handle(read.began, input, &mut self.actions);
                        self.perform();
                    }
                    None => self.flows.wait(Waiter::Core),
                },
                Waiter::Call(call) => {
                    let answer = self.answer(&call.request);
                    self.perform();
                    reply(call, answer);
                }
                Waiter::Flush {
                    which,
                    bindings,
                    call,
                } => {
                    let answer = self.flush_flows(&which, bindings);
                    self.perform();
                    reply(call, answer.map(Answer::Flushed));
                }
            }
        }
    }

    /// Ends bindings first, so that nothing is pinned to them any more when the flows are read.
    fn flush(&mut self, which: Selection, call: Call) {
        let ended = self
            .controller
            .flush(clock::now(), &which, &mut self.actions);
        self.perform();
        match ended {
            None => reply(call, Err(no_role("correspondent"))),
            Some(bindings) => self.flows.wait(Waiter::Flush {
                which,
                bindings,
                call,
            }),
        }
    }

    fn flush_flows(
        &mut self,
        which: &Selection,
        bindings: usize,
    ) -> Result<view::Flushed, Refusal> {
        let read = self.flows.last().ok_or_else(unread)?;
        let maps = self.dataplane.maps();
        let mut flows = 0;
        for (key, flow) in &read.flows {
            if which.holds(key.client.into(), key.anycast.into(), flow.care_of.into()) {
                maps.remove_flow(key).map_err(|error| map(&error))?;
                flows += 1;
            }
        }
        let Selection {
            client,
            anycast,
            care_of,
        } = *which;
        self.actions.push(Action::Notice(Notice::Flushed {
            client,
            anycast,
            care_of,
            bindings,
            flows,
        }));
        Ok(view::Flushed { bindings, flows })
    }

    pub(super) fn bindings(&self, which: &Selection, after: Option<view::Pair>) -> Answered {
        let Some(correspondent) = self.controller.correspondent() else {
            return Err(no_role("correspondent"));
        };
        let now = clock::now();
        let after = after.map(|view::Pair { client, anycast }| (client, anycast));
        let (rows, next) = correspondent.bindings_page(now, which, after, PAGE);
        let flows_age = correspondent.flows_age(now);
        let flows_age = flows_age.map(|age| age.as_secs_f64());
        let view = |binding: BindingView| view::Binding {
            client: binding.client,
            anycast: binding.anycast,
            care_of: binding.care_of,
            sequence: binding.sequence,
            age_seconds: binding.age.as_secs_f64(),
            remaining_seconds: binding.remaining.as_secs_f64(),
            flows: binding.flows,
            flows_age_seconds: flows_age,
        };
        Ok(Answer::Bindings(view::Page {
            rows: rows.into_iter().map(view).collect(),
            next: next.map(|(client, anycast)| view::Pair { client, anycast }),
        }))
    }

    pub(super) fn handshakes(&self, which: HandshakeFilter, after: Option<view::Pair>) -> Answered {
        let Some(member) = self.controller.member() else {
            return Err(no_role("member"));
        };
        let after = after.map(|view::Pair { client, anycast }| (anycast, client));
        let (rows, next) = member.handshakes_page(clock::now(), which, after, PAGE);
        Ok(Answer::Handshakes(view::Page {
            rows: rows.into_iter().map(handshake).collect(),
            next: next.map(|(anycast, client)| view::Pair { client, anycast }),
        }))
    }

    /// How many flows travel by a care-of address.
    pub(super) fn flow_count(&self) -> usize {
        let count = |read: &Snapshot| read.flows.len() + read.member_flows.len();
        let read = self.flows.last();
        // A map of a role that this machine does not have is empty.
        read.map(count).unwrap_or_default()
    }

    /// How many sessions are pinned to this member, by anycast address.
    pub(super) fn sessions(&self, now: Time) -> HashMap<Ipv6Addr, usize> {
        let mut sessions = HashMap::new();
        if let (Some(limits), Some(read)) = (self.sessions, self.flows.last()) {
            for (key, flow) in &read.member_flows {
                if pins::goes_on(&limits, now, key, flow) {
                    *sessions.entry(key.anycast.into()).or_default() += 1;
                }
            }
        }
        sessions
    }

    pub(super) fn flows_page(
        &self,
        which: &Selection,
        after: Option<&view::FlowPlace>,
    ) -> Answered {
        let read = self.flows.last().ok_or_else(unread)?;
        Ok(Answer::Flows(page(clock::now(), read, which, after)))
    }
}

/// At most [`PAGE`] flows: those of the correspondent first, each in the order of keys.
fn page(
    now: Time,
    read: &Snapshot,
    which: &Selection,
    after: Option<&view::FlowPlace>,
) -> view::Page<view::Flow, view::FlowPlace> {
    let since = |time: u64| now.since(Time::from_nanos(time)).as_secs_f64();
    let begin = after.map(|place| (place.member, flow_order(&place.key())));
    let beyond =
        |member, key: &FlowKey| begin.is_none_or(|begin| (member, flow_order(key)) > begin);
    let first = read.flows.partition_point(|(key, _)| !beyond(false, key));
    let pinned = read.flows[first..].iter().map(|(key, flow)| {
        let last = flow.last_out.max(flow.last_in).max(flow.pinned_at);
        let times = (Some(since(flow.pinned_at)), since(last));
        (key, flow.care_of, times, false)
    });
    let first = read
        .member_flows
        .partition_point(|(key, _)| !beyond(true, key));
    let arrived = read.member_flows[first..].iter().map(|(key, flow)| {
        let times = (None, since(flow.last_in));
        (key, flow.care_of, times, true)
    });
    let mut rows = Vec::new();
    for (looked_at, (key, care_of, times, member)) in (1..).zip(pinned.chain(arrived)) {
        if which.holds(key.client.into(), key.anycast.into(), care_of.into()) {
            rows.push(flow_view(key, care_of, times, member));
        }
        if rows.len() >= PAGE || looked_at >= SCAN {
            let next = Some(view::FlowPlace::of(key, member));
            return view::Page { rows, next };
        }
    }
    view::Page { rows, next: None }
}

fn flow_view(
    key: &FlowKey,
    care_of: [u8; 16],
    (age_seconds, idle_seconds): (Option<f64>, f64),
    member: bool,
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
        role: if member { "member" } else { "correspondent" }.to_owned(),
    }
}

fn handshake(known: HandshakeView) -> view::Handshake {
    view::Handshake {
        client: known.client,
        anycast: known.anycast,
        state: name_of(&known.state),
        waiting_for: known.waiting_for.iter().map(name_of).collect(),
        attempts: known.attempts,
        failures: known.failures,
        since_seconds: known.since.as_secs_f64(),
        next_seconds: known.remaining.as_secs_f64(),
        last_answer: known.heard.map(heard),
        left_alone: known.alone.map(|why| why.name().to_owned()),
    }
}

fn heard(heard: Heard) -> view::Heard {
    let (message, status, name) = match heard {
        Heard::BindingAck(status) => ("binding_ack", Some(status), Some(status::name(status))),
        Heard::BindingError(status) => {
            let name = "unrecognized MH type";
            ("binding_error", Some(status), Some(name))
        }
        Heard::ParameterProblem => ("parameter_problem", None, None),
    };
    view::Heard {
        message: message.to_owned(),
        status,
        status_name: name.map(str::to_owned),
    }
}

fn reply(call: Call, answer: Answered) {
    let reply = match answer {
        Ok(answer) => Reply::Ok(answer),
        Err(refusal) => Reply::Error(refusal),
    };
    // The client may have gone; that is its affair.
    let _ = call.reply.send(reply);
}

fn unread() -> Refusal {
    Refusal {
        code: RefusalCode::Failed,
        message: "the flows could not be read: see the daemon's log".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use anycast_common::abi::maps::{Flow, MemberFlow};
    use zerocopy::FromZeros as _;

    use super::*;

    fn key(client: u16, port: u16) -> FlowKey {
        FlowKey {
            client: Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, client).octets(),
            client_port: port.to_be_bytes(),
            ..FlowKey::new_zeroed()
        }
    }

    /// Flows of both roles, in order.
    fn read(clients: u16, ports: u16) -> Snapshot {
        let keys = (0..clients).flat_map(|client| (0..ports).map(move |port| key(client, port)));
        Snapshot {
            flows: keys.clone().map(|key| (key, Flow::new_zeroed())).collect(),
            member_flows: keys.map(|key| (key, MemberFlow::new_zeroed())).collect(),
            ..Snapshot::default()
        }
    }

    fn all(read: &Snapshot, which: &Selection) -> (Vec<view::Flow>, usize) {
        let (mut rows, mut pages) = (Vec::new(), 0);
        let mut after = None;
        loop {
            let page = page(Time::ZERO, read, which, after.as_ref());
            assert!(page.rows.len() <= PAGE);
            rows.extend(page.rows);
            pages += 1;
            after = page.next;
            if after.is_none() {
                return (rows, pages);
            }
        }
    }

    #[test]
    fn every_flow_is_on_one_page() {
        let read = read(30, 100);
        let (rows, pages) = all(&read, &Selection::default());
        assert_eq!((rows.len(), pages), (6000, 7));
        let of = |role| rows.iter().filter(|row| row.role == role).count();
        assert_eq!((of("correspondent"), of("member")), (3000, 3000));
        let mut ends: Vec<_> = rows
            .iter()
            .map(|row| (row.role.clone(), row.client, row.client_port))
            .collect();
        ends.sort();
        ends.dedup();
        assert_eq!(ends.len(), 6000);
    }

    #[test]
    fn a_page_looks_at_no_more_than_it_may() {
        let read = read(300, 100);
        let which = Selection {
            client: Some(Ipv6Addr::from(key(299, 0).client)),
            ..Selection::default()
        };
        let (rows, pages) = all(&read, &which);
        assert_eq!((rows.len(), pages), (200, 7));
    }
}
