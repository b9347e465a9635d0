//! The configuration file: one TOML file per machine.
//!
//! [`file`] is what may stand in it, [`validate`] what it must not say, [`settings`] turns it into
//! what the core takes. Every complaint names a line.

pub mod file;
pub mod health;
mod report;
pub mod settings;
mod validate;
pub mod value;

use std::path::Path;

pub use file::Config;
pub use report::{Problem, Problems};

/// Reads and checks the file at `path`.
pub fn load(path: &Path) -> Result<Config, Problems> {
    let text = std::fs::read_to_string(path).map_err(|error| Problems {
        file: path.display().to_string(),
        problems: vec![Problem {
            line: None,
            reason: format!("cannot be read: {error}"),
        }],
    })?;
    parse(&text, &path.display().to_string())
}

/// Reads and checks the text of a configuration; `file` names it in complaints.
pub fn parse(text: &str, file: &str) -> Result<Config, Problems> {
    let problems = |problems| Problems {
        file: file.to_owned(),
        problems,
    };
    let config: Config = toml::from_str(text).map_err(|error| {
        problems(vec![Problem {
            line: error.span().map(|span| report::line(text, span.start)),
            reason: error.message().trim().replace('\n', ", "),
        }])
    })?;
    let found = validate::validate(&config, text);
    if found.is_empty() {
        Ok(config)
    } else {
        Err(problems(found))
    }
}

#[cfg(test)]
mod tests;
