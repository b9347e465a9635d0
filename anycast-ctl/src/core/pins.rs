//! When a flow that is pinned to a care-of address has ended.
//!
//! The data plane pins flows and notes when each side was last heard; it does not end them. A sweep
//! looks at all of them from time to time and says which are over: idle, closed, or answered no
//! more, in which case the packets take the anycast route again. It says too which care-of addresses
//! have failed, with all that is pinned to them.

use std::{
    collections::{BTreeMap, HashMap},
    net::Ipv6Addr,
    time::Duration,
};

use anycast_common::{
    abi::maps::{Flow, FlowKey, MemberFlow, stage},
    wire::ipv6,
};

use super::{Time, notice::FailureCause, time::earliest};

/// An error that says of a care-of address that it cannot be reached is believed when nothing is
/// heard from there for so long. Who forges one while sessions are in use achieves nothing.
const CONFIRM: Duration = Duration::from_millis(100);
/// What a client sends so soon after an answer may be its mere acknowledgement (RFC 9293 section
/// 3.8.6.3), which waits for nothing: half a second, and what the times of a flow may lag.
const ACK_DELAY: Duration = Duration::from_nanos(500_000_000 + Flow::TIMES_LAG);
/// Sweeps are at most so far apart.
const REGULAR: Duration = Duration::from_secs(10);

/// How long a pin stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Idle TCP connection. Longer than the two hours after which hosts send keepalives (RFC 5382
    /// REQ-5 has the same bound for the same reason).
    pub tcp: Duration,
    /// Idle UDP flow (RFC 4787 REQ-5).
    pub udp: Duration,
    /// Idle ICMPv6 echo flow.
    pub icmp: Duration,
    /// Idle flow of another protocol.
    pub other: Duration,
    /// TCP connection that both ends closed.
    pub closed: Duration,
    /// The client keeps sending and the member, which answered before, does not.
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
    /// Time from sweep to sweep: a failure is seen within its time and not much later.
    fn interval(&self) -> Duration {
        REGULAR.min(self.failure / 4).max(CONFIRM)
    }

    fn idle(&self, protocol: u8) -> Duration {
        match protocol {
            ipv6::NEXT_HEADER_TCP => self.tcp,
            ipv6::NEXT_HEADER_UDP => self.udp,
            ipv6::NEXT_HEADER_ICMPV6 => self.icmp,
            _ => self.other,
        }
    }
}

/// How long a drain waits for a client that asked once, was answered and may ask again.
const ONE_ANSWER: Duration = Duration::from_secs(10);

/// Whether a flow of a member is a session that a drain waits for: it comes by the care-of address, so that it stays
/// when the route moves, the client went on after the member's answer, and not both have closed it.
#[must_use]
pub fn goes_on(limits: &Limits, now: Time, key: &FlowKey, flow: &MemberFlow) -> bool {
    // The correspondent has lost its pin, and has not steered the flow here again.
    let returned = flow.by_anycast != 0 && now >= Time::from_nanos(flow.settles_at);
    let comes = flow.care_of != [0; 16] && !returned;
    let answered = flow.stage == stage::ANSWERED && key.protocol != ipv6::NEXT_HEADER_TCP;
    let most = match flow.stage {
        stage::GOES_ON => limits.idle(key.protocol),
        _ if answered => ONE_ANSWER,
        // Half open, or never answered.
        _ => return false,
    };
    let idle = now.since(Time::from_nanos(flow.last_in));
    comes && !flow.is_closed() && idle < most
}

/// Why a pin is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing was sent for the idle time of its protocol.
    Idle,
    /// Both ends closed the connection.
    Closed,
    /// The member does not answer any more.
    Failed,
    /// An ICMPv6 error says that the member cannot be reached, and nothing came from it since.
    Unreachable,
}

/// What a sweep found.
#[derive(Debug, Default)]
pub struct Sweep {
    /// Pins to remove.
    pub ended: Vec<(FlowKey, Flow, End)>,
    /// (A, C) of those that stay, and how many have it.
    pub pinned: HashMap<(Ipv6Addr, Ipv6Addr), usize>,
    /// Care-of addresses that failed as a whole, in order.
    pub failed: BTreeMap<Ipv6Addr, FailureCause>,
    /// How many were said to be unreachable, and have been heard since.
    pub contradicted: usize,
}

/// A flow whose client was heard after its member.
#[derive(Clone, Copy, Debug)]
struct Silence {
    /// The client's last packet when a sweep saw it first.
    since: Time,
    /// The member's.
    last_in: u64,
}

/// Judges pins, sweep after sweep.
#[derive(Debug)]
pub struct Pins {
    limits: Limits,
    silent: HashMap<FlowKey, Silence>,
    /// Care-of addresses that an error called unreachable, and when.
    suspects: BTreeMap<Ipv6Addr, Time>,
    /// When the next sweep is due; none while one is awaited.
    next: Option<Time>,
    /// When the last was.
    last: Time,
}

impl Pins {
    /// Nothing was seen yet; what an earlier run left is looked at first of all.
    #[must_use]
    pub fn new(limits: Limits, now: Time) -> Self {
        Self {
            limits,
            silent: HashMap::new(),
            suspects: BTreeMap::new(),
            next: Some(now),
            last: Time::ZERO,
        }
    }

