//! What came of it, for people and for programs.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{cases::FORGED, common::median, run::Figure};

/// A case and what it is compared with.
#[derive(Serialize)]
pub struct Row {
    pub name: String,
    /// Nanoseconds of a packet: median, and quartiles.
    pub median: f64,
    pub quartiles: [f64; 2],
    /// Median without what makes the frame anew, as the ratios have it.
    pub net: f64,
    pub to_pass: f64,
    /// To the hand-written NAT66 with the same flows.
    pub to_tight: Option<f64>,
}

/// Medians and ratios.
pub fn rows(figures: &[Figure]) -> Result<Vec<Row>> {
    let of = |name: &str| {
        let figure = figures.iter().find(|figure| figure.name == name);
        Ok::<_, anyhow::Error>(median(figure.context(name.to_owned())?.times.clone()))
    };
    let pass = of("XDP_PASS")?;
    let net = |name: &str, median: f64| -> Result<f64> {
        Ok(match kind(name) {
            Some(kind) if is_led(name) => median - of(&format!("leader, {kind}"))? + pass,
            _ => median,
        })
    };
    let tight = |name: &str| -> Result<Option<f64>> {
        let flows = match kind(name) {
            Some("32,768 flows") => "32,768 flows",
            Some(FORGED) => return Ok(None),
            Some(_) if is_led(name) => "hot",
            _ => return Ok(None),
        };
        let name = format!("TIGHT, {flows}");
        Ok(Some(net(&name, of(&name)?)?))
    };
    figures
        .iter()
        .map(|figure| {
            let name = &figure.name;
            let mut times = figure.times.clone();
            times.sort_by(f64::total_cmp);
            let median = of(name)?;
            let net = net(name, median)?;
            Ok(Row {
                name: name.clone(),
                median,
                quartiles: [times[times.len() / 4], times[times.len() * 3 / 4]],
                net,
                to_pass: net / pass,
                to_tight: tight(name)?.map(|tight| net / tight),
            })
        })
        .collect()
}

/// Which flows the frames are of.
fn kind(name: &str) -> Option<&str> {
    ["hot", "32,768 flows", "new flows", FORGED]
        .into_iter()
        .find(|kind| name.ends_with(kind))
}

/// Whether frames are made anew for it.
fn is_led(name: &str) -> bool {
    ["TIGHT", "pinned", "leader", "lru", "FIB"]
        .iter()
        .any(|led| name.starts_with(led))
        || name.ends_with(FORGED)
}

/// The table.
pub fn print(rows: &[Row]) {
    println!(
        "{:38} {:>8} {:>15} {:>8} {:>8} {:>8}",
        "", "ns", "quartiles", "net", "x PASS", "x TIGHT"
    );
    for row in rows {
        let [low, high] = row.quartiles;
        let tight = row
            .to_tight
            .map_or(String::new(), |ratio| format!("{ratio:.2}"));
        println!(
            "{:38} {:8.1} {:>15} {:8.1} {:8.2} {tight:>8}",
            row.name,
            row.median,
            format!("{low:.1}..{high:.1}"),
            row.net,
            row.to_pass,
        );
    }
}

/// The same as JSON.
pub fn write(path: &Path, rows: &[Row]) -> Result<()> {
    let text = serde_json::to_string_pretty(rows)?;
    fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}
