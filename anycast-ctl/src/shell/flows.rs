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

use super::{
    clock,
    dataplane::{ByState, FlowReader, Hurry},
};
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
    /// How many flows a correspondent remembers as open.
    pub(super) number_open: usize,
    /// These, if somebody asked for them.
    pub(super) open: Option<Vec<(FlowKey, Flow)>>,
    /// Flows that came to a member by its care-of address.
    pub(super) member_flows: Vec<(FlowKey, MemberFlow)>,
}

impl Snapshot {
    fn read(reader: &FlowReader, open: bool, hurry: Hurry) -> Self {
        let began = clock::now();
        let ByState {
            pinned,
            number_open,
            open,
        } = reader.by_state(open, hurry);
        Self {
            began,
            flows: Arc::new(pinned),
            number_open,
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
        let hurry = Hurry::default();
        hurry.set(true);
        let read = Snapshot::read(reader, false, hurry);
        let here = read
            .member_flows
            .iter()
            .filter(|(key, flow)| flows::goes_on(&limits, read.began, key, flow));
        let closed = |flow: &Flow| flow.client_closed & flow.member_closed != 0;
        let there = read.flows.iter().filter(|(_, flow)| !closed(flow));
        here.count() + there.count()
    }
}

/// What a waiter needs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Need {
    /// The open flows as well.
    pub(super) open: bool,
    /// That it does not take longer than it has to.
    pub(super) soon: bool,
}

/// Reads the flows for waiters of type `W`.
pub(super) struct Flows<W> {
    read: Arc<dyn Fn(bool, Hurry) -> Snapshot + Send + Sync>,
    /// Whether a waiter needs the result of the read, or of the next one, soon.
    hurry: Hurry,
    /// Number of reads that have begun.
    begun: u64,
    reading: Option<JoinHandle<Snapshot>>,
    /// The waiters, each with the number of the first read that serves it.
    waiting: VecDeque<(u64, W, Need)>,
    seen: Seen,
}

impl<W> Flows<W> {
    /// `sessions` says when a session that is pinned to this member counts as over. It is `None` where the machine has
    /// no member role.
    pub(super) fn new(reader: FlowReader, sessions: Option<Limits>) -> Self {
        let read = move |open, hurry| Snapshot::read(&reader, open, hurry);
        Self::by(read, sessions)
    }

    fn by(
        read: impl Fn(bool, Hurry) -> Snapshot + Send + Sync + 'static,
        sessions: Option<Limits>,
    ) -> Self {
        Self {
            read: Arc::new(read),
            hurry: Hurry::default(),
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
    pub(super) fn wait(&mut self, waiter: W, need: Need) {
        self.waiting.push_back((self.begun + 1, waiter, need));
        if need.soon {
            self.hurry.set(true);
        }
        self.begin();
    }

    /// Those who wait need the result soon.
    pub(super) fn hurry(&mut self) {
        for (.., need) in &mut self.waiting {
            need.soon = true;
        }
        self.hurry.set(true);
    }

    fn begin(&mut self) {
        if self.reading.is_some() {
            return;
        }
        self.begun += 1;
        // All who wait are served by it.
        let needs = || self.waiting.iter().map(|(.., need)| need);
        let open = needs().any(|need| need.open);
        self.hurry.set(needs().any(|need| need.soon));
        let (read, hurry) = (Arc::clone(&self.read), self.hurry.clone());
        self.reading = Some(spawn_blocking(move || read(open, hurry)));
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
        while let Some((_, waiter, _)) = self.waiting.pop_front_if(|(read, ..)| *read <= self.begun)
        {
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

    /// Flows whose reads wait for a word each, of which they are made.
    fn gated<T: Send + 'static>(
        read: impl Fn(T, bool, &Hurry) -> Snapshot + Send + Sync + 'static,
    ) -> (mpsc::Sender<T>, Flows<char>) {
        let (go, gate) = mpsc::channel();
        let gate = Mutex::new(gate);
        let by = move |open, hurry: Hurry| {
            let word = gate.lock().expect("sound").recv().expect("a word");
            read(word, open, &hurry)
        };
        (go, Flows::by(by, None))
    }

    #[tokio::test]
    async fn who_asks_during_a_read_waits_for_the_next_and_shares_it() {
        let (go, mut flows) = gated(|began, _, _| Snapshot {
            began,
            ..Snapshot::default()
        });
        flows.wait('a', Need::default());
        flows.wait('b', Need::default());
        flows.wait('c', Need::default());
        let first = Time::from_nanos(1);
        go.send(first).expect("somebody reads");
        assert_eq!(flows.next().await, ['a']);
        assert_eq!(flows.seen().last().map(|read| read.began), Some(first));
        flows.wait('d', Need::default());
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
    async fn a_read_has_what_its_waiters_need_as_soon_as_they_do() {
        let (go, mut flows) = gated(|(), open, hurry| Snapshot {
            open: open.then(Vec::new),
            number_open: usize::from(hurry.is()),
            ..Snapshot::default()
        });
        let patient = Need::default();
        let soon = Need {
            soon: true,
            ..patient
        };
        let open = Need {
            open: true,
            ..patient
        };
        // Who is in a hurry is served by the next read, so that the one under way hurries as well.
        for (needs, wanted) in [
            (&[patient][..], [(false, 0), (false, 0)]),
            (&[patient, soon], [(false, 1), (false, 1)]),
            (&[soon, patient], [(false, 1), (false, 0)]),
            (&[patient, open], [(false, 0), (true, 0)]),
            (&[open, patient], [(true, 0), (false, 0)]),
        ] {
            for need in needs {
                flows.wait('a', *need);
            }
            for (wanted, _) in wanted.into_iter().zip(needs) {
                go.send(()).expect("somebody reads");
                assert_eq!(flows.next().await, ['a']);
                let read = flows.seen().last().expect("it is read");
                assert_eq!((read.open.is_some(), read.number_open), wanted, "{needs:?}");
            }
        }
        // Something waits while the read of somebody else is under way.
        flows.wait('a', patient);
        flows.wait('b', patient);
        flows.hurry();
        for _ in 0..2 {
            go.send(()).expect("somebody reads");
            flows.next().await;
            let read = flows.seen().last().expect("it is read");
            assert_eq!(read.number_open, 1, "it hurries");
        }
    }

    #[tokio::test]
    async fn a_wait_that_is_broken_off_loses_nothing() {
        let (go, mut flows) = gated(|(), _, _| Snapshot::default());
        flows.wait('a', Need::default());
        tokio::select! {
            biased;
            _ = flows.next() => panic!("the gate is closed"),
            () = tokio::task::yield_now() => {}
        }
        go.send(()).expect("somebody reads");
        assert_eq!(flows.next().await, ['a']);
    }
}
