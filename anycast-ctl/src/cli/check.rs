//! The command `check`, and `doctor`, which asks the daemon as well.

use std::path::Path;

use anyhow::{Result, bail};
use serde_json::Value;

use super::{
    ask::{Query, print},
    show_status,
    table::wrapped,
};
use crate::{
    config::{self, Config, Problem, Problems},
    shell::{
        api::{Request, client, view},
        finding::Finding,
        host, surroundings,
    },
};

/// Prints every problem of a configuration file, and with `host` what is in its way on this machine. With `--json`,
/// standard output gets both as JSON as well.
pub(super) fn run(file: &Path, host: bool, query: Query) -> Result<()> {
    let checked = Checked::new(file, host);
    match query.json {
        true => print(&format!("{:#}\n", checked.json()?))?,
        false => print(&checked.text())?,
    }
    let findings = checked.findings.len();
    checked.config?;
    in_the_way(findings)
}

/// Prints what is wrong with the daemon that runs, with its configuration file and with this machine.
pub(super) fn doctor(socket: &Path, file: &Path, query: Query) -> Result<()> {
    let asked = client::ask::<view::Status>(socket, &Request::Status);
    let problems = match asked {
        Ok(status) => status.problems,
        Err(error) => vec![view::Problem {
            code: "no_daemon".to_owned(),
            message: error.to_string(),
        }],
    };
    let checked = Checked::new(file, true);
    if query.json {
        let mut answer = checked.json()?;
        answer["daemon"] = serde_json::to_value(&problems)?;
        print(&format!("{answer:#}\n"))?;
    } else {
        print(&show_status::problems(&problems))?;
        print(&checked.text())?;
    }
    let findings = checked.findings.len();
    checked.config?;
    in_the_way(problems.len() + findings)
}

fn in_the_way(things: usize) -> Result<()> {
    match things {
        0 => Ok(()),
        1 => bail!("1 thing on this machine is in the way"),
        many => bail!("{many} things on this machine are in the way"),
    }
}

/// A configuration file that was looked at.
struct Checked<'a> {
    file: &'a Path,
    config: Result<Config, Problems>,
    /// What is legal, and surely not what was meant.
    warnings: Vec<Problem>,
    /// Whether this machine was looked at.
    host: bool,
    /// What is in the way there.
    findings: Vec<Finding>,
}

impl<'a> Checked<'a> {
    fn new(file: &'a Path, host: bool) -> Self {
        let checked = config::check(file);
        let (findings, of_machine) = match &checked {
            Ok((config, _)) if host => (host::look(config), surroundings::warnings(config)),
            Ok((config, _)) => (Vec::new(), config::by_passed(config)),
            Err(_) => Default::default(),
        };
        let of_machine = of_machine.into_iter();
        let of_machine = of_machine.map(|reason| Problem { line: None, reason });
        let (config, mut warnings) = match checked {
            Ok((config, advice)) => (Ok(config), advice),
            Err(problems) => (Err(problems), Vec::new()),
        };
        warnings.extend(of_machine);
        Self {
            file,
            config,
            warnings,
            host,
            findings,
        }
    }

    fn json(&self) -> Result<Value> {
        let problems = match &self.config {
            Ok(_) => &[][..],
            Err(problems) => &problems.problems,
        };
        let (file, ok, warnings) = (self.file, self.config.is_ok(), &self.warnings);
        let mut answer =
            serde_json::json!({"file": file, "ok": ok, "problems": problems, "warnings": warnings});
        if self.host {
            answer["host"] = serde_json::to_value(&self.findings)?;
        }
        Ok(answer)
    }

    /// Nothing where the file is wrong: that is an error of the command.
    fn text(&self) -> String {
        if self.config.is_err() {
            return String::new();
        }
        let file = self.file.display();
        let mut text = String::new();
        for warning in &self.warnings {
            let line = warning.line.map(|line| format!(":{line}"));
            let line = line.unwrap_or_default();
            text += &format!("{file}{line}: warning: {}\n", warning.reason);
        }
        text += &format!("{file}: OK\n");
        for finding in &self.findings {
            text += &wrapped(&format!("! {}", finding.message), 0);
            text += &wrapped(&finding.remedy, 4);
        }
        text
    }
}
