//! Decides when a flow that is pinned to a care-of address has ended.
//!
//! The data plane pins flows and notes when each side was last heard, but it does not end them. From time to time a
//! sweep looks at all pinned flows and says which of them are over: they are idle, both ends have closed them, or the
//! member no longer answers. The packets of a flow that is no longer pinned take the anycast route again. A sweep also
//! says which care-of addresses have failed, with all flows that are pinned to them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::Ipv6Addr,
    time::Duration,
};

use anycast_common::{
    abi::maps::{Flow, FlowKey, MemberFlow, stage, state, unattended},
    wire::ipv6,
};

use super::{Time, notice::FailureCause, time::earliest};

/// How long a flow may wait for an answer after an ICMPv6 error about it, which is shorter than the usual wait. Anybody
/// can send such an error, so that it alone proves nothing. Where it is true, TCP has retransmitted by then, after 0.2,
/// 0.6 and 1.4 seconds, and the pin has to be removed before the next retransmission after 3.0 seconds.
const HINTED: Duration = Duration::from_millis(2500);
/// TCP acknowledges data within half a second (RFC 9293 section 3.8.6.3). Where the client had already waited when the
/// error came, for example because a router first tried to resolve an address, this shorter time is enough.
const ACKNOWLEDGED: Duration = Duration::from_millis(1500);
/// A member that was heard within this time can be reached. The time is shorter than [`HINTED`], because answers may
/// have been under way when a care-of address failed, and because the times of flows are inexact.
const THERE: Duration = Duration::from_secs(2);
/// Time between two sweeps while a flow waits for an answer after an ICMPv6 error, which is short enough to tell a
/// retransmission from a new packet.
const LOOK: Duration = Duration::from_millis(500);
/// A packet that the client sends this long after a possible mere acknowledgement begins a new exchange.
const PAUSE: Duration = Duration::from_secs(1);
/// Number of ticks of [`unattended::tick`], each a little longer than a second. More than two ticks are about
/// [`HINTED`].
const LONG_SINCE: u32 = 2;
/// Number of unanswered flows from which on their care-of address has failed, rather than single flows.
const SEVERAL: usize = 3;
/// Idle time after which a flow that was never answered is over: the connection was never established (RFC 5382 REQ-5).
const TRANSITORY: Duration = Duration::from_secs(240);
/// Shortest time between two sweeps, since each of them reads a whole map.
const DISTANCE: Duration = Duration::from_millis(100);
/// A packet that the client sends within this time of the member's answer may be a mere acknowledgement (RFC 9293
/// section 3.8.6.3), to which no answer is due. The time is half a second, plus the time by which the stored times of a
/// flow may lag.
const ACK_DELAY: Duration = Duration::from_nanos(500_000_000 + Flow::TIMES_LAG);
/// Longest time between two sweeps.
const REGULAR: Duration = Duration::from_secs(10);

/// How long the pin of a flow stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Idle time of a TCP connection. It is longer than the two hours after which hosts send keepalives (RFC 5382 REQ-5
    /// has this bound for the same reason).
    pub tcp: Duration,
    /// Idle time of a UDP flow (RFC 4787 REQ-5).
    pub udp: Duration,
    /// Idle time of an ICMPv6 echo flow.
    pub icmp: Duration,
    /// Idle time of a flow of another protocol.
    pub other: Duration,
    /// Time after which a TCP connection that both ends have closed is forgotten.
    pub closed: Duration,
    /// Time for which the client keeps sending and a member that answered before does not answer, until the member
    /// counts as failed.
    pub failure: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tcp: Duration::from_secs(2 * 3600 + 240),
            udp: Duration::from_secs(300),
            icmp: Duration::from_secs(60),
            other: Duration::from_secs(600),
            closed: Duration::from_secs(60),
            failure: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// Time between two sweeps. It is short enough to detect a failure soon after the failure time.
    fn interval(&self) -> Duration {
        REGULAR.min(self.failure / 4).max(DISTANCE)
    }

    fn idle(&self, protocol: u8) -> Duration {
        match protocol {
            ipv6::NEXT_HEADER_TCP => self.tcp,
            ipv6::NEXT_HEADER_UDP => self.udp,
            ipv6::NEXT_HEADER_ICMPV6 => self.icmp,
            _ => self.other,
        }
    }

    /// Idle time of a flow of this protocol that was never answered.
    fn unanswered(&self, protocol: u8) -> Duration {
        self.idle(protocol).min(TRANSITORY)
    }
}

/// How long a drain waits for a client that sent one request, was answered, and may send another.
const ONE_ANSWER: Duration = Duration::from_secs(10);

