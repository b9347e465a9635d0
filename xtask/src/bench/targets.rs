//! The targets of the data plane, and the results of their measurement.

use std::{collections::BTreeMap, fmt, fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::Value;

use super::benchmark::Benchmark;

/// The kind of limit of a target: the most or the least that a ratio may be.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    AtMost(f64),
    AtLeast(f64),
}

/// Which of the rows of a name a target uses.
#[derive(Clone, Copy, Debug)]
enum Part {
    Whole,
    Flows(u64),
    Direction(&'static str),
}

impl Part {
    fn is(self, row: &Value) -> bool {
        match self {
            Self::Whole => true,
            Self::Flows(flows) => row["flows"] == flows,
            Self::Direction(direction) => row["direction"] == direction,
        }
    }

    fn name(self, row: &str) -> String {
        match self {
            Self::Whole => row.to_owned(),
            Self::Flows(flows) => format!("{row}, veth, flows: {flows}"),
            Self::Direction(direction) => format!("{row}, {direction}"),
        }
    }
}

/// A target.
struct Target {
    benchmark: Benchmark,
    /// Name of the row in the results of the benchmark, and name of the ratio in the row.
    row: &'static str,
    /// Which of the rows of that name is used, if there are several.
    part: Part,
    ratio: &'static str,
    /// What the ratio is relative to.
    to: &'static str,
    wanted: Wanted,
}

const fn target(
    benchmark: Benchmark,
    row: &'static str,
    ratio: &'static str,
    to: &'static str,
    wanted: Wanted,
) -> Target {
    Target {
        benchmark,
        row,
        part: Part::Whole,
        ratio,
        to,
        wanted,
    }
}

const fn pass(row: &'static str, wanted: f64) -> Target {
    let wanted = Wanted::AtMost(wanted);
    target(Benchmark::Dataplane, row, "to_pass", "XDP_PASS", wanted)
}

const fn tight(row: &'static str, wanted: f64) -> Target {
    let wanted = Wanted::AtMost(wanted);
    target(Benchmark::Dataplane, row, "to_tight", "TIGHT", wanted)
}

const fn forwarding(flows: u64, ratio: &'static str, to: &'static str, wanted: f64) -> Target {
    Target {
        benchmark: Benchmark::Forwarding,
        row: "correspondent",
        part: Part::Flows(flows),
        ratio,
        to,
        wanted: Wanted::AtLeast(wanted),
    }
}

const fn nft(flows: u64) -> Target {
    forwarding(flows, "to_nft", "nft DNAT", 2.5)
}

const fn known(flows: u64) -> Target {
    forwarding(flows, "to_known", "C", 1.0)
}

const fn hash(row: &'static str) -> Target {
    let wanted = Wanted::AtMost(1.5);
    target(Benchmark::Lookups, row, "to_hash", "hash map", wanted)
}

const fn two_cpus(row: &'static str, wanted: f64) -> Target {
    let wanted = Wanted::AtLeast(wanted);
    target(Benchmark::Dataplane, row, "two_cpus", "one CPU", wanted)
}

const fn handshake(row: &'static str, to: &'static str, wanted: f64) -> Target {
    let wanted = Wanted::AtLeast(wanted);
    target(Benchmark::Handshakes, row, "ratio", to, wanted)
}

const fn at_most(row: &'static str, to: &'static str) -> Target {
    let wanted = Wanted::AtMost(1.0);
    target(Benchmark::Handshakes, row, "ratio", to, wanted)
}

const fn iperf3(direction: &'static str) -> Target {
    Target {
        benchmark: Benchmark::Tcx,
        row: "bound flow, TCX",
        part: Part::Direction(direction),
        ratio: "ratio",
        to: "kernel",
        wanted: Wanted::AtLeast(0.97),
    }
}

const TARGETS: &[Target] = &[
    pass("ARP, all roles", 1.5),
    pass("transit, router", 1.5),
    pass("transit, member", 1.5),
    pass("transit, correspondent", 1.3),
    pass("client to elsewhere, correspondent", 1.5),
    pass("client to B, not bound", 2.2),
    pass("open TCP, client bound", 2.2),
    pass("open UDP, client bound", 2.2),
    pass("open TCP, from B", 2.2),
    pass("Report refused, 2 rules", 2.0),
    pass("Report refused, 255 rules", 2.0),
    pass("Report refused, 255 rules, forged senders", 5.0),
    tight("pinned to C, TX, hot", 0.55),
    tight("pinned to C, REDIRECT, hot", 0.55),
    tight("pinned to C, TX, 32,768 flows", 0.7),
    tight("pinned to C, REDIRECT, 32,768 flows", 0.7),
    tight("pinned to C, TX, SYN, new flows", 7.0),
    tight("pinned to C, TX, UDP, new flows", 10.0),
    two_cpus("two CPUs, pinned to C, TX, hot", 1.9),
    two_cpus("two CPUs, pinned to C, TX, 32,768 flows", 1.9),
    two_cpus("two CPUs, pinned to C, TX, SYN, new flows", 1.7),
    two_cpus("two CPUs, pinned to C, TX, UDP, new flows", 1.7),
    nft(1),
    nft(4096),
    known(1),
    known(4096),
    hash("BINDINGS"),
    hash("FLOWS"),
    iperf3("to the server"),
    iperf3("to the client"),
    handshake("Tests by programs", "1,000,000/s", 1.0),
    handshake("Tests by programs, to a daemon's", "daemon", 20.0),
    handshake("Binding Updates, 5,000 clients", "bare", 0.4),
    handshake("Binding Updates, 50,000 clients", "bare", 0.4),
    handshake("whole handshakes between two daemons", "40,000/s", 1.0),
    handshake("honest handshakes in a flood", "all", 0.999),
    handshake("bindings renewed in steady state", "all", 0.999),
    at_most("longest pause in steady state", "10 ms"),
    at_most("maps of a million bindings", "0.7 GB"),
];

/// A target, and its result.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Name of the path that was measured.
    pub name: String,
    /// What the ratio is relative to.
    pub to: &'static str,
    /// The ratio that the target asks for.
    pub wanted: f64,
    /// Whether the ratio must be at least as large; otherwise it must be at most as large.
    pub at_least: bool,
    /// The measured ratio of medians.
    pub is: f64,
    /// Interquartile range, as a fraction of the median.
    pub spread: f64,
    /// Those that a packet takes, where they are counted.
    pub instructions: Option<f64>,
}

