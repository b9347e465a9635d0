//! Sweeps over the flows that are bound to care-of addresses: which of them have ended, and which members have failed.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
    time::Duration,
};

use anycast_common::{
    abi::maps::{Flow, FlowKey},
    wire::ipv6,
};

use super::{
    limits::{DISTANCE, Limits},
    waiting::{ACK_DELAY, Doubts, HINTED, Heard, Hint, Silence, heard_at},
};
use crate::core::{Time, hash::Map, notice::FailureCause, time::earliest};

/// A member that was heard within this time can be reached. The time is shorter than [`HINTED`], because answers may
/// have been under way when a care-of address failed, and because the times of flows are inexact.
const THERE: Duration = Duration::from_secs(2);
/// Time between two sweeps while a flow waits for an answer after an ICMPv6 error, which is short enough to tell a
/// retransmission from a new packet.
pub(super) const LOOK: Duration = Duration::from_millis(500);
/// A packet that the client sends this long after a possible mere acknowledgement begins a new exchange.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest time between two sweeps of which the second waits for something that needs the processor more.
const PUT_OFF: Duration = Duration::from_secs(12);
/// Number of unanswered flows from which on their care-of address has failed, rather than single flows.
const SEVERAL: usize = 3;

/// Why a bound flow ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The flow was silent for the idle time of its protocol.
    Idle,
    /// Both ends closed the connection.
    Closed,
    /// The member no longer answers.
    Failed,
    /// An ICMPv6 error said that the member cannot be reached, and the member did not answer what the client sent
    /// around that time.
    Unreachable,
}

/// Result of a sweep.
#[derive(Debug, Default)]
pub struct Sweep {
    /// Flows to end.
    pub ended: Vec<(FlowKey, Flow, End)>,
    /// The pairs of client's address A and care-of address C of the flows that stay, and how each pair is used.
    pub in_use: Map<(Ipv6Addr, Ipv6Addr), Use>,
    /// Care-of addresses that failed as a whole, in order.
    pub failed: BTreeMap<Ipv6Addr, FailureCause>,
    /// Number of flows about which an ICMPv6 error came, and that were answered afterwards.
    pub contradicted: usize,
}

/// How the flows of a pair of client's address A and care-of address C are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// Number of flows.
    pub flows: usize,
    /// When the client last got an answer in a flow that is no longer on trial.
    pub answered: Time,
}

/// Judges all bound flows in sweeps, one after the other.
#[derive(Debug)]
pub struct Sweeper {
    pub(super) limits: Limits,
    pub(super) silent: Map<FlowKey, Silence>,
    pub(super) hinted: Map<FlowKey, Hint>,
    /// Flows that ended recently because of an ICMPv6 error alone: when each ended, and its care-of address.
    pub(super) lost: Vec<(Time, Ipv6Addr)>,
    /// Time of the next sweep that comes by itself. `None` while the result of a sweep is awaited.
    pub(super) next: Option<Time>,
    /// Time of a sweep that something calls for, and that can not be put off.
    pub(super) asked: Option<Time>,
    /// Whether the sweep that is under way is as quick as it can be.
    hurried: bool,
    /// Time of the last sweep.
    pub(super) last: Time,
}

impl Sweeper {
    /// Has seen no flow yet. A first sweep is due at once, to judge the flows that an earlier run left.
    #[must_use]
    pub fn new(limits: Limits, now: Time) -> Self {
        Self {
            limits,
            silent: Map::default(),
            hinted: Map::default(),
            lost: Vec::new(),
            next: Some(now),
            asked: None,
            hurried: false,
            last: Time::ZERO,
        }
    }

    /// Other limits, from now on.
    pub const fn set(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Time at which [`Sweeper::due`] or [`Sweeper::hurries`] has to be called.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        match self.next {
            Some(next) => earliest(Some(next), self.asked),
            None => self.asked.filter(|_| !self.hurried),
        }
    }

