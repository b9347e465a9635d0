//! What came of the guests, as a table and as data.

use std::{fmt::Write as _, path::Path};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    guest::{Ended, Step},
    list::Kernel,
    package::Unobtainable,
};

/// Steps that are no session.
const BESIDE: [&str; 2] = ["load", "captures"];

/// A program and the verifier.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Loaded {
    pub program: String,
    /// Instructions that the verifier followed, where it took the program.
    pub instructions: Option<u64>,
    /// How long that took.
    pub milliseconds: f64,
    /// Why it did not, in the verifier's last words.
    pub error: Option<String>,
}

/// What happened on one kernel.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Outcome {
    pub kernel: String,
    /// What `uname -r` says.
    pub release: String,
    pub programs: Vec<Loaded>,
    pub steps: Vec<Ended>,
    /// What kept it from a result.
    pub error: Option<String>,
    /// Why it was not tried: its packages cannot be had.
    pub ignored: Option<String>,
}

impl Outcome {
    /// Reads what the guest said.
    pub(super) fn new(
        kernel: &Kernel,
        release: &str,
        steps: &[Step],
        marked: Vec<Value>,
        log: &Path,
    ) -> Result<Self> {
        let (mut programs, mut ended) = (Vec::new(), Vec::new());
        for value in marked {
            if value["program"].is_string() {
                programs.push(serde_json::from_value(value)?);
            } else {
                let step: Ended = serde_json::from_value(value).context("a line of the guest")?;
                ended.push(step);
            }
        }
        let error = (ended.len() < steps.len()).then(|| {
            let log = log.display();
            format!("the guest did not come to its end: see {log}")
        });
        Ok(Self {
            kernel: kernel.name.clone(),
            release: release.to_owned(),
            programs,
            steps: ended,
            error,
            ignored: None,
        })
    }

    /// The guest never said anything.
    pub(super) fn without_guest(kernel: &str, error: &anyhow::Error) -> Self {
        let why = Some(format!("{error:#}"));
        let unobtainable = error.is::<Unobtainable>();
        Self {
            kernel: kernel.to_owned(),
            release: String::new(),
            programs: Vec::new(),
            steps: Vec::new(),
            error: why.clone().filter(|_| !unobtainable),
            ignored: why.filter(|_| unobtainable),
        }
    }

    /// Whether everything loaded and every step passed, or nothing could be tried.
    pub(super) fn is_good(&self) -> bool {
        if self.ignored.is_some() {
            return true;
        }
        let loaded = self.programs.iter().all(|program| program.error.is_none());
        let passed = self.steps.iter().all(|step| step.success);
        self.error.is_none() && !self.programs.is_empty() && loaded && passed
    }

    fn loaded(&self) -> usize {
        let loaded = self.programs.iter().filter(|it| it.error.is_none());
        loaded.count()
    }

    /// In one line.
    pub(super) fn line(&self) -> String {
        if let Some(reason) = &self.ignored {
            return format!("{}: ignored: {reason}", self.kernel);
        }
        format!(
            "{}: {} of {} programs load{}",
            self.kernel,
            self.loaded(),
            self.programs.len(),
            match &self.error {
                Some(error) => format!("; {error}"),
                None => String::new(),
            }
        )
    }

    fn row(&self) -> String {
        let most = self.programs.iter().filter_map(|it| it.instructions).max();
        let slowest = self.programs.iter().map(|it| it.milliseconds);
        let all: f64 = slowest.sum();
        let session = self
            .steps
            .iter()
            .find(|step| !BESIDE.contains(&&*step.step));
        format!(
            "| {} | {} of {} | {} | {:.1} | {} | {} |",
            if self.release.is_empty() {
                &self.kernel
            } else {
                &self.release
            },
            self.loaded(),
            self.programs.len(),
            most.map_or_else(|| "-".to_owned(), |most| most.to_string()),
            all / 1000.0,
            session.map_or("-", Ended::word),
            self.remarks(),
        )
    }

    fn remarks(&self) -> String {
        let mut remarks = Vec::new();
        remarks.extend(self.error.clone());
        remarks.extend(self.ignored.as_ref().map(|why| format!("ignored: {why}")));
        let failed = self.programs.iter().filter(|it| it.error.is_some());
        // One reason stands for all that share it.
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for program in failed {
            let reason = program.error.as_deref().unwrap_or_default();
            let name = program.program.as_str();
            match reasons.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, names)) => names.push(name),
                None => reasons.push((reason, vec![name])),
            }
        }
        for (reason, names) in reasons {
            remarks.push(format!("{}: {reason}", names.join(", ")));
        }
        let failed = self.steps.iter().filter(|step| !step.success);
        remarks.extend(failed.map(|step| format!("{}: {}", step.step, step.how)));
        remarks.join("; ").replace('|', "/")
    }
}

/// A table in Markdown.
pub(super) fn table(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| kernel | programs that load | most instructions | s to load all | session | remarks |\n\
         |---|---|---:|---:|---|---|\n",
    );
    for outcome in outcomes {
        let _ = writeln!(text, "{}", outcome.row());
    }
    text
}

/// Those that were not tried, a line each, and how many were.
pub(super) fn ignored(outcomes: &[Outcome]) -> String {
    let lines = outcomes.iter().filter(|outcome| outcome.ignored.is_some());
    let lines: Vec<String> = lines.map(Outcome::line).collect();
    let tried = outcomes.len() - lines.len();
    let mut text = format!("{tried} of {} kernels tried\n", outcomes.len());
    for line in lines {
        text += &line;
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_had_is_ignored_and_what_is_wrong_fails() {
        let gone = Unobtainable("sid has no linux 9.9".to_owned());
        let gone = Outcome::without_guest("9.9", &anyhow::Error::from(gone).context("a kernel"));
        assert!(gone.is_good());
        let wrong = Outcome::without_guest("9.8", &anyhow::anyhow!("another SHA-256"));
        assert!(!wrong.is_good());
        let said = ignored(&[gone, wrong]);
        assert_eq!(
            said,
            "1 of 2 kernels tried\n9.9: ignored: a kernel: sid has no linux 9.9\n"
        );
    }
}
