//! What somebody should look at, for `status` and `status --check`.

use crate::shell::api::view;

/// A map is nearly full from this share of its room on, in percent.
const FULL: usize = 90;

/// A router that asks as RFC 2710 says is heard at least once in this time (Other Querier Present Interval, section
/// 7.5, with its defaults).
const UNHEARD: f64 = 255.0;

/// How full a map of the data plane is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fill {
    /// Its name in `[data_plane]`.
    pub(super) map: &'static str,
    /// Entries. `None` before they were read.
    pub(super) used: Option<usize>,
    /// Entries for which it has room.
    pub(super) room: usize,
}

/// What is wrong with a daemon in this state. `pinned` says whether its programs outlive it.
pub(super) fn problems(status: &view::Status, pinned: bool, fill: &[Fill]) -> Vec<view::Problem> {
    let mut problems = Vec::new();
    let mut add = |code: &str, message: String| {
        problems.push(view::Problem {
            code: code.to_owned(),
            message,
        });
    };
    if !pinned {
        let message = "sessions end with the daemon: its programs are not pinned, because there is no BPF file \
                       system that it can use (its log says more)";
        add("not_pinned", message.to_owned());
    }
    for interface in &status.interfaces {
        let name = &interface.name;
        if interface.ifindex.is_none() {
            add("interface_missing", format!("there is no interface {name}"));
        } else if !interface.up {
            let message = format!("interface {name} is down or has no carrier");
            add("interface_down", message);
        }
        if interface.ifindex.is_some() && interface.program.is_none() {
            let message = format!("no program is attached to {name}: the log says why");
            add("not_attached", message);
        }
    }
    for fill in fill {
        let used = fill.used.unwrap_or_default();
        if used.saturating_mul(100) > fill.room.saturating_mul(FULL) {
            let Fill { map, room, .. } = fill;
            let message = format!("map {map} has {used} of {room} entries: see [data_plane]");
            add("map_nearly_full", message);
        }
    }
    for map in &status.other_sizes {
        let message = format!(
            "map {} of an earlier run holds {} entries, {} are configured: `anycast-ctl detach` after the daemon's \
             end has it made anew, and ends the sessions in it",
            map.map, map.entries, map.configured
        );
        add("map_of_other_size", message);
    }
    for care_of in &status.preferred_care_of {
        let message = format!(
            "this machine may choose {care_of} as the source of its own connections: preferred_lft 0 prevents it"
        );
        add("care_of_preferred", message);
    }
    for care_of in &status.duplicate_care_of {
        let message = format!(
            "another host on the link has {care_of}, too, and the kernel does not use it here: nobody is bound by it"
        );
        add("care_of_duplicate", message);
    }
    for (code, message) in status.fleet.iter().flat_map(of_fleet) {
        add(code, message);
    }
    for group in &status.groups {
        let anycast = group.anycast;
        for on in group.interfaces.iter().filter(|_| group.joined) {
            let age = on.last_query_seconds.unwrap_or(status.uptime_seconds);
            if age > UNHEARD {
                let message = format!(
                    "no Query was heard on {} for {age:.0} s: no router, or one with longer intervals, or a switch \
                     that keeps them from here",
                    on.interface
                );
                add("no_query", message);
            }
        }
        let failing = group.health.as_ref().filter(|it| it.state == "unhealthy");
        if let Some(health) = failing {
            let error = health.last_error.clone().unwrap_or_default();
            add(
                "unhealthy",
                format!("the service at {anycast} fails: {error}"),
            );
        } else if group.wanted && !group.joined && group.draining_seconds.is_none() {
            add("not_joined", format!("{anycast} is wanted and not joined"));
        }
    }
    problems
}

