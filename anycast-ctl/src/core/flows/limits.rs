//! How long flows may be silent, and which of a member's flows are sessions.

use std::time::Duration;

use anycast_common::{
    abi::maps::{FlowKey, MemberFlow, stage},
    wire::ipv6,
};

use crate::core::Time;

/// Idle time after which a flow that was never answered is over: the connection was never established (RFC 5382 REQ-5).
const TRANSITORY: Duration = Duration::from_secs(240);
/// Shortest time between two sweeps, since each of them reads a whole map.
pub(super) const DISTANCE: Duration = Duration::from_millis(100);
/// Longest time between two sweeps.
const REGULAR: Duration = Duration::from_secs(10);
/// How long a drain waits for a client that sent one request, was answered, and may send another.
const ONE_ANSWER: Duration = Duration::from_secs(10);

/// How long a flow that is bound to a care-of address stays bound.
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
    pub(super) fn interval(&self) -> Duration {
        REGULAR.min(self.failure / 4).max(DISTANCE)
    }

    pub(super) fn idle(&self, protocol: u8) -> Duration {
        match protocol {
            ipv6::NEXT_HEADER_TCP => self.tcp,
            ipv6::NEXT_HEADER_UDP => self.udp,
            ipv6::NEXT_HEADER_ICMPV6 => self.icmp,
            _ => self.other,
        }
    }

    /// Idle time of a flow of this protocol that was never answered.
    pub(super) fn unanswered(&self, protocol: u8) -> Duration {
        self.idle(protocol).min(TRANSITORY)
    }
}

/// Whether a flow of a member is a session that a drain waits for. Such a flow comes by the care-of address, so that it
/// stays with this member when the route moves; the client continued after the member's answer; and at least one end
/// has not closed it.
#[must_use]
pub fn goes_on(limits: &Limits, now: Time, key: &FlowKey, flow: &MemberFlow) -> bool {
    // The flow comes by the anycast address again, so the correspondent has forgotten it and has not bound it anew.
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