/// Whether a flow of a member is a session that a drain waits for. Such a flow comes by the care-of address, so that it
/// stays with this member when the route moves; the client continued after the member's answer; and at least one end
/// has not closed it.
#[must_use]
pub fn goes_on(limits: &Limits, now: Time, key: &FlowKey, flow: &MemberFlow) -> bool {
    // The flow comes by the anycast address again, so the correspondent has lost its pin and has not pinned it anew.
    let returned = flow.by_anycast != 0 && now >= Time::from_nanos(flow.settles_at);
    let comes = flow.care_of != [0; 16] && !returned;
    let answered = flow.stage == stage::ANSWERED && key.protocol != ipv6::NEXT_HEADER_TCP;
    let most = match flow.stage {
        stage::GOES_ON => limits.idle(key.protocol),
        _ if answered => ONE_ANSWER,
        // The connection is half open, or was never answered.
        _ => return false,
    };
    let idle = now.since(Time::from_nanos(flow.last_in));
    comes && !flow.is_closed() && idle < most
}

/// Why the pin of a flow ends.
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
    /// Pins to remove.
    pub ended: Vec<(FlowKey, Flow, End)>,
    /// The pairs of client's address A and care-of address C of the pins that stay, and how each pair is used.
    pub pinned: HashMap<(Ipv6Addr, Ipv6Addr), Use>,
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

/// A flow whose client sent a packet after the last packet of its member.
#[derive(Clone, Copy, Debug)]
struct Silence {
    /// Time of the client's last packet when a sweep first saw the silence.
    since: Time,
    /// Time of the member's last packet, in nanoseconds.
    last_in: u64,
}

/// A flow that waits for an answer after an ICMPv6 error about it.
#[derive(Clone, Copy, Debug)]
struct Hint {
    /// Time of the first packet of the client without an answer.
    since: Time,
    /// Time of the client's last packet, as a sweep saw it.
    last_out: Time,
    /// Time of the member's last packet, in nanoseconds.
    last_in: u64,
}

impl Hint {
    /// Whether the client has tried again and has waited long enough.
    fn is_over(&self, now: Time, key: &FlowKey, flow: &Flow) -> bool {
        let waited = now.since(self.since);
        let tried_again = self.last_out > self.since;
        let asks = self.last_out.since(heard_at(flow)) > ACK_DELAY;
        let asked = unattended::tick(now.as_nanos()).wrapping_sub(flow.asked_at);
        let long_since = asked > LONG_SINCE && key.protocol == ipv6::NEXT_HEADER_TCP;
        tried_again && waited >= HINTED || long_since && asks && waited >= ACKNOWLEDGED
    }
}

/// Judges all pinned flows in sweeps, one after the other.
#[derive(Debug)]
pub struct Pins {
    limits: Limits,
    silent: HashMap<FlowKey, Silence>,
    hinted: HashMap<FlowKey, Hint>,
    /// Flows that ended recently because of an ICMPv6 error alone: when each ended, and its care-of address.
    lost: Vec<(Time, Ipv6Addr)>,
    /// Time of the next sweep. `None` while the result of a sweep is awaited.
    next: Option<Time>,
    /// Time of the last sweep.
    last: Time,
}

impl Pins {
    /// Has seen no flow yet. A first sweep is due at once, to judge the pins that an earlier run left.
    #[must_use]
    pub fn new(limits: Limits, now: Time) -> Self {
        Self {
            limits,
            silent: HashMap::new(),
            hinted: HashMap::new(),
            lost: Vec::new(),
            next: Some(now),
            last: Time::ZERO,
        }
    }