impl Outcome {
    /// Whether the target is met.
    pub fn is_met(&self) -> bool {
        self.excess() <= 1.0
    }

    /// How much of what is allowed is used. The target is missed when this is above 1.
    pub fn excess(&self) -> f64 {
        if self.at_least {
            self.wanted / self.is
        } else {
            self.is / self.wanted
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:42} {} {:5.2} x {:11} {:7.2}  ±{:>3.0}%  {:6} {:>6}",
            self.name,
            if self.at_least { ">=" } else { "<=" },
            self.wanted,
            self.to,
            self.is,
            self.spread * 50.0,
            if self.is_met() { "met" } else { "missed" },
            self.instructions
                .map(|instructions| format!("{instructions:.0}"))
                .unwrap_or_default(),
        )
    }
}

/// Reads the results of the benchmarks from the files that `file` gives.
pub fn outcomes(file: impl Fn(Benchmark) -> PathBuf) -> Result<Vec<Outcome>> {
    let read = |benchmark| {
        let file = file(benchmark);
        fs::read_to_string(&file).with_context(|| file.display().to_string())
    };
    // Not every machine can count them.
    let counted = match read(Benchmark::Instructions) {
        Ok(rows) => instructions(&rows)?,
        Err(_) => BTreeMap::new(),
    };
    let of = |target: &Target| {
        let rows = read(target.benchmark)?;
        let outcome = outcome(target, &rows);
        let outcome = outcome.with_context(|| file(target.benchmark).display().to_string())?;
        // Rows of other benchmarks have other names.
        let instructions = counted.get(target.row).copied();
        Ok(Outcome {
            instructions,
            ..outcome
        })
    };
    TARGETS.iter().map(of).collect()
}

/// Instructions by the name of the case.
fn instructions(rows: &str) -> Result<BTreeMap<String, f64>> {
    let rows: Vec<Value> = serde_json::from_str(rows)?;
    let of = |row: &Value| {
        let instructions = row["instructions"].as_f64();
        let name = row["name"].as_str().map(str::to_owned);
        name.zip(instructions).context("no instructions of a case")
    };
    rows.iter().map(of).collect()
}

fn outcome(target: &Target, rows: &str) -> Result<Outcome> {
    let rows: Vec<Value> = serde_json::from_str(rows)?;
    let mut named = rows
        .iter()
        .filter(|row| row["name"] == target.row && target.part.is(row));
    let row = named
        .next()
        .with_context(|| format!("no row {}", target.row))?;
    ensure!(named.next().is_none(), "two rows {}", target.row);
    let number = |value: &Value, what: &str| {
        value
            .as_f64()
            .with_context(|| format!("{}: no {what}", target.row))
    };
    let [low, high] = [&row["quartiles"][0], &row["quartiles"][1]];
    let median = number(&row["median"], "median")?;
    let (wanted, at_least) = match target.wanted {
        Wanted::AtMost(wanted) => (wanted, false),
        Wanted::AtLeast(wanted) => (wanted, true),
    };
    Ok(Outcome {
        name: target.part.name(target.row),
        to: target.to,
        wanted,
        at_least,
        is: number(&row[target.ratio], target.ratio)?,
        spread: (number(high, "quartile")? - number(low, "quartile")?) / median,
        instructions: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_by_its_name_and_flows() {
        let rows = r#"[
            {"name": "correspondent", "flows": 1, "median": 4.0, "quartiles": [3.0, 5.0], "to_nft": 2.0},
            {"name": "correspondent", "flows": 4096, "median": 8.0, "quartiles": [7.0, 9.0], "to_nft": 3.0}
        ]"#;
        let [one, many] = [1, 4096].map(|flows| outcome(&nft(flows), rows).unwrap());
        assert!(!one.is_met() && many.is_met());
        assert_eq!(one.excess(), 1.25);
        assert_eq!(many.spread, 0.25);
        let error = outcome(&nft(2), rows).unwrap_err();
        assert!(error.to_string().contains("no row correspondent"));
    }

    #[test]
    fn each_case_has_its_instructions() {
        let counted = instructions(r#"[{"name": "x", "instructions": 7.0}]"#).unwrap();
        assert_eq!(counted.get("x"), Some(&7.0));
        assert!(instructions(r#"[{"name": "x"}]"#).is_err());
    }

    #[test]
    fn the_most_that_is_allowed_is_met() {
        let rows = |ratio: f64| {
            format!(r#"[{{"name": "x", "median": 1, "quartiles": [1, 1], "to_pass": {ratio}}}]"#)
        };
        let is_met = |ratio| outcome(&pass("x", 1.5), &rows(ratio)).unwrap().is_met();
        assert!(is_met(1.5) && !is_met(1.51));
    }
}
