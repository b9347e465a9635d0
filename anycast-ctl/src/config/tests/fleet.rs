//! The `[correspondent.fleet]` section.

use super::{bad, good};
use crate::config::settings;

fn with(lines: &str) -> String {
    format!(
        "[correspondent]\ninterfaces = [\"up0\"]\nclient_prefixes = [\"2001:db8:1::/64\"]\n\
         allow = [\"2001:db8:a::/48\"]\n[correspondent.fleet]\nsecret = \"/etc/anycast/fleet.secret\"\n{lines}\n"
    )
}

#[test]
fn a_bus_has_servers_and_what_else_is_given() {
    let bus = |lines: &str| {
        let config = good(&with(lines));
        let role = config.correspondent_role().expect("there");
        settings::bus(role.fleet.as_ref().expect("there"))
    };
    assert!(bus("").is_none(), "a secret alone is no bus");
    let given = bus(
        "servers = [\"nats://[2001:db8:b5::1]:4222\", \"tls://bus.example.net\"]\n\
         subject = \"lab.fleet\"\nname = \"g1\"\ncertificate = \"/a\"\nkey = \"/b\"",
    );
    let given = given.expect("a bus");
    assert_eq!(given.servers.len(), 2);
    assert_eq!((&*given.subject, &*given.name), ("lab.fleet", "g1"));
    assert_eq!(given.certificate, Some(("/a".into(), "/b".into())));
    let plain = bus("servers = [\"bus\"]").expect("a bus");
    assert_eq!(plain.subject, "anycast.fleet");
}

#[test]
fn what_makes_no_bus_is_refused() {
    for (lines, reason) in [
        ("servers = [\"http://bus\"]", "servers"),
        ("servers = [\"nats://[::1:4222\"]", "servers"),
        ("servers = [\"ws://bus\"]", "servers are nats:// or tls://"),
        (
            "servers = [\"bus\"]\nsubject = \"a..b\"",
            "subject has words",
        ),
        (
            "servers = [\"bus\"]\nsubject = \"a.>\"",
            "subject has words",
        ),
        (
            "servers = [\"bus\"]\nname = \"\"",
            "name has 1 to 32 octets",
        ),
        (
            "servers = [\"bus\"]\ncertificate = \"/a\"",
            "certificate needs a key",
        ),
        (
            "servers = [\"bus\"]\nkey = \"/a\"",
            "key needs a certificate",
        ),
        (
            "servers = [\"bus\"]\ncredentials = \"a\"",
            "credentials needs an absolute path",
        ),
        (
            "credentials = \"/a\"",
            "credentials is of no use without servers",
        ),
    ] {
        let report = bad(&with(lines));
        assert!(report.contains(reason), "{lines}: {report}");
    }
}
