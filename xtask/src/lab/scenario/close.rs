//! Step 7: what it came to.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::lab::{
    report::Evidence,
    stage::Lab,
    topology::B,
    verdict::{Otherwise as _, expect},
};

const END: Duration = Duration::from_secs(5);

/// Counters of every node, and whether the captures are whole.
pub(super) fn table(lab: &mut Lab, evidence: &mut Evidence<'_>) -> Result<()> {
    let mut counters = Map::new();
    for daemon in lab.daemons() {
        counters.insert(daemon.node().to_owned(), daemon.ask("counters")?);
    }
    print_counters(&counters, evidence);
    evidence.keep("counters", counters);
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
    // What a capture missed, it cannot prove.
    expect(
        lost == 0,
        "captures that missed nothing",
        format_args!("{lost} frames lost"),
    )?;
    evidence.fact(format_args!("captures: {frames} frames, none lost"));
    intact(lab, evidence)?;
    Ok(())
}

/// Every MLD, mobility and ICMPv6 error message on every link has a valid checksum.
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

/// Ends the daemons in order: their routes go, and they say that all went well.
pub(super) fn shut_down(lab: &mut Lab, evidence: &mut Evidence<'_>) -> Result<()> {
    for node in ["rogue", "s2", "s1", "gateway"] {
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

/// A row for each counter that any node has moved.
fn print_counters(counters: &Map<String, Value>, evidence: &Evidence<'_>) {
    let mut rows: BTreeMap<(&str, &str), Vec<u64>> = BTreeMap::new();
    for (column, of_node) in counters.values().enumerate() {
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
        let names = counters.keys().map(|node| node.to_string()).collect();
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
