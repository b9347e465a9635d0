//! The last step: shows the results and shuts the lab down.

use std::{collections::BTreeMap, net::Ipv6Addr, time::Duration};

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};

use crate::lab::{
    report::Evidence,
    stage::Lab,
    topology::B,
    verdict::{Otherwise as _, expect},
};

const END: Duration = Duration::from_secs(5);

/// Result of a session.
#[derive(Debug, Serialize)]
pub(super) struct Account {
    /// Name of the client.
    pub(super) client: &'static str,
    /// Name of the server.
    pub(super) server: &'static str,
    /// Address of the server by which the session's packets travelled.
    pub(super) by: Ipv6Addr,
    /// Number of octets sent, and verified by the server.
    pub(super) sent: u64,
    /// Number of octets received and verified.
    pub(super) received: u64,
    /// How it ended.
    pub(super) end: String,
}

/// Shows the sessions and the counters of every node, and whether the captures are complete.
pub(super) fn table(
    lab: &mut Lab,
    accounts: &[Account],
    evidence: &mut Evidence<'_>,
) -> Result<()> {
    evidence.tell(format_args!(
        "      {:8} {:6} {:16} {:>10} {:>10}  end",
        "session", "with", "by", "sent", "received"
    ));
    for account in accounts {
        evidence.tell(format_args!(
            "      {:8} {:6} {:16} {:>10} {:>10}  {}",
            account.client,
            account.server,
            account.by.to_string(),
            account.sent,
            account.received,
            account.end
        ));
    }
    evidence.tell("");
    evidence.keep("sessions", serde_json::to_value(accounts)?);
    let mut counters = Vec::new();
    for daemon in lab.daemons() {
        counters.push((daemon.node(), daemon.ask("counters")?));
    }
    print_counters(&counters, evidence);
    let counters = counters
        .into_iter()
        .map(|(node, of_node)| (node.to_owned(), of_node));
    evidence.keep("counters", Value::Object(counters.collect()));
    let mut captures = Vec::new();
    for capture in lab.captures_mut() {
        capture.finish()?;
        let (frames, lost) = capture.ledger().read(|ledger| (ledger.frames, ledger.lost));
        captures.push(json!({"link": capture.name(), "frames": frames, "lost": lost}));
    }
    let sum = |field: &str| -> u64 {
        let counts = captures
            .iter()
            .filter_map(|capture| capture[field].as_u64());
        counts.sum()
    };
    let (frames, lost) = (sum("frames"), sum("lost"));
    evidence.keep("captures", captures);
    // A capture cannot prove anything about packets that it missed.
    expect(
        lost == 0,
        "captures that missed nothing",
        format_args!("{lost} frames lost"),
    )?;
    evidence.fact(format_args!("captures: {frames} frames, none lost"));
    intact(lab, evidence)?;
    Ok(())
}

/// Checks that every MLD, mobility and ICMPv6 error message on every link has a valid checksum.
fn intact(lab: &mut Lab, evidence: &mut Evidence<'_>) -> Result<()> {
    let mut count = 0;
    for capture in lab.captures_mut() {
        let messages = capture.ledger().read(|ledger| ledger.messages.clone());
        let bad = messages
            .iter()
            .find(|message| message.packet.intact == Some(false));
        expect(
            bad.is_none(),
            format_args!("valid checksums on {}", capture.name()),
            format_args!("{bad:?}"),
        )?;
        count += messages.len();
    }
    evidence.fact(format_args!(
        "checksums: {count} MLD, mobility and error messages, all valid"
    ));
    Ok(())
}

/// Ends the daemons in order. Their routes must be removed, and their exit status must be success.
pub(super) fn shut_down(lab: &mut Lab, evidence: &mut Evidence<'_>) -> Result<()> {
    for node in ["rogue", "s2", "s1", "gateway", "router2"] {
        end(lab, node)?;
    }
    end(lab, "router")?;
    lab.routes
        .wait(END, "the route to B is gone", (B, 128), |routes| {
            routes.is_empty().then_some(())
        })
        .otherwise("router", || format!("{:?}", lab.routes.to(B, 128)))?;
    evidence.fact("daemons: all ended in order; the route to B is withdrawn");
    Ok(())
}

fn end(lab: &mut Lab, node: &str) -> Result<()> {
    for daemon in lab.daemons_mut() {
        if daemon.node() == node {
            let status = daemon.end()?;
            expect(
                status.success(),
                format_args!("{node}'s daemon ends well on SIGTERM"),
                status,
            )?;
        }
    }
    Ok(())
}

/// Prints a row for each counter that is not zero on at least one node.
fn print_counters(counters: &[(&str, Value)], evidence: &Evidence<'_>) {
    let mut rows: BTreeMap<(&str, &str), Vec<u64>> = BTreeMap::new();
    for (column, (_, of_node)) in counters.iter().enumerate() {
        for side in ["data_plane", "controller"] {
            for (name, value) in of_node[side].as_object().into_iter().flatten() {
                let row = rows.entry((side, name)).or_default();
                row.resize(counters.len(), 0);
                row[column] = value.as_u64().unwrap_or(0);
            }
        }
    }
    let cells =
        |cells: Vec<String>| -> String { cells.iter().map(|cell| format!("{cell:>9}")).collect() };
    let width = rows.keys().map(|(_, name)| name.len()).max().unwrap_or(0);
    for (side, title) in [("data_plane", "XDP and TCX"), ("controller", "controller")] {
        let names = counters
            .iter()
            .map(|(node, _)| (*node).to_owned())
            .collect();
        evidence.tell(format_args!("      {title:width$}{}", cells(names)));
        for ((_, name), row) in rows.iter().filter(|((of, _), _)| *of == side) {
            if row.iter().any(|count| *count > 0) {
                let row = row.iter().map(u64::to_string).collect();
                evidence.tell(format_args!("      {name:width$}{}", cells(row)));
            }
        }
        evidence.tell("");
    }
}
