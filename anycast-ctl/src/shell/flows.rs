//! The flows of the data plane, as they were when they were last read.
//!
//! Reading them costs kernel time for each flow, so that a thread does it while the loop goes on. A request that needs
//! the present state waits for a read that begins after the request. Several requests may wait for the same read.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    net::Ipv6Addr,
    sync::Arc,
    time::Duration,
};

use anycast_common::abi::maps::{Flow, FlowKey, MemberFlow};
use tokio::task::{JoinHandle, spawn_blocking};

use super::{clock, dataplane::FlowReader};
use crate::core::{
    Time,
    flows::{self, Limits},
};

/// Result of a read, in the order of the keys.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// Time at which the read began.
    pub(super) began: Time,
    /// Flows that are pinned at a correspondent.
    pub(super) flows: Arc<Vec<(FlowKey, Flow)>>,
    /// Flows that a correspondent remembers as open.
    pub(super) open: Vec<(FlowKey, Flow)>,
    /// Flows that came to a member by its care-of address.
    pub(super) member_flows: Vec<(FlowKey, MemberFlow)>,
}

impl Snapshot {
    fn read(reader: &FlowReader) -> Self {
        let began = clock::now();
        let [flows, open] = reader.by_state();
        Self {
            began,
            flows: Arc::new(flows),
            open,
            member_flows: reader.member_flows(),
        }
    }
}

/// The last read, and how to count sessions in it.
#[derive(Debug)]
pub(super) struct Seen {
    last: Option<Snapshot>,
    /// When a session that is pinned to this member counts as over.
    sessions: Option<Limits>,
}

impl Seen {
    /// Result of the last read.
    pub(super) fn last(&self) -> Option<&Snapshot> {
        self.last.as_ref()
    }

    /// Number of flows that travel by a care-of address.
    pub(super) fn count(&self) -> usize {
        let count = |read: &Snapshot| read.flows.len() + read.member_flows.len();
        // The map of a role that this machine does not have is empty.
        self.last().map(count).unwrap_or_default()
    }

    /// Number of sessions that are pinned to this member, by anycast address.
    pub(super) fn sessions(&self, now: Time) -> HashMap<Ipv6Addr, usize> {
        let mut sessions = HashMap::new();
        if let (Some(limits), Some(read)) = (self.sessions, self.last()) {
            for (key, flow) in &read.member_flows {
                if flows::goes_on(&limits, now, key, flow) {
                    *sessions.entry(key.anycast.into()).or_default() += 1;
                }
            }
        }
        sessions
    }

    /// The care-of addresses by which sessions are pinned to this member. `None` where that is not known.
    pub(super) fn in_use(&self, now: Time) -> Option<BTreeSet<Ipv6Addr>> {
        let (limits, read) = (self.sessions?, self.last()?);
        let flows = read.member_flows.iter();
        let in_use = flows
            .filter(|(key, flow)| flows::goes_on(&limits, now, key, flow))
            .map(|(_, flow)| flow.care_of.into());
        Some(in_use.collect())
    }

    /// Reads the flows of this member now, and gives the anycast and care-of addresses of its sessions.
    pub(super) fn read_in_use(&self, reader: &FlowReader) -> BTreeSet<(Ipv6Addr, Ipv6Addr)> {
        let Some(limits) = self.sessions else {
            return BTreeSet::new();
        };
        let (now, flows) = (clock::now(), reader.member_flows());
        let sessions = flows
            .iter()
            .filter(|(key, flow)| flows::goes_on(&limits, now, key, flow));
        sessions
            .map(|(key, flow)| (key.anycast.into(), flow.care_of.into()))
            .filter(|(anycast, care_of)| anycast != care_of)
            .collect()
    }

    /// Reads the flows now, and gives the number of sessions that would end with the programs.
    pub(super) fn read_sessions(&self, reader: &FlowReader) -> usize {
        let limits = self.sessions.unwrap_or_default();
        let read = Snapshot::read(reader);
        let here = read
            .member_flows
            .iter()
            .filter(|(key, flow)| flows::goes_on(&limits, read.began, key, flow));
        let closed = |flow: &Flow| flow.client_closed & flow.member_closed != 0;
        let there = read.flows.iter().filter(|(_, flow)| !closed(flow));
        here.count() + there.count()
    }
}