/// What is wrong with a fleet, as this gateway sees it.
fn of_fleet(fleet: &view::Fleet) -> Vec<(&'static str, String)> {
    let mut problems = Vec::new();
    if fleet.connected_seconds.is_none() {
        let message = "the bus of the fleet is gone: this gateway goes on alone";
        problems.push(("fleet_disconnected", message.to_owned()));
    }
    if !fleet.ready {
        let message = "this gateway does not know yet what the others do, and steers no new flow";
        problems.push(("fleet_not_ready", message.to_owned()));
    }
    if fleet.ready_by.as_deref() == Some("timed_out") {
        let message = "this gateway got no snapshot of another one when it started, or when the bus came back: \
             sessions that only others know may break here";
        problems.push(("fleet_no_snapshot", message.to_owned()));
    }
    for peer in &fleet.peers {
        let (name, ahead) = (&peer.name, peer.clock_ahead_seconds);
        if !peer.there {
            let message = format!(
                "gateway {name} was not heard for {:.0} s: if it was taken away for good, `anycast-ctl fleet forget \
                 {name}`",
                peer.heard_seconds
            );
            problems.push(("fleet_peer_lost", message));
        } else if peer.clock_is_off {
            let message = format!(
                "the clock of gateway {name} is {ahead:+.0} s off ours: its handshakes fail from 60 s on"
            );
            problems.push(("fleet_clock", message));
        }
    }
    for peer in fleet.peers.iter().filter(|peer| peer.name_is_shared) {
        let message = format!(
            "two gateways of the fleet have the name {}: give each its own, by [correspondent.fleet] name",
            peer.name
        );
        problems.push(("fleet_name_shared", message));
    }
    for stranger in &fleet.strangers {
        let message = format!(
            "gateway {} on the bus has another secret, with the fingerprint {}",
            stranger.name, stranger.fingerprint
        );
        problems.push(("fleet_other_secret", message));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(status: &view::Status, pinned: bool, fill: &[Fill]) -> Vec<String> {
        let found = problems(status, pinned, fill).into_iter();
        found.map(|problem| problem.code).collect()
    }

    fn fill(used: Option<usize>, room: usize) -> Fill {
        let map = "flows";
        Fill { map, used, room }
    }

    fn interface() -> view::Interface {
        view::Interface {
            name: "up0".to_owned(),
            ifindex: Some(2),
            up: true,
            program: Some("anycast_c".to_owned()),
            ..view::Interface::default()
        }
    }

    fn group() -> view::MemberGroup {
        view::MemberGroup {
            anycast: "2001:db8:a::53".parse().expect("an address"),
            care_of: None,
            interfaces: Vec::new(),
            joined: true,
            wanted: true,
            draining_seconds: None,
            sessions: 0,
            health: None,
        }
    }

    #[test]
    fn nothing_is_wrong_with_a_daemon_that_works() {
        let status = view::Status {
            interfaces: vec![interface()],
            groups: vec![group()],
            ..view::Status::default()
        };
        let fill = [fill(Some(90), 100), fill(None, 0)];
        assert_eq!(codes(&status, true, &fill), Vec::<String>::new());
    }

    #[test]
    fn each_problem_has_its_code() {
        let with = |interface| view::Status {
            interfaces: vec![interface],
            ..view::Status::default()
        };
        let none = &view::Status::default();
        assert_eq!(codes(none, false, &[]), ["not_pinned"]);
        assert_eq!(
            codes(none, true, &[fill(Some(91), 100)]),
            ["map_nearly_full"]
        );
        let missing = view::Interface {
            ifindex: None,
            program: None,
            ..interface()
        };
        assert_eq!(codes(&with(missing), true, &[]), ["interface_missing"]);
        let down = view::Interface {
            up: false,
            ..interface()
        };
        assert_eq!(codes(&with(down), true, &[]), ["interface_down"]);
        let bare = view::Interface {
            program: None,
            ..interface()
        };
        assert_eq!(codes(&with(bare), true, &[]), ["not_attached"]);
        let other_sizes = vec![view::OtherSize::default()];
        let status = view::Status {
            other_sizes,
            ..view::Status::default()
        };
        assert_eq!(codes(&status, true, &[]), ["map_of_other_size"]);
        let preferred_care_of = vec![group().anycast];
        let status = view::Status {
            preferred_care_of,
            ..view::Status::default()
        };
        assert_eq!(codes(&status, true, &[]), ["care_of_preferred"]);
        let duplicate_care_of = vec![group().anycast];
        let status = view::Status {
            duplicate_care_of,
            ..view::Status::default()
        };
        assert_eq!(codes(&status, true, &[]), ["care_of_duplicate"]);
    }

    #[test]
    fn a_fleet_has_problems_of_its_own() {
        let codes = |peer: view::FleetPeer| {
            let fleet = view::Fleet {
                connected_seconds: Some(1.0),
                ready: true,
                peers: vec![peer],
                ..view::Fleet::default()
            };
            let found = of_fleet(&fleet).into_iter();
            found.map(|(code, _)| code).collect::<Vec<_>>()
        };
        let there = view::FleetPeer {
            there: true,
            ..view::FleetPeer::default()
        };
        assert_eq!(codes(there.clone()), [""; 0]);
        assert_eq!(codes(view::FleetPeer::default()), ["fleet_peer_lost"]);
        let clock_is_off = view::FleetPeer {
            clock_is_off: true,
            ..there.clone()
        };
        assert_eq!(codes(clock_is_off), ["fleet_clock"]);
        let name_is_shared = view::FleetPeer {
            name_is_shared: true,
            ..there
        };
        assert_eq!(codes(name_is_shared), ["fleet_name_shared"]);
    }

    #[test]
    fn a_member_that_hears_no_query_is_cut_off() {
        let codes = |uptime_seconds, last_query_seconds| {
            let on = view::MemberInterface {
                interface: "eth0".to_owned(),
                state: "idle_listener".to_owned(),
                last_query_from: None,
                last_query_seconds,
            };
            let interfaces = vec![on];
            let groups = vec![view::MemberGroup {
                interfaces,
                ..group()
            }];
            let status = view::Status {
                groups,
                uptime_seconds,
                ..view::Status::default()
            };
            codes(&status, true, &[])
        };
        assert_eq!(codes(256.0, None), ["no_query"]);
        assert!(codes(254.0, None).is_empty(), "it has just started");
        assert_eq!(codes(1e6, Some(256.0)), ["no_query"]);
        assert!(codes(1e6, Some(125.0)).is_empty());
    }

    #[test]
    fn a_group_that_fails_or_is_not_joined_is_a_problem_and_a_drain_is_none() {
        let codes = |group| {
            let groups = vec![group];
            codes(
                &view::Status {
                    groups,
                    ..view::Status::default()
                },
                true,
                &[],
            )
        };
        let out = view::MemberGroup {
            joined: false,
            ..group()
        };
        assert_eq!(codes(out.clone()), ["not_joined"]);
        let left = view::MemberGroup {
            wanted: false,
            ..out.clone()
        };
        assert!(codes(left).is_empty());
        let draining = view::MemberGroup {
            draining_seconds: Some(1.0),
            ..out.clone()
        };
        assert!(codes(draining).is_empty());
        let health = view::Health {
            state: "unhealthy".to_owned(),
            since_seconds: 1.0,
            said: None,
            last_error: Some("refused".to_owned()),
            last_error_age_seconds: None,
        };
        let ill = view::MemberGroup {
            health: Some(health),
            ..out
        };
        assert_eq!(codes(ill), ["unhealthy"]);
    }
}