    /// Whether something calls for the next sweep already, so that the one that is under way must not take long. True
    /// only once in a sweep.
    pub fn hurries(&mut self, now: Time) -> bool {
        let hurries = self.next.is_none() && !self.hurried && self.is_asked(now);
        self.hurried |= hurries;
        hurries
    }

    /// Whether something calls for the sweep that is due.
    #[must_use]
    pub fn is_asked(&self, now: Time) -> bool {
        self.asked.is_some_and(|asked| asked <= now)
    }

    /// Whether a sweep is due. After it has returned true once, the sweep counts as under way.
    pub fn due(&mut self, now: Time) -> bool {
        let due = self.next.is_some() && self.deadline().is_some_and(|due| due <= now);
        if due {
            self.hurried = self.is_asked(now);
            (self.next, self.asked) = (None, None);
        }
        due
    }

    /// Notes that an ICMPv6 error says of a flow that its care-of address cannot be reached.
    pub fn hint(&mut self, now: Time) {
        self.no_later_than(now.max(self.last + LOOK));
    }

    /// Asks for a sweep at `time` at the latest. Sweeps still keep their minimum distance. The result that is awaited
    /// may know nothing of what this one is for, so it does not count.
    pub fn no_later_than(&mut self, time: Time) {
        self.asked = earliest(self.asked, Some(time.max(self.last + DISTANCE)));
    }

    /// There is no sweep before this time, unless something calls for one: an ICMPv6 error about a flow, which has to
    /// be open before TCP tries once more, or an end that somebody told.
    pub fn not_before(&mut self, time: Time) {
        self.next = self.next.map(|next| next.max(time));
    }

    /// The same while another gateway takes a snapshot of this one, for as long as the last sweep is not long ago.
    pub fn put_off(&mut self, now: Time, time: Time) {
        if now < self.last + PUT_OFF {
            self.not_before(time);
        }
    }

    /// A flow that was answered before is no longer answered. The care-of address has failed if no other flow had an
    /// answer from it within the same time; otherwise only one service hangs.
    pub(super) fn blame(&self, now: Time, flow: &Flow, end: End, heard: &Heard, sweep: &mut Sweep) {
        let care_of = Ipv6Addr::from(flow.care_of);
        let last = heard.get(&care_of).copied().unwrap_or_default();
        let silent = now.since(last) >= self.limits.failure;
        if end == End::Failed && flow.last_in != 0 && silent {
            sweep.failed.insert(care_of, FailureCause::Silence);
        }
    }

    /// Decides whether a care-of address has failed as a whole, after a flow to it has ended because of an ICMPv6
    /// error. It has failed if no flow hears the member any more, and either several flows wait for an answer or all
    /// flows that were in use do. One flow alone proves nothing about the others.
    pub(super) fn condemn(&mut self, now: Time, heard: &Heard, doubts: &Doubts, sweep: &mut Sweep) {
        let is_there = |care_of: &Ipv6Addr| {
            let last = heard.get(care_of).copied().unwrap_or_default();
            now.since(last) < THERE
        };
        self.lost
            .retain(|(at, care_of)| now.since(*at) < HINTED * 2 && !is_there(care_of));
        let before = self.lost.len();
        let by_hint = sweep.ended.iter();
        let by_hint = by_hint.filter(|(.., end)| *end == End::Unreachable);
        let lost = by_hint.map(|(_, flow, _)| (now, flow.care_of.into()));
        self.lost
            .extend(lost.filter(|(_, care_of)| !is_there(care_of)));
        let suspects: BTreeSet<Ipv6Addr> = self.lost.iter().map(|(_, care_of)| *care_of).collect();
        for care_of in suspects {
            let before = self.lost[..before].iter();
            let before = before.filter(|(_, lost)| *lost == care_of).count();
            let doubt = doubts.0.get(&care_of).copied().unwrap_or_default();
            let unanswered = before + doubt.unanswered;
            let all = unanswered >= 2 && doubt.unanswered >= doubt.used;
            if unanswered >= SEVERAL || all {
                sweep.failed.insert(care_of, FailureCause::Unreachable);
            }
        }
        let failed = &sweep.failed;
        self.lost
            .retain(|(_, care_of)| !failed.contains_key(care_of));
    }

