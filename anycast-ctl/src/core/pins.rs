//! When a flow that is pinned to a care-of address has ended.
//!
//! The data plane pins flows and notes when each side was last heard; it does not end them. A sweep
//! looks at all of them from time to time and says which are over: idle, closed, or answered no
//! more, in which case the packets take the anycast route again.

use std::{
    collections::{HashMap, HashSet},
    net::Ipv6Addr,
    time::Duration,
};

use anycast_common::{
    abi::maps::{Flow, FlowKey, MemberFlow},
    wire::ipv6,
};

use super::Time;

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
    fn idle(&self, protocol: u8) -> Duration {
        match protocol {
            ipv6::NEXT_HEADER_TCP => self.tcp,
            ipv6::NEXT_HEADER_UDP => self.udp,
            ipv6::NEXT_HEADER_ICMPV6 => self.icmp,
            _ => self.other,
        }
    }
}

/// Whether a flow that came to a member by its care-of address still does: a session that a drain
/// waits for.
#[must_use]
pub fn goes_on(limits: &Limits, now: Time, key: &FlowKey, flow: &MemberFlow) -> bool {
    let closed = flow.client_closed != 0 && flow.member_closed != 0;
    // The correspondent has lost its pin, and has not steered the flow here again.
    let returned = flow.by_anycast != 0 && now >= Time::from_nanos(flow.settles_at);
    let idle = now.since(Time::from_nanos(flow.last_in));
    !closed && !returned && idle < limits.idle(key.protocol)
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
}

/// What a sweep found.
#[derive(Debug, Default)]
pub struct Sweep {
    /// Pins to remove.
    pub ended: Vec<(FlowKey, End)>,
    /// (A, C) of those that stay.
    pub pinned: HashSet<(Ipv6Addr, Ipv6Addr)>,
}

/// A flow whose client was heard after its member.
#[derive(Clone, Copy, Debug)]
struct Silence {
    /// The sweep that saw it first.
    since: Time,
    /// What the member had sent by then.
    last_in: u64,
    /// What the client had sent by then.
    last_out: u64,
}

/// Judges pins, sweep after sweep.
#[derive(Debug)]
pub struct Pins {
    limits: Limits,
    silent: HashMap<FlowKey, Silence>,
}

