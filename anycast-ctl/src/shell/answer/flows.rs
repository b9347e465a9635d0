//! Answers about flows that travel by care-of addresses.

use std::net::Ipv6Addr;

use anycast_common::abi::maps::{Flow, FlowKey, MemberFlow, state};

use super::common::{Answered, PAGE, failed, map};
use crate::{
    core::{Notice, Time, controller::Flushed, correspondent::Selection},
    shell::{
        api::{Answer, Refusal, view},
        clock,
        dataplane::flow_order,
        engine::Engine,
        flows::{Seen, Snapshot},
        plane::Plane,
    },
};

/// Largest number of flows that one page looks at, whether they match or not.
const SCAN: usize = 10_000;

/// Ends the selected pinned flows, which were read after the bindings in `ended` had been ended.
pub(in crate::shell) fn flush(
    core: &mut Engine,
    plane: &mut Plane,
    read: Option<&Snapshot>,
    which: &Selection,
    ended: Flushed,
) -> Result<view::Flushed, Refusal> {
    let read = read.ok_or_else(unread)?;
    let maps = plane.dataplane().maps();
    let mut flows = 0;
    for (key, flow) in read.flows.iter() {
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
    core.tell(Notice::Flushed {
        client,
        anycast,
        care_of,
        bindings: ended.bindings.unwrap_or_default(),
        flows,
    });
    Ok(flushed(ended, Some(flows)))
}

/// The answer to a flush. `flows` is `None` where the machine has no correspondent role.
pub(in crate::shell) const fn flushed(ended: Flushed, flows: Option<usize>) -> view::Flushed {
    let Flushed { bindings, clients } = ended;
    view::Flushed {
        bindings,
        flows,
        clients,
    }
}

/// A page of the flows of the last read, with the `open` ones or without.
pub(super) fn page(
    seen: &Seen,
    which: &Selection,
    open: bool,
    after: Option<&view::FlowCursor>,
) -> Answered {
    let read = seen.last().ok_or_else(unread)?;
    Ok(Answer::Flows(page_of(
        clock::now(),
        read,
        which,
        open,
        after,
    )))
}

/// The flows of a client and an anycast address, open ones as well, at most [`PAGE`] of them.
pub(super) fn of(seen: &Seen, now: Time, client: Ipv6Addr, anycast: Ipv6Addr) -> Vec<view::Flow> {
    let Some(read) = seen.last() else {
        return Vec::new();
    };
    let pair = (client.octets(), anycast.octets());
    let of = |key: &FlowKey| (key.client, key.anycast);
    // The lists are in the order of their keys, of which the pair is the first part.
    let known = merged(pair_of(&read.flows, pair), pair_of(open_of(read), pair));
    let known = known.map(|(key, flow)| (key, Seat::Correspondent(flow)));
    let first = read.member_flows.partition_point(|(key, _)| of(key) < pair);
    let arrived = read.member_flows[first..].iter();
    let arrived = arrived.take_while(|(key, _)| of(key) == pair);
    let arrived = arrived.map(|(key, flow)| (key, Seat::Member(flow)));
    let all = known.chain(arrived).take(PAGE);
    all.map(|(key, seat)| seat.view(now, key)).collect()
}

fn open_of(read: &Snapshot) -> &[(FlowKey, Flow)] {
    read.open.as_deref().unwrap_or_default()
}

fn pair_of(flows: &[(FlowKey, Flow)], pair: ([u8; 16], [u8; 16])) -> &[(FlowKey, Flow)] {
    let of = |key: &FlowKey| (key.client, key.anycast);
    let first = flows.partition_point(|(key, _)| of(key) < pair);
    let end = flows.partition_point(|(key, _)| of(key) <= pair);
    &flows[first..end]
}

/// At most [`PAGE`] flows. Those of the correspondent come first, and the flows of each role are in the order of their
/// keys.
fn page_of(
    now: Time,
    read: &Snapshot,
    which: &Selection,
    open: bool,
    after: Option<&view::FlowCursor>,
) -> view::Page<view::Flow, view::FlowCursor> {
    let begin = after.map(|cursor| (cursor.member, flow_order(&cursor.key())));
    let beyond =
        |member, key: &FlowKey| begin.is_none_or(|begin| (member, flow_order(key)) > begin);
    let rest = |flows: &'_ [(FlowKey, Flow)]| flows.partition_point(|(key, _)| !beyond(false, key));
    let pinned = &read.flows[rest(&read.flows)..];
    let open = if open { open_of(read) } else { &[] };
    let open = &open[rest(open)..];
    let first = read
        .member_flows
        .partition_point(|(key, _)| !beyond(true, key));
    let known = merged(pinned, open).map(|(key, flow)| (key, Seat::Correspondent(flow)));
    let arrived = read.member_flows[first..].iter();
    let arrived = arrived.map(|(key, flow)| (key, Seat::Member(flow)));
    let mut rows = Vec::new();
    for (looked_at, (key, seat)) in (1..).zip(known.chain(arrived)) {
        if which.holds(key.client.into(), key.anycast.into(), seat.care_of().into()) {
            rows.push(seat.view(now, key));
        }
        if rows.len() >= PAGE || looked_at >= SCAN {
            let member = matches!(seat, Seat::Member(_));
            let next = Some(view::FlowCursor::of(key, member));
            return view::Page { rows, next };
        }
    }
    view::Page { rows, next: None }
}

/// Two lists in the order of their keys, as one.
fn merged<'a>(
    left: &'a [(FlowKey, Flow)],
    right: &'a [(FlowKey, Flow)],
) -> impl Iterator<Item = (&'a FlowKey, &'a Flow)> {
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    std::iter::from_fn(move || {
        let is_left = match (left.peek(), right.peek()) {
            (Some((one, _)), Some((other, _))) => flow_order(one) <= flow_order(other),
            (one, _) => one.is_some(),
        };
        let next = if is_left { left.next() } else { right.next() };
        next.map(|(key, flow)| (key, flow))
    })
}

