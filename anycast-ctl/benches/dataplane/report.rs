//! What came of it, for people and for programs.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{
    bed::{Build, FORGED},
    common::median,
    cpus::Scaling,
    run::Figure,
};

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
    /// To the same case of the baseline: median of the ratios within a round.
    pub to_baseline: Option<f64>,
}

/// Medians and ratios.
pub fn rows(figures: &[Figure]) -> Result<Vec<Row>> {
    let anchor = |name: &str| find(figures, name, Build::Anchor).context(name.to_owned());
    let pass = median(anchor("XDP_PASS")?.times.clone());
    let leader = |name: &str| match kind(name) {
        Some(kind) if is_led(name) => anchor(&format!("leader, {kind}")).map(Some),
        _ => Ok(None),
    };
    let net = |figure: &Figure| -> Result<f64> {
        let own = median(figure.times.clone());
        Ok(match leader(&figure.name)? {
            Some(leader) => own - median(leader.times.clone()) + pass,
            None => own,
        })
    };
    let tight = |name: &str| -> Result<Option<f64>> {
        let flows = match kind(name) {
            Some("32,768 flows") => "32,768 flows",
            Some(FORGED) => return Ok(None),
            Some(_) if is_led(name) => "hot",
            _ => return Ok(None),
        };
        Ok(Some(net(anchor(&format!("TIGHT, {flows}"))?)?))
    };
    let to_baseline = |figure: &Figure| -> Result<Option<f64>> {
        let Some(baseline) = find(figures, &figure.name, Build::Baseline) else {
            return Ok(None);
        };
        let leader = leader(&figure.name)?;
        let rounds = figure.times.iter().zip(&baseline.times).enumerate();
        let ratios = rounds.map(|(round, (own, other))| {
            let around = leader.map_or(0.0, |leader| leader.times[round] - pass);
            (own - around) / (other - around)
        });
        Ok(Some(median(ratios.collect())))
    };
    let wanted = figures
        .iter()
        .filter(|figure| figure.build != Build::Baseline);
    wanted
        .map(|figure| {
            let name = &figure.name;
            let mut times = figure.times.clone();
            times.sort_by(f64::total_cmp);
            let net = net(figure)?;
            Ok(Row {
                name: name.clone(),
                median: median(times.clone()),
                quartiles: [times[times.len() / 4], times[times.len() * 3 / 4]],
                net,
                to_pass: net / pass,
                to_tight: tight(name)?.map(|tight| net / tight),
                to_baseline: to_baseline(figure)?,
            })
        })
        .collect()
}

fn find<'a>(figures: &'a [Figure], name: &str, build: Build) -> Option<&'a Figure> {
    let is_it = |figure: &&Figure| figure.name == name && figure.build == build;
    figures.iter().find(is_it)
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
        "{:41} {:>8} {:>15} {:>8} {:>8} {:>8} {:>10}",
        "", "ns", "quartiles", "net", "x PASS", "x TIGHT", "x baseline"
    );
    for row in rows {
        let [low, high] = row.quartiles;
        let ratio = |ratio: Option<f64>| ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
        let (tight, baseline) = (ratio(row.to_tight), ratio(row.to_baseline));
        println!(
            "{:41} {:8.1} {:>15} {:8.1} {:8.2} {tight:>8} {baseline:>10}",
            row.name,
            row.median,
            format!("{low:.1}..{high:.1}"),
            row.net,
            row.to_pass,
        );
    }
}

/// The same as JSON.
pub fn write(path: &Path, rows: &[Row], scaling: &[Scaling]) -> Result<()> {
    let mut all = rows
        .iter()
        .map(serde_json::to_value)
        .collect::<Result<Vec<_>, _>>()?;
    for row in scaling {
        all.push(serde_json::to_value(row)?);
    }
    let text = serde_json::to_string_pretty(&all)?;
    fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}
