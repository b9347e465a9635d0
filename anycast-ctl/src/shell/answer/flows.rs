//! Answers about flows that travel by care-of addresses.

use anycast_common::abi::maps::FlowKey;

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

/// A page of the flows of the last read.
pub(super) fn page(seen: &Seen, which: &Selection, after: Option<&view::FlowCursor>) -> Answered {
    let read = seen.last().ok_or_else(unread)?;
    Ok(Answer::Flows(page_of(clock::now(), read, which, after)))
}

/// At most [`PAGE`] flows. Those of the correspondent come first, and the flows of each role are in the order of their
/// keys.
fn page_of(
    now: Time,
    read: &Snapshot,
    which: &Selection,
    after: Option<&view::FlowCursor>,
) -> view::Page<view::Flow, view::FlowCursor> {
    let since = |time: u64| now.since(Time::from_nanos(time)).as_secs_f64();
    let begin = after.map(|cursor| (cursor.member, flow_order(&cursor.key())));
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
            let next = Some(view::FlowCursor::of(key, member));
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

fn unread() -> Refusal {
    failed("the flows could not be read: see the daemon's log".to_owned())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

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

    /// A read with flows of both roles, in order.
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
            let page = page_of(Time::ZERO, read, which, after.as_ref());
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
