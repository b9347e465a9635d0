//! The report of the lab: it is printed while the lab runs, and kept as data.

use std::{
    fmt::Display,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::net::{
    capture,
    wait::{self, Missed},
};

use super::verdict::Unmet;

/// Where printed lines end.
const COLUMNS: usize = 120;

/// The result of one step.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Its name.
    pub name: &'static str,
    /// Whether it showed what it must.
    pub ok: bool,
    /// Duration of the step in seconds.
    pub seconds: f64,
    /// Its evidence, one line each.
    pub evidence: Vec<String>,
    /// Why it could not be shown on this machine, if it could not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_shown: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// Why a step failed.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// What was expected.
    pub expected: String,
    /// What was seen.
    pub seen: String,
    /// The node whose log may show the reason.
    pub node: Option<&'static str>,
}

/// The report of all steps.
#[derive(Debug)]
pub struct Report {
    steps: Vec<Step>,
    data: Map<String, Value>,
    began: Instant,
    began_at: u64,
    quiet: bool,
}

impl Report {
    /// Begins a report now. If it is `quiet`, it keeps everything and prints nothing.
    pub fn begin(quiet: bool) -> Self {
        Self {
            steps: Vec::new(),
            data: Map::new(),
            began: Instant::now(),
            began_at: capture::now(),
            quiet,
        }
    }

    /// Seconds from the beginning to this time of a capture.
    pub fn at(&self, time: u64) -> f64 {
        Duration::from_nanos(time.saturating_sub(self.began_at)).as_secs_f64()
    }

    /// Runs a step and prints its result.
    pub fn step<R>(
        &mut self,
        name: &'static str,
        title: &str,
        body: impl FnOnce(&mut Evidence<'_>) -> Result<R>,
    ) -> Result<R> {
        let started = Instant::now();
        self.tell(format_args!("\n{}  {title}", self.steps.len()));
        let mut evidence = Evidence {
            report: self,
            lines: Vec::new(),
            not_shown: None,
        };
        let result = body(&mut evidence);
        let Evidence {
            lines: evidence,
            not_shown,
            ..
        } = evidence;
        let seconds = started.elapsed().as_secs_f64();
        let failure = result.as_ref().err().map(failure);
        match &failure {
            None if not_shown.is_some() => self.tell("   not shown"),
            None => self.tell(format_args!("   ok, {seconds:.2} s")),
            Some(_) if wait::interrupted() => self.tell("   interrupted"),
            Some(failure) => self.tell(format_args!(
                "   FAILED after {seconds:.2} s\n   expected  {}\n   seen      {}",
                failure.expected, failure.seen
            )),
        }
        self.steps.push(Step {
            name,
            ok: failure.is_none(),
            seconds,
            evidence,
            not_shown,
            failure,
        });
        result
    }

    /// Prints a line.
    pub fn tell(&self, line: impl Display) {
        if !self.quiet {
            println!("{line}");
        }
    }

    /// Adds a value to the data.
    pub fn keep(&mut self, name: &str, value: impl Into<Value>) {
        self.data.insert(name.to_owned(), value.into());
    }

    /// The steps so far.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The whole report as JSON.
    pub fn to_json(&self) -> Value {
        let mut all = json!({
            "ok": self.steps.iter().all(|step| step.ok),
            "seconds": self.began.elapsed().as_secs_f64(),
            "steps": self.steps,
        });
        for (name, value) in &self.data {
            all[name] = value.clone();
        }
        all
    }

    /// Writes the whole report to a file, as JSON.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.to_json())? + "\n";
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Takes the evidence of a step.
#[derive(Debug)]
pub struct Evidence<'a> {
    report: &'a mut Report,
    lines: Vec<String>,
    not_shown: Option<String>,
}

impl Evidence<'_> {
    /// Adds a fact.
    pub fn fact(&mut self, line: impl Display) {
        let line = line.to_string();
        self.report.tell(wrapped("", &line));
        self.lines.push(line);
    }

    /// Says why the step cannot be shown on this machine.
    pub fn not_shown(&mut self, reason: &str) {
        self.fact(reason);
        self.not_shown = Some(reason.to_owned());
    }

    /// Adds an event that happened at this time.
    pub fn event(&mut self, time: u64, line: impl Display) {
        let (at, line) = (format!("{:.6}", self.report.at(time)), line.to_string());
        self.report.tell(wrapped(&at, &line));
        self.lines.push(format!("{at}  {line}"));
    }

    /// Prints what is going on, for a user who waits. This is not evidence.
    pub fn progress(&self, line: impl Display) {
        self.report.tell(wrapped("...", &line.to_string()));
    }

    /// Adds a value to the data.
    pub fn keep(&mut self, name: &str, value: impl Into<Value>) {
        self.report.keep(name, value);
    }

    /// Prints a line without any change.
    pub fn tell(&self, line: impl Display) {
        self.report.tell(line);
    }
}

/// A line of evidence as it is printed, behind what stands in front of it.
fn wrapped(margin: &str, line: &str) -> String {
    let (first, next) = (format!("   {margin:>12}  "), " ".repeat(21));
    let options = textwrap::Options::new(COLUMNS)
        .initial_indent(&first)
        .subsequent_indent(&next)
        .break_words(false);
    textwrap::fill(line, options)
}

fn failure(error: &anyhow::Error) -> Failure {
    if let Some(unmet) = error.downcast_ref::<Unmet>() {
        return Failure {
            expected: unmet.expected.clone(),
            seen: unmet.seen.clone(),
            node: unmet.node,
        };
    }
    let (expected, seen) = match error.downcast_ref::<Missed>() {
        Some(Missed::Deadline { what, limit }) => (
            what.clone(),
            format!("nothing of it within {:.1} s", limit.as_secs_f64()),
        ),
        Some(Missed::Ended { what, who }) => (what.clone(), who.clone()),
        Some(Missed::Interrupted) => ("to come to an end".to_owned(), "interrupted".to_owned()),
        None => ("to get on".to_owned(), format!("{error:#}")),
    };
    Failure {
        expected,
        seen,
        node: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_between_words_and_a_short_one_stays() {
        let short = wrapped("1.5", "fe80::1 > ff02::1    Query");
        assert_eq!(short, "            1.5  fe80::1 > ff02::1    Query");
        let long = wrapped("", &"word ".repeat(60));
        let ends = long.lines().map(str::len).max();
        assert!(
            ends.is_some_and(|end| end > 110 && end <= COLUMNS),
            "{long}"
        );
        assert_eq!(long.split_whitespace().count(), 60);
    }
}
