//! The command `check`, and `doctor`, which asks the daemon as well.

use std::path::Path;

use anyhow::{Result, bail};
use tracing::Level;

use super::{
    ask::{Query, answer},
    log, show_status,
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
    answer(&checked.found(), query, |_| checked.text())?;
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
            code: error.code().to_owned(),
            message: error.to_string(),
        }],
    };
    let checked = Checked::new(file, true);
    let found = view::Doctor {
        daemon: problems,
        checked: checked.found(),
    };
    answer(&found, query, |found| {
        show_status::problems(&found.daemon) + &checked.text()
    })?;
    let findings = checked.findings.len();
    checked.config?;
    in_the_way(found.daemon.len() + findings)
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

    fn found(&self) -> view::Checked {
        view::Checked {
            file: self.file.to_owned(),
            ok: self.config.is_ok(),
            problems: match &self.config {
                Ok(_) => Vec::new(),
                Err(problems) => problems.problems.clone(),
            },
            warnings: self.warnings.clone(),
            host: self.host.then(|| self.findings.clone()),
        }
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
            text += &to_look_at(format!("{file}{line}: warning: {}\n", warning.reason));
        }
        text += &format!("{file}: OK\n");
        for finding in &self.findings {
            let said = wrapped(&format!("! {}", finding.message), 0);
            text += &to_look_at(said + &wrapped(&finding.remedy, 4));
        }
        text
    }
}

/// What somebody should look at, as a warning of the journal where it goes there: the unit checks its file first.
fn to_look_at(text: String) -> String {
    match log::is_journal(log::STDOUT) {
        true => log::with_priority(Level::WARN, &text) + "\n",
        false => text,
    }
}
