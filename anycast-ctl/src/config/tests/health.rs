//! Health checks, and the addresses that the daemon assigns.

use std::time::Duration;

use super::{bad, good};
use crate::config::settings;

const CHECKED: &str = r#"
[member]
interfaces = ["eth0"]
[[member.group]]
anycast = "2001:db8:a::53"
care_of = "2001:db8:20::c1"
assign = true
[member.group.health]
type = "tcp"
port = 53
interval = "3s"
timeout = "1s"
rise = 1
[[member.group]]
anycast = "2001:db8:a::54"
interfaces = ["eth0"]
join = "start"
assign = true
assign_to = "dummy0"
health = { type = "http", address = "[::1]:8080", path = "/health", status = 204 }
[[member.group]]
anycast = "2001:db8:a::55"
join = "manual"
health = { type = "command", command = ["/usr/bin/check", "dns"] }
[member.sessions]
udp = "1m"
"#;

#[test]
fn health_checks_and_addresses_become_settings() {
    use crate::{
        config::file::Join,
        model::health::{Target, Web},
    };

    let config = good(CHECKED);
    let joins: Vec<_> = settings::groups(&config)
        .map(|group| group.join())
        .collect();
    assert_eq!(joins, [Join::Health, Join::Start, Join::Manual]);
    assert_eq!(settings::joined_at_start(&config).count(), 2);
    let targets: Vec<_> = settings::health_targets(&config).into_values().collect();
    assert_eq!(
        targets,
        [
            Target::Tcp("[2001:db8:a::53]:53".parse().expect("an address")),
            Target::Http(Web {
                address: "[::1]:8080".parse().expect("an address"),
                path: "/health".into(),
                status: Some(204),
            }),
            Target::Command(vec!["/usr/bin/check".into(), "dns".into()]),
        ]
    );
    let member = settings::controller(&config).member.expect("a member");
    let health: Vec<_> = member
        .groups
        .iter()
        .filter_map(|group| group.health)
        .collect();
    assert_eq!(
        (health[0].interval, health[0].timeout),
        (Duration::from_secs(3), Duration::from_secs(1))
    );
    assert_eq!((health[0].rise, health[0].fall), (1, 3));
    let presumed: Vec<_> = health.iter().map(|health| health.presumed).collect();
    assert_eq!(presumed, [false, true, false]);
    let assigned: Vec<_> = settings::assigned(&config)
        .into_iter()
        .map(|at| (at.address.to_string(), at.interface, at.detect_duplicates))
        .collect();
    let at = |address: &str, interface: &str, detect| (address.into(), interface.into(), detect);
    assert_eq!(
        assigned,
        [
            at("2001:db8:a::53", "lo", false),
            at("2001:db8:20::c1", "eth0", true),
            at("2001:db8:a::54", "dummy0", false),
        ]
    );
    let role = config.member_role().expect("a member");
    let sessions = settings::sessions(&role.sessions);
    assert_eq!(sessions.udp, Duration::from_secs(60));
    assert_eq!(sessions.tcp, Duration::from_secs(7440));
}

#[test]
fn health_checks_and_addresses_that_cannot_be() {
    let with = |line: &str| {
        bad(&format!(
            "[member]\ninterfaces = [\"eth0\"]\n[[member.group]]\nanycast = \"2001:db8:a::53\"\n{line}\n"
        ))
    };
    let rows = [
        (r#"join = "health""#, "needs a health check"),
        (r#"health = { type = "tcp" }"#, "needs a `port`"),
        (
            r#"health = { type = "tcp", port = 53, address = "[::1]:53" }"#,
            "not both",
        ),
        (
            r#"health = { type = "tcp", port = 53, path = "/" }"#,
            "`path` is for",
        ),
        (
            r#"health = { type = "tcp", port = 53, status = 200 }"#,
            "`status` is for",
        ),
        (
            r#"health = { type = "tcp", port = 53, command = ["x"] }"#,
            "`command` is for",
        ),
        (
            r#"health = { type = "http", path = "x" }"#,
            "`path` starts with /",
        ),
        (
            r#"health = { type = "http", path = "/ HTTP/1.1" }"#,
            "has no spaces",
        ),
        (
            r#"health = { type = "http", status = 99 }"#,
            "`status` is from",
        ),
        (r#"health = { type = "command" }"#, "needs its `command`"),
        (
            r#"health = { type = "command", command = [] }"#,
            "needs its `command`",
        ),
        (
            r#"health = { type = "command", command = ["x"], port = 1 }"#,
            "no port",
        ),
        (
            r#"health = { type = "tcp", port = 53, timeout = "0s" }"#,
            "cannot be 0",
        ),
        (
            r#"health = { type = "tcp", port = 53, interval = "1s" }"#,
            "less than `timeout`",
        ),
        (
            r#"health = { type = "tcp", port = 53, rise = 0 }"#,
            "nonzero",
        ),
        (r#"assign_to = "lo""#, "needs assign = true"),
        (
            "assign = true\nassign_to = \"eth0\"",
            "overriding Neighbor Advertisements",
        ),
        (
            "assign = true\nassign_to = \"a b\"",
            "cannot be an interface name",
        ),
    ];
    for (line, reason) in rows {
        let problems = with(line);
        assert!(problems.contains(reason), "{line}: {problems}");
        assert_eq!(problems.lines().count(), 1, "{line}: {problems}");
    }
}