/// A flow as one of the roles knows it.
#[derive(Clone, Copy)]
enum Seat<'a> {
    Correspondent(&'a Flow),
    Member(&'a MemberFlow),
}

impl Seat<'_> {
    const fn care_of(self) -> [u8; 16] {
        match self {
            Self::Correspondent(flow) => flow.care_of,
            Self::Member(flow) => flow.care_of,
        }
    }

    fn view(self, now: Time, key: &FlowKey) -> view::Flow {
        let since = |time: u64| now.since(Time::from_nanos(time)).as_secs_f64();
        let (role, state, began, last) = match self {
            Self::Correspondent(flow) => {
                let state = match (flow.state, flow.answered) {
                    (state::OPEN, _) => "open",
                    (state::OWN, _) => "own",
                    (_, 0) => "trial",
                    _ => "bound",
                };
                let last = flow.last_out.max(flow.last_in).max(flow.pinned_at);
                ("correspondent", Some(state), Some(flow.pinned_at), last)
            }
            Self::Member(flow) => ("member", None, None, flow.last_in),
        };
        let care_of = Some(self.care_of()).filter(|care_of| *care_of != [0; 16]);
        view::Flow {
            client: key.client.into(),
            client_port: u16::from_be_bytes(key.client_port),
            anycast: key.anycast.into(),
            service_port: u16::from_be_bytes(key.service_port),
            protocol: key.protocol,
            care_of: care_of.map(Into::into),
            state: state.map(str::to_owned),
            age_seconds: began.map(since),
            idle_seconds: since(last),
            role: role.to_owned(),
        }
    }
}

fn unread() -> Refusal {
    failed("the flows could not be read: see the daemon's log".to_owned())
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv6Addr, sync::Arc};

    use zerocopy::FromZeros as _;

    use super::*;

    fn key(client: u16, port: u16) -> FlowKey {
        FlowKey {
            client: Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, client).octets(),
            client_port: port.to_be_bytes(),
            ..FlowKey::new_zeroed()
        }
    }

    fn bound(answered: u8) -> Flow {
        Flow {
            care_of: Ipv6Addr::LOCALHOST.octets(),
            state: state::BOUND_FIRST,
            answered,
            ..Flow::new_zeroed()
        }
    }

    /// A read with flows of both roles, in order.
    fn read(clients: u16, ports: u16) -> Snapshot {
        let keys = (0..clients).flat_map(|client| (0..ports).map(move |port| key(client, port)));
        Snapshot {
            flows: Arc::new(keys.clone().map(|key| (key, bound(1))).collect()),
            member_flows: keys.map(|key| (key, MemberFlow::new_zeroed())).collect(),
            ..Snapshot::default()
        }
    }

    fn all(read: &Snapshot, which: &Selection, open: bool) -> (Vec<view::Flow>, usize) {
        let (mut rows, mut pages) = (Vec::new(), 0);
        let mut after = None;
        loop {
            let page = page_of(Time::ZERO, read, which, open, after.as_ref());
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
        let (rows, pages) = all(&read, &Selection::default(), false);
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
        let (rows, pages) = all(&read, &which, false);
        assert_eq!((rows.len(), pages), (200, 7));
    }

    #[test]
    fn open_flows_stand_among_the_bound_ones() {
        let mut read = read(0, 0);
        let pinned = [(1, 1), (4, 0)].map(|(port, answered)| (key(1, port), bound(answered)));
        read.flows = Arc::new(pinned.to_vec());
        let open = (0..2200).filter(|port| ![1, 4].contains(port));
        read.open = Some(
            open.map(|port| (key(1, port), Flow::new_zeroed()))
                .collect(),
        );
        let (rows, pages) = all(&read, &Selection::default(), true);
        assert_eq!((rows.len(), pages), (2200, 3));
        let states: Vec<_> = rows.iter().map(|row| row.state.as_deref()).collect();
        assert_eq!(
            states[..6],
            ["open", "bound", "open", "open", "trial", "open"].map(Some)
        );
        assert!(rows.iter().map(|row| row.client_port).eq(0..2200));
        assert!(
            rows.iter()
                .all(|row| row.care_of.is_none() == (row.state.as_deref() == Some("open")))
        );
        assert_eq!(all(&read, &Selection::default(), false).0.len(), 2);
    }
}