    /// How long the member has been silent. The two times of the flow alone do not show that: in a connection that was
    /// idle for an hour, the client may just have sent, and the answer may be under way.
    pub(super) fn silence(&self, key: &FlowKey, flow: &Flow) -> Option<Silence> {
        // A flow that was never answered may not need an answer. A TCP host always answers.
        let answers = flow.last_in != 0 || key.protocol == ipv6::NEXT_HEADER_TCP;
        let last_out = Time::from_nanos(flow.last_out);
        if !answers || last_out.since(heard_at(flow)) <= ACK_DELAY {
            return None;
        }
        let known = self.silent.get(key);
        let same = known.filter(|silence| silence.last_in == flow.last_in);
        Some(same.copied().unwrap_or(Silence {
            since: last_out,
            last_in: flow.last_in,
        }))
    }

    /// What the client sent since an ICMPv6 error about the flow came. `None` if a packet of the member contradicts the
    /// error.
    pub(super) fn hinted(&self, key: &FlowKey, flow: &Flow) -> Option<Hint> {
        let answers = flow.last_in != 0 || key.protocol == ipv6::NEXT_HEADER_TCP;
        let doubted = flow.unreachable_at != 0 && flow.last_in <= flow.unreachable_at;
        if !(answers && doubted && flow.last_out > flow.last_in) {
            return None;
        }
        let last_out = Time::from_nanos(flow.last_out);
        let fresh = Hint {
            since: last_out,
            last_out,
            last_in: flow.last_in,
        };
        let known = self.hinted.get(key);
        let Some(known) = known.filter(|known| known.last_in == flow.last_in) else {
            return Some(fresh);
        };
        // The acknowledgement that ends an exchange gets no answer. A packet that follows it much later begins a new
        // exchange.
        let may_be_an_acknowledgement = known.last_out.since(heard_at(flow)) <= ACK_DELAY;
        let most = if may_be_an_acknowledgement {
            PAUSE
        } else {
            HINTED
        };
        let goes_on = last_out.since(known.last_out) <= most;
        Some(if goes_on {
            Hint { last_out, ..*known }
        } else {
            fresh
        })
    }

    /// Whether the flow was answered after an ICMPv6 error about it.
    pub(super) fn contradicted(&self, key: &FlowKey, flow: &Flow) -> bool {
        let known = self.hinted.get(key);
        known.is_some_and(|known| flow.last_in > known.last_in)
    }

    pub(super) fn end(
        &self,
        now: Time,
        key: &FlowKey,
        flow: &Flow,
        silence: Option<Silence>,
        hint: Option<Hint>,
    ) -> Option<End> {
        let last = flow.last_out.max(flow.last_in).max(flow.pinned_at);
        let idle = now.since(Time::from_nanos(last));
        if flow.client_closed & flow.member_closed != 0 && idle >= self.limits.closed {
            return Some(End::Closed);
        }
        let limit = match flow.last_in {
            0 => self.limits.unanswered(key.protocol),
            _ => self.limits.idle(key.protocol),
        };
        if idle >= limit {
            return Some(End::Idle);
        }
        if hint.is_some_and(|hint| hint.is_over(now, key, flow)) {
            return Some(End::Unreachable);
        }
        // The flow counts as failed only when the client tried again and waited again, since one packet without an
        // answer proves nothing.
        let silence = silence?;
        (silence.tried_again(flow) && now.since(silence.since) >= self.limits.failure)
            .then_some(End::Failed)
    }
}

impl From<FailureCause> for End {
    fn from(cause: FailureCause) -> Self {
        match cause {
            FailureCause::Unreachable => Self::Unreachable,
            FailureCause::Silence => Self::Failed,
        }
    }
}