    /// Time at which [`Pins::due`] has to be called.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.next
    }

    /// Whether a sweep is due. After it has returned true once, the sweep counts as under way.
    pub fn due(&mut self, now: Time) -> bool {
        self.next.take_if(|next| *next <= now).is_some()
    }

    /// Notes that an ICMPv6 error says of a flow that its care-of address cannot be reached.
    pub fn hint(&mut self, now: Time) {
        self.no_later_than(now.max(self.last + LOOK));
    }

    /// Asks for a sweep at `time` at the latest. Sweeps still keep their minimum distance.
    pub fn no_later_than(&mut self, time: Time) {
        if let Some(next) = &mut self.next {
            *next = (*next).min(time.max(self.last + DISTANCE));
        }
    }

    /// Judges all flows that are pinned now.
    pub fn sweep(&mut self, now: Time, flows: &[(FlowKey, Flow)]) -> Sweep {
        let mut sweep = Sweep::default();
        let heard = heard(flows);
        // The tables are built anew in each sweep, so that they never keep a flow that is gone.
        let (mut silent, mut hinted) = (HashMap::new(), HashMap::new());
        let mut stay = Vec::new();
        let mut doubts = Doubts::default();
        let mut due = None;
        for (key, flow) in flows {
            if flow.state == state::OPEN {
                continue;
            }
            let silence = self.silence(key, flow);
            let hint = self.hinted(key, flow);
            sweep.contradicted += usize::from(self.contradicted(key, flow));
            let over = hint.is_some_and(|hint| hint.is_over(now, key, flow));
            doubts.count(now, flow, silence, over);
            if let Some(end) = self.end(now, key, flow, silence, hint) {
                self.blame(now, flow, end, &heard, &mut sweep);
                sweep.ended.push((*key, *flow, end));
                continue;
            }
            if let Some(hint) = hint {
                hinted.insert(*key, hint);
                for wait in [ACKNOWLEDGED, HINTED] {
                    let over = Some(hint.since + wait).filter(|over| *over > now);
                    due = earliest(due, over);
                }
                due = earliest(due, Some(now + LOOK));
            }
            if let Some(silence) = silence {
                silent.insert(*key, silence);
                let over = silence.since + self.limits.failure;
                due = earliest(due, Some(over).filter(|over| *over > now));
            }
            stay.push((key, flow));
        }
        (self.silent, self.hinted) = (silent, hinted);
        self.condemn(now, &heard, &doubts, &mut sweep);
        if !self.lost.is_empty() {
            due = earliest(due, Some(now + LOOK));
        }
        for (key, flow) in stay {
            let care_of = flow.care_of.into();
            match sweep.failed.get(&care_of) {
                Some(cause) => sweep.ended.push((*key, *flow, (*cause).into())),
                None => {
                    let used = sweep.pinned.entry((key.client.into(), care_of));
                    let used = used.or_default();
                    used.flows += 1;
                    if flow.answered != 0 {
                        used.answered = used.answered.max(Time::from_nanos(flow.last_in));
                    }
                }
            }
        }
        self.last = now;
        self.next = Some(now + self.limits.interval());
        if let Some(due) = due {
            self.no_later_than(due);
        }
        sweep
    }

    /// A flow that was answered before is no longer answered. The care-of address has failed if no other flow had an
    /// answer from it within the same time; otherwise only one service hangs.
    fn blame(&self, now: Time, flow: &Flow, end: End, heard: &Heard, sweep: &mut Sweep) {
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
    fn condemn(&mut self, now: Time, heard: &Heard, doubts: &Doubts, sweep: &mut Sweep) {
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
    fn silence(&self, key: &FlowKey, flow: &Flow) -> Option<Silence> {
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
    fn hinted(&self, key: &FlowKey, flow: &Flow) -> Option<Hint> {
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
    fn contradicted(&self, key: &FlowKey, flow: &Flow) -> bool {
        let known = self.hinted.get(key);
        known.is_some_and(|known| flow.last_in > known.last_in)
    }

    fn end(
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

impl Silence {
    fn tried_again(&self, flow: &Flow) -> bool {
        flow.last_out > self.since.as_nanos()
    }
}

/// How many flows to a care-of address were used recently, and how many of these were not answered.
#[derive(Clone, Copy, Debug, Default)]
struct Doubt {
    used: usize,
    unanswered: usize,
}

#[derive(Debug, Default)]
struct Doubts(HashMap<Ipv6Addr, Doubt>);

impl Doubts {
    fn count(&mut self, now: Time, flow: &Flow, silence: Option<Silence>, over: bool) {
        let waits = silence
            .is_some_and(|silence| silence.tried_again(flow) && now.since(silence.since) >= HINTED);
        let unanswered = waits || over;
        if unanswered || now.since(Time::from_nanos(flow.last_out)) < HINTED {
            let doubt = self.0.entry(flow.care_of.into()).or_default();
            doubt.used += 1;
            doubt.unanswered += usize::from(unanswered);
        }
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

/// When the member of the flow was last heard, or when the flow began if it never was.
fn heard_at(flow: &Flow) -> Time {
    Time::from_nanos(flow.last_in.max(flow.pinned_at))
}

/// When each care-of address was last heard, by any flow.
type Heard = HashMap<Ipv6Addr, Time>;

fn heard(flows: &[(FlowKey, Flow)]) -> Heard {
    let mut heard = Heard::new();
    for (_, flow) in flows {
        let last = heard.entry(flow.care_of.into()).or_default();
        *last = (*last).max(Time::from_nanos(flow.last_in));
    }
    heard
}

#[cfg(test)]
mod hints;
#[cfg(test)]
mod tests;