impl Pins {
    /// Nothing was seen yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            silent: HashMap::new(),
        }
    }

    /// Judges all pins that stand now.
    pub fn sweep(&mut self, now: Time, flows: &[(FlowKey, Flow)]) -> Sweep {
        let mut sweep = Sweep::default();
        // Built anew each time, so that it never remembers a flow that is gone.
        let mut silent = HashMap::new();
        for (key, flow) in flows {
            let silence = self.silence(now, key, flow);
            if let Some(end) = self.end(now, key, flow, silence) {
                sweep.ended.push((*key, end));
                continue;
            }
            if let Some(silence) = silence {
                silent.insert(*key, silence);
            }
            sweep
                .pinned
                .insert((key.client.into(), flow.care_of.into()));
        }
        self.silent = silent;
        sweep
    }

    /// How long the member has been silent. The two times of the flow alone do not tell: a
    /// connection that was idle for an hour has just sent, and its answer is under way.
    fn silence(&self, now: Time, key: &FlowKey, flow: &Flow) -> Option<Silence> {
        // Where no answer was ever seen, none may be due; but TCP always answers.
        let answers = flow.last_in != 0 || key.protocol == ipv6::NEXT_HEADER_TCP;
        if !answers || flow.last_out <= flow.last_in {
            return None;
        }
        let known = self.silent.get(key);
        let same = known.filter(|silence| silence.last_in == flow.last_in);
        Some(same.copied().unwrap_or(Silence {
            since: now,
            last_in: flow.last_in,
            last_out: flow.last_out,
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
        // The client tried again and waited again: one packet without an answer proves nothing.
        let silence = silence?;
        let tried_again = flow.last_out > silence.last_out;
        (tried_again && now.since(silence.since) >= self.limits.failure).then_some(End::Failed)
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros as _;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn key(protocol: u8) -> FlowKey {
        FlowKey {
            client: [1; 16],
            anycast: [2; 16],
            client_port: [0, 1],
            service_port: [0, 2],
            protocol,
            reserved: [0; 3],
        }
    }

    fn flow(last_out: u64, last_in: u64) -> Flow {
        Flow {
            care_of: [3; 16],
            pinned_at: SECOND,
            last_out: last_out * SECOND,
            last_in: last_in * SECOND,
            delta: 0,
            client_closed: 0,
            member_closed: 0,
            reserved: [0; 4],
            unreachable_at: 0,
        }
    }

    fn at(second: u64) -> Time {
        Time::from_nanos(second * SECOND)
    }

    fn ends(pins: &mut Pins, now: u64, protocol: u8, flow: Flow) -> Option<End> {
        let sweep = pins.sweep(at(now), &[(key(protocol), flow)]);
        assert_eq!(sweep.pinned.len(), usize::from(sweep.ended.is_empty()));
        sweep.ended.first().map(|(_, end)| *end)
    }

    #[test]
    fn idle_times_differ_by_protocol() {
        let mut pins = Pins::new(Limits::default());
        for (protocol, limit) in [(6, 7440), (17, 300), (58, 60), (132, 600)] {
            assert_eq!(ends(&mut pins, 99 + limit, protocol, flow(100, 100)), None);
            assert_eq!(
                ends(&mut pins, 100 + limit, protocol, flow(100, 100)),
                Some(End::Idle)
            );
        }
    }

    #[test]
    fn a_connection_that_both_ends_closed_goes_early() {
        let mut pins = Pins::new(Limits::default());
        let mut closed = flow(100, 100);
        closed.client_closed = 1;
        assert_eq!(ends(&mut pins, 161, 6, closed), None);
        closed.member_closed = 1;
        assert_eq!(ends(&mut pins, 159, 6, closed), None);
        assert_eq!(ends(&mut pins, 160, 6, closed), Some(End::Closed));
    }

    #[test]
    fn one_packet_after_a_long_silence_is_not_a_failure() {
        let mut pins = Pins::new(Limits::default());
        assert_eq!(ends(&mut pins, 4000, 6, flow(4000, 100)), None);
        assert_eq!(ends(&mut pins, 4100, 6, flow(4000, 100)), None);
        assert_eq!(ends(&mut pins, 4110, 6, flow(4000, 4101)), None);
    }

    #[test]
    fn retries_without_an_answer_are_a_failure() {
        let mut pins = Pins::new(Limits::default());
        assert_eq!(ends(&mut pins, 200, 6, flow(199, 190)), None);
        assert_eq!(ends(&mut pins, 210, 6, flow(205, 190)), None);
        assert_eq!(ends(&mut pins, 229, 6, flow(220, 190)), None);
        assert_eq!(ends(&mut pins, 230, 6, flow(220, 190)), Some(End::Failed));
    }

    #[test]
    fn an_answer_begins_the_count_anew() {
        let mut pins = Pins::new(Limits::default());
        assert_eq!(ends(&mut pins, 200, 17, flow(199, 190)), None);
        assert_eq!(ends(&mut pins, 225, 17, flow(224, 220)), None);
        assert_eq!(ends(&mut pins, 240, 17, flow(239, 220)), None);
        assert_eq!(ends(&mut pins, 255, 17, flow(254, 220)), Some(End::Failed));
    }

    #[test]
    fn udp_that_was_never_answered_is_left_alone() {
        let mut pins = Pins::new(Limits::default());
        for second in (100..400).step_by(10) {
            assert_eq!(ends(&mut pins, second, 17, flow(second, 0)), None);
        }
        assert_eq!(ends(&mut pins, 100, 6, flow(99, 0)), None);
        assert_eq!(ends(&mut pins, 130, 6, flow(129, 0)), Some(End::Failed));
    }

    #[test]
    fn a_session_goes_on_until_it_is_closed_idle_or_gone_back() {
        let limits = Limits::default();
        let now = Time::from_nanos(1_000_000_000_000_000);
        let ago = |seconds: u64| now.as_nanos() - seconds * 1_000_000_000;
        let tcp = ipv6::NEXT_HEADER_TCP;
        let rows = [
            ("fresh", tcp, ago(0), (0, 0), 0, 0, true),
            ("TCP idle for two hours", tcp, ago(7200), (0, 0), 0, 0, true),
            ("TCP idle for longer", tcp, ago(7440), (0, 0), 0, 0, false),
            ("UDP", ipv6::NEXT_HEADER_UDP, ago(299), (0, 0), 0, 0, true),
            (
                "UDP idle",
                ipv6::NEXT_HEADER_UDP,
                ago(300),
                (0, 0),
                0,
                0,
                false,
            ),
            ("half closed", tcp, ago(1), (1, 0), 0, 0, true),
            ("half closed by us", tcp, ago(1), (0, 1), 0, 0, true),
            ("closed", tcp, ago(0), (1, 1), 0, 0, false),
            (
                "gone back, a moment ago",
                tcp,
                ago(1),
                (0, 0),
                1,
                now.as_nanos() + 1,
                true,
            ),
            ("gone back", tcp, ago(1), (0, 0), 1, now.as_nanos(), false),
        ];
        for (
            name,
            protocol,
            last_in,
            (client_closed, member_closed),
            by_anycast,
            settles_at,
            expected,
        ) in rows
        {
            let key = FlowKey {
                protocol,
                ..FlowKey::new_zeroed()
            };
            let flow = MemberFlow {
                last_in,
                client_closed,
                member_closed,
                by_anycast,
                settles_at,
                ..MemberFlow::new_zeroed()
            };
            assert_eq!(goes_on(&limits, now, &key, &flow), expected, "{name}");
        }
    }
}
