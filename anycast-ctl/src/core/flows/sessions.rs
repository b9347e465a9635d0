//! Which flows of a member are sessions.

use anycast_common::{
    abi::maps::{FlowKey, MemberFlow, stage},
    wire::ipv6,
};
use zerocopy::FromZeros as _;

use super::limits::{Limits, goes_on};
use crate::core::Time;

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
            care_of: [1; 16],
            stage: stage::GOES_ON,
            ..MemberFlow::new_zeroed()
        };
        assert_eq!(goes_on(&limits, now, &key, &flow), expected, "{name}");
    }
}

#[test]
fn who_was_not_answered_or_not_heard_again_is_no_session() {
    let limits = Limits::default();
    let now = Time::from_nanos(1_000_000_000_000_000);
    let ago = |seconds: u64| now.as_nanos() - seconds * 1_000_000_000;
    let (tcp, udp) = (ipv6::NEXT_HEADER_TCP, ipv6::NEXT_HEADER_UDP);
    let rows = [
        ("half open", tcp, stage::OPENED, ago(0), false),
        ("half open, answered", tcp, stage::ANSWERED, ago(0), false),
        ("established", tcp, stage::GOES_ON, ago(0), true),
        (
            "a query that nobody answered",
            udp,
            stage::OPENED,
            ago(0),
            false,
        ),
        ("one query, answered", udp, stage::ANSWERED, ago(9), true),
        ("for some seconds", udp, stage::ANSWERED, ago(10), false),
        ("more than one", udp, stage::GOES_ON, ago(200), true),
        ("of this host", udp, stage::OWN, ago(0), false),
    ];
    for (name, protocol, stage, last_in, expected) in rows {
        let flow = MemberFlow {
            care_of: [1; 16],
            last_in,
            stage,
            ..MemberFlow::new_zeroed()
        };
        let key = FlowKey {
            protocol,
            ..FlowKey::new_zeroed()
        };
        assert_eq!(goes_on(&limits, now, &key, &flow), expected, "{name}");
        let by_anycast = MemberFlow {
            care_of: [0; 16],
            by_anycast: 1,
            ..flow
        };
        assert!(!goes_on(&limits, now, &key, &by_anycast), "{name}, by B");
    }
}