    /// When [`Pins::due`] has something to say.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.next
    }

    /// Whether a sweep is due: once, for it is then awaited.
    pub fn due(&mut self, now: Time) -> bool {
        self.next.take_if(|next| *next <= now).is_some()
    }

    /// An ICMPv6 error says that this care-of address cannot be reached.
    pub fn suspect(&mut self, now: Time, care_of: Ipv6Addr) {
        let since = *self.suspects.entry(care_of).or_insert(now);
        self.no_later_than(since + CONFIRM);
    }

    /// The member at this care-of address has proved that it is there.
    pub fn acquit(&mut self, care_of: Ipv6Addr) {
        self.suspects.remove(&care_of);
    }

    /// A sweep is wanted at this time, though sweeps keep a distance: each goes through a whole map.
    pub fn no_later_than(&mut self, time: Time) {
        if let Some(next) = &mut self.next {
            *next = (*next).min(time.max(self.last + CONFIRM));
        }
    }

    /// Judges all pins that stand now.
    pub fn sweep(&mut self, now: Time, flows: &[(FlowKey, Flow)]) -> Sweep {
        let mut sweep = Sweep::default();
        let heard = heard(flows);
        // Built anew each time, so that it never remembers a flow that is gone.
        let mut silent = HashMap::new();
        let mut stay = Vec::new();
        let mut due = None;
        for (key, flow) in flows {
            let silence = self.silence(key, flow);
            if let Some(end) = self.end(now, key, flow, silence) {
                self.blame(now, flow, end, &heard, &mut sweep);
                sweep.ended.push((*key, *flow, end));
                continue;
            }
            due = earliest(due, doubted(flow).map(|since| since + CONFIRM));
            if let Some(silence) = silence {
                silent.insert(*key, silence);
                let over = silence.since + self.limits.failure;
                due = earliest(due, Some(over).filter(|over| *over > now));
            }
            stay.push((key, flow));
        }
        self.silent = silent;
        self.confirm(now, &heard, &mut sweep);
        for (key, flow) in stay {
            let care_of = flow.care_of.into();
            match sweep.failed.get(&care_of) {
                Some(cause) => sweep.ended.push((*key, *flow, (*cause).into())),
                None => {
                    *sweep
                        .pinned
                        .entry((key.client.into(), care_of))
                        .or_default() += 1
                }
            }
        }
        self.last = now;
        self.next = Some(now + self.limits.interval());
        let suspects = self.suspects.values();
        let confirmed = suspects.map(|since| *since + CONFIRM).min();
        if let Some(due) = earliest(due, confirmed) {
            self.no_later_than(due);
        }
        sweep
    }

    /// A flow that was answered is not answered any more: its care-of address has failed if nobody
    /// else had an answer from there within the same time. Otherwise it is one service that is stuck.
    fn blame(&self, now: Time, flow: &Flow, end: End, heard: &Heard, sweep: &mut Sweep) {
        let care_of = Ipv6Addr::from(flow.care_of);
        let last = heard.get(&care_of).copied().unwrap_or_default();
        let silent = now.since(last) >= self.limits.failure;
        if end == End::Failed && flow.last_in != 0 && silent {
            sweep.failed.insert(care_of, FailureCause::Silence);
        }
    }

    /// Suspects that nobody has heard since have failed.
    fn confirm(&mut self, now: Time, heard: &Heard, sweep: &mut Sweep) {
        self.suspects.retain(|care_of, since| {
            if heard.get(care_of).is_some_and(|last| *last > *since) {
                sweep.contradicted += 1;
                return false;
            }
            let confirmed = now.since(*since) >= CONFIRM;
            if confirmed {
                sweep.failed.insert(*care_of, FailureCause::Unreachable);
            }
            !confirmed
        });
    }

    /// How long the member has been silent. The two times of the flow alone do not tell: a
    /// connection that was idle for an hour has just sent, and its answer is under way.
    fn silence(&self, key: &FlowKey, flow: &Flow) -> Option<Silence> {
        // Where no answer was ever seen, none may be due; but TCP always answers.
        let answers = flow.last_in != 0 || key.protocol == ipv6::NEXT_HEADER_TCP;
        let heard = Time::from_nanos(flow.last_in.max(flow.pinned_at));
        let last_out = Time::from_nanos(flow.last_out);
        if !answers || last_out.since(heard) <= ACK_DELAY {
            return None;
        }
        let known = self.silent.get(key);
        let same = known.filter(|silence| silence.last_in == flow.last_in);
        Some(same.copied().unwrap_or(Silence {
            since: last_out,
            last_in: flow.last_in,
        }))
    }

    fn end(&self, now: Time, key: &FlowKey, flow: &Flow, silence: Option<Silence>) -> Option<End> {
        let last = flow.last_out.max(flow.last_in).max(flow.pinned_at);
        let idle = now.since(Time::from_nanos(last));
        if flow.client_closed & flow.member_closed != 0 && idle >= self.limits.closed {
            return Some(End::Closed);
        }
        if idle >= self.limits.idle(key.protocol) {
            return Some(End::Idle);
        }
        if doubted(flow).is_some_and(|since| now.since(since) >= CONFIRM) {
            return Some(End::Unreachable);
        }
        // The client tried again and waited again: one packet without an answer proves nothing.
        let silence = silence?;
        let tried_again = flow.last_out > silence.since.as_nanos();
        (tried_again && now.since(silence.since) >= self.limits.failure).then_some(End::Failed)
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

/// Since when an error stands that nothing from the member has contradicted.
fn doubted(flow: &Flow) -> Option<Time> {
    let doubted = flow.unreachable_at != 0 && flow.last_in <= flow.unreachable_at;
    doubted.then(|| Time::from_nanos(flow.unreachable_at))
}

#[cfg(test)]
mod tests;
