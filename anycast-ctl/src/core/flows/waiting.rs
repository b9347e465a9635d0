//! Flows that wait for an answer of their member, and when each member was last heard.

use std::{net::Ipv6Addr, time::Duration};

use anycast_common::{
    abi::maps::{Flow, FlowKey, unattended},
    wire::ipv6,
};

use crate::core::{Time, hash::Map};

/// How long a flow may wait for an answer after an ICMPv6 error about it, which is shorter than the usual wait. Anybody
/// can send such an error, so that it alone proves nothing. Where it is true, TCP has retransmitted by then, after 0.2,
/// 0.6 and 1.4 seconds, and the flow has to be open before the next retransmission after 3.0 seconds.
pub(super) const HINTED: Duration = Duration::from_millis(2500);
/// TCP acknowledges data within half a second (RFC 9293 section 3.8.6.3). Where the client had already waited when the
/// error came, for example because a router first tried to resolve an address, this shorter time is enough.
pub(super) const ACKNOWLEDGED: Duration = Duration::from_millis(1500);
/// Number of ticks of [`unattended::tick`], each a little longer than a second. More than two ticks are about
/// [`HINTED`].
const LONG_SINCE: u32 = 2;
/// A packet that the client sends within this time of the member's answer may be a mere acknowledgement (RFC 9293
/// section 3.8.6.3), to which no answer is due. The time is half a second, plus the time by which the stored times of a
/// flow may lag.
pub(super) const ACK_DELAY: Duration = Duration::from_nanos(500_000_000 + Flow::TIMES_LAG);

/// A flow whose client sent a packet after the last packet of its member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    /// Time of the client's last packet when a sweep first saw the silence.
    pub(super) since: Time,
    /// Time of the member's last packet, in nanoseconds.
    pub(super) last_in: u64,
}

/// A flow that waits for an answer after an ICMPv6 error about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hint {
    /// Time of the first packet of the client without an answer.
    pub(super) since: Time,
    /// Time of the client's last packet, as a sweep saw it.
    pub(super) last_out: Time,
    /// Time of the member's last packet, in nanoseconds.
    pub(super) last_in: u64,
}

impl Hint {
    /// Whether the client has tried again and has waited long enough.
    pub(super) fn is_over(&self, now: Time, key: &FlowKey, flow: &Flow) -> bool {
        let waited = now.since(self.since);
        let tried_again = self.last_out > self.since;
        let asks = self.last_out.since(heard_at(flow)) > ACK_DELAY;
        let asked = unattended::tick(now.as_nanos()).wrapping_sub(flow.asked_at);
        let long_since = asked > LONG_SINCE && key.protocol == ipv6::NEXT_HEADER_TCP;
        tried_again && waited >= HINTED || long_since && asks && waited >= ACKNOWLEDGED
    }
}

impl Silence {
    pub(super) fn tried_again(&self, flow: &Flow) -> bool {
        flow.last_out > self.since.as_nanos()
    }
}

/// How many flows to a care-of address were used recently, and how many of these were not answered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Doubt {
    pub(super) used: usize,
    pub(super) unanswered: usize,
}

#[derive(Debug, Default)]
pub(super) struct Doubts(pub(super) Map<Ipv6Addr, Doubt>);

impl Doubts {
    pub(super) fn count(&mut self, now: Time, flow: &Flow, silence: Option<Silence>, over: bool) {
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

/// When the member of the flow was last heard, or when the flow began if it never was.
pub(super) fn heard_at(flow: &Flow) -> Time {
    Time::from_nanos(flow.last_in.max(flow.pinned_at))
}

/// When each care-of address was last heard, by any flow.
pub(super) type Heard = Map<Ipv6Addr, Time>;

/// Notes when these flows heard them.
pub(super) fn hear(heard: &mut Heard, flows: &[(FlowKey, Flow)]) {
    for (_, flow) in flows {
        let last = heard.entry(flow.care_of.into()).or_default();
        *last = (*last).max(Time::from_nanos(flow.last_in));
    }
}