/// Reads the flows for waiters of type `W`.
pub(super) struct Flows<W> {
    read: Arc<dyn Fn() -> Snapshot + Send + Sync>,
    /// Number of reads that have begun.
    begun: u64,
    reading: Option<JoinHandle<Snapshot>>,
    /// The waiters, each with the number of the first read that serves it.
    waiting: VecDeque<(u64, W)>,
    seen: Seen,
}

impl<W> Flows<W> {
    /// `sessions` says when a session that is pinned to this member counts as over. It is `None` where the machine has
    /// no member role.
    pub(super) fn new(reader: FlowReader, sessions: Option<Limits>) -> Self {
        Self::by(move || Snapshot::read(&reader), sessions)
    }

    fn by(read: impl Fn() -> Snapshot + Send + Sync + 'static, sessions: Option<Limits>) -> Self {
        Self {
            read: Arc::new(read),
            begun: 0,
            reading: None,
            waiting: VecDeque::new(),
            seen: Seen {
                last: None,
                sessions,
            },
        }
    }

    /// Adds a waiter, which gets a read that begins from now on.
    pub(super) fn wait(&mut self, waiter: W) {
        self.waiting.push_back((self.begun + 1, waiter));
        self.begin();
    }

    fn begin(&mut self) {
        if self.reading.is_some() {
            return;
        }
        self.begun += 1;
        let read = Arc::clone(&self.read);
        self.reading = Some(spawn_blocking(move || read()));
    }

    /// Waits until a read is done, or for ever when none is under way. Dropping the future loses nothing. Gives the
    /// waiters that the read serves.
    pub(super) async fn next(&mut self) -> Vec<W> {
        let Some(reading) = &mut self.reading else {
            return std::future::pending().await;
        };
        match reading.await {
            Ok(snapshot) => drop_later(self.seen.last.replace(snapshot)),
            Err(error) => tracing::error!(%error, "cannot read the flows"),
        }
        self.reading = None;
        let mut ready = Vec::new();
        while let Some((_, waiter)) = self.waiting.pop_front_if(|(read, _)| *read <= self.begun) {
            ready.push(waiter);
        }
        if !self.waiting.is_empty() {
            self.begin();
        }
        ready
    }

    /// What the last read found.
    pub(super) fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Other times after which a session counts as over.
    pub(super) fn set_sessions(&mut self, sessions: Option<Limits>) {
        self.seen.sessions = sessions;
    }

    /// Frees the memory of a read that is older than this.
    pub(super) fn forget(&mut self, age: Duration) {
        let last = &mut self.seen.last;
        drop_later(last.take_if(|read| clock::now() - read.began > age));
    }
}

/// The kernel takes back the memory of a million flows for milliseconds.
fn drop_later(read: Option<Snapshot>) {
    if let Some(read) = read {
        spawn_blocking(move || drop(read));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use super::*;

    #[tokio::test]
    async fn who_asks_during_a_read_waits_for_the_next_and_shares_it() {
        let (go, gate) = mpsc::channel();
        let gate = Mutex::new(gate);
        let mut flows = Flows::by(
            move || {
                let began = gate.lock().expect("sound").recv().expect("a time");
                Snapshot {
                    began,
                    ..Snapshot::default()
                }
            },
            None,
        );
        flows.wait('a');
        flows.wait('b');
        flows.wait('c');
        let first = Time::from_nanos(1);
        go.send(first).expect("somebody reads");
        assert_eq!(flows.next().await, ['a']);
        assert_eq!(flows.seen().last().map(|read| read.began), Some(first));
        flows.wait('d');
        let second = Time::from_nanos(2);
        go.send(second).expect("somebody reads");
        assert_eq!(flows.next().await, ['b', 'c']);
        go.send(second).expect("somebody reads");
        assert_eq!(flows.next().await, ['d']);
        assert_eq!(flows.seen().last().map(|read| read.began), Some(second));
        // No read is under way, and the result of an old one is forgotten.
        assert!(flows.reading.is_none());
        flows.forget(Duration::ZERO);
        assert!(flows.seen().last().is_none());
    }

    #[tokio::test]
    async fn a_wait_that_is_broken_off_loses_nothing() {
        let (go, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let mut flows = Flows::by(
            move || {
                gate.lock().expect("sound").recv().expect("open");
                Snapshot::default()
            },
            None,
        );
        flows.wait('a');
        tokio::select! {
            biased;
            _ = flows.next() => panic!("the gate is closed"),
            () = tokio::task::yield_now() => {}
        }
        go.send(()).expect("somebody reads");
        assert_eq!(flows.next().await, ['a']);
    }
}
