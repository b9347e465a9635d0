//! The command `check`.

use std::path::Path;

use anyhow::{Result, bail};

use super::{
    ask::{Query, print},
    table::wrapped,
};
use crate::{
    config,
    shell::{host, surroundings},
};

/// Prints every problem of a configuration file, and with `host` what is in its way on this machine. With `--json`,
/// standard output gets both as JSON as well.
pub(super) fn run(file: &Path, host: bool, query: Query) -> Result<()> {
    let checked = config::load(file);
    let findings = match &checked {
        Ok(config) if host => host::look(config),
        _ => Vec::new(),
    };
    let warnings = match &checked {
        Ok(config) if host => surroundings::warnings(config),
        Ok(config) => config::warnings(config),
        Err(_) => Vec::new(),
    };
    if query.json {
        let problems = match &checked {
            Ok(_) => &[][..],
            Err(problems) => &problems.problems,
        };
        let ok = checked.is_ok();
        let mut answer =
            serde_json::json!({"file": file, "ok": ok, "problems": problems, "warnings": warnings});
        if host {
            answer["host"] = serde_json::to_value(&findings)?;
        }
        print(&format!("{answer:#}\n"))?;
    } else if checked.is_ok() {
        for warning in &warnings {
            print(&format!("{}: warning: {warning}\n", file.display()))?;
        }
        print(&format!("{}: OK\n", file.display()))?;
        for finding in &findings {
            let message = wrapped(&format!("! {}", finding.message), 0);
            print(&(message + &wrapped(&finding.remedy, 4)))?;
        }
    }
    checked?;
    match findings.len() {
        0 => Ok(()),
        1 => bail!("1 thing on this machine is in the way"),
        many => bail!("{many} things on this machine are in the way"),
    }
}
