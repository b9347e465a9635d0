//! The command `fleet`.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::Subcommand;

use super::{
    ask::{Query, answer, ask},
    show::counted,
    table::{Table, seconds, wrapped},
};
use crate::shell::{
    api::{Request, client, view},
    secret,
};

/// What about the fleet.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a secret for a fleet: a new file that root alone can read. All gateways get the same
    Secret {
        /// The file, which must not exist yet
        file: PathBuf,
        #[command(flatten)]
        query: Query,
    },
    /// No longer show a gateway that was taken away for good. One that is heard again is shown again
    Forget {
        /// The name of the gateway
        name: String,
        #[command(flatten)]
        query: Query,
    },
}

pub(super) fn run(socket: &Path, command: Option<Command>, query: Query) -> Result<()> {
    match command {
        Some(Command::Secret { file, query }) => make_secret(&file, query),
        Some(Command::Forget { name, query }) => {
            ask(socket, &Request::FleetForget { name }, query, show)
        }
        None => ask(socket, &Request::Fleet, query, show),
    }
}

/// An error unless the gateway is ready.
pub(super) fn ready(socket: &Path) -> Result<()> {
    let fleet: view::Fleet = client::ask(socket, &Request::Fleet)?;
    ensure!(fleet.ready, "not ready");
    Ok(())
}

fn make_secret(file: &Path, query: Query) -> Result<()> {
    let secret = secret::create(file)?;
    let made = view::FleetSecret {
        file: file.to_owned(),
        fingerprint: secret::fingerprint(&secret),
    };
    answer(&made, query, |made| {
        format!("{}: fingerprint {}\n", file.display(), made.fingerprint)
    })
}

fn show(fleet: &view::Fleet) -> String {
    let bus = match fleet.connected_seconds {
        Some(since) => format!("connected for {}", seconds(since)),
        None => "NOT CONNECTED".to_owned(),
    };
    let ready = match (fleet.ready_by.as_deref(), fleet.snapshot_age_seconds) {
        (None, _) => "NOT READY".to_owned(),
        (Some(_), Some(age)) => format!("ready, by a snapshot {} ago", seconds(age)),
        (Some("alone"), None) => "ready, since nobody else was there".to_owned(),
        (Some(_), None) => "ready WITHOUT A SNAPSHOT".to_owned(),
    };
    let head = format!(
        "{}: {bus}, {ready}; {}, backlog {}, dropped {} unsent and {} untaken",
        fleet.name,
        counted(fleet.triples, "triple"),
        fleet.backlog,
        fleet.unsent,
        fleet.untaken
    );
    let mut table = Table::new(&["GATEWAY", "STATE", "HEARD", "CLOCK", "BINDINGS", "FLOWS"]);
    for peer in &fleet.peers {
        let state = match (peer.there, peer.ready) {
            (false, _) => "GONE",
            (true, false) => "not ready",
            (true, true) => "ready",
        };
        let warning = if peer.clock_is_off { " OFF" } else { "" };
        table.row([
            peer.name.clone(),
            state.to_owned(),
            seconds(peer.heard_seconds),
            format!("{:+.1}s{warning}", peer.clock_ahead_seconds),
            peer.bindings.to_string(),
            peer.flows.to_string(),
        ]);
    }
    let mut text = wrapped(&head, 0) + &table.render("no other gateway");
    for stranger in &fleet.strangers {
        let line = format!(
            "! {} has another secret, with the fingerprint {}",
            stranger.name, stranger.fingerprint
        );
        text += &wrapped(&line, 0);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_is_shown_with_what_is_wrong_in_capitals() {
        let peer = view::FleetPeer {
            name: "g2".to_owned(),
            there: true,
            ready: true,
            heard_seconds: 1.0,
            clock_ahead_seconds: -41.5,
            clock_is_off: true,
            name_is_shared: false,
            bindings: 3,
            flows: 4,
        };
        let stranger = view::FleetStranger {
            name: "x".to_owned(),
            fingerprint: "01020304".to_owned(),
            heard_seconds: 1.0,
        };
        let mut fleet = view::Fleet {
            name: "g1".to_owned(),
            connected_seconds: Some(5.0),
            ready: true,
            ready_by: Some("snapshot".to_owned()),
            snapshot_age_seconds: Some(4.0),
            triples: 1,
            peers: vec![peer],
            strangers: vec![stranger],
            ..view::Fleet::default()
        };
        let text = show(&fleet);
        assert!(
            text.starts_with("g1: connected for 5.0s, ready, by a snapshot 4.0s ago; 1 triple")
        );
        assert!(text.contains("-41.5s OFF"), "{text}");
        assert!(text.contains("! x has another secret, with the fingerprint 01020304"));
        fleet.connected_seconds = None;
        (fleet.ready_by, fleet.snapshot_age_seconds) = (None, None);
        fleet.peers[0].there = false;
        let text = show(&fleet);
        for wrong in ["NOT CONNECTED", "NOT READY", "GONE"] {
            assert!(text.contains(wrong), "{text}");
        }
    }
}
