//! The configuration file: one TOML file per machine.
//!
//! [`file`] describes the structure of the file, [`validate`] checks what the structure alone cannot express, and
//! [`settings`] makes the settings of the core out of it. Every complaint names a line of the file.

mod advice;
pub mod file;
mod given;
pub mod health;
pub mod limits;
mod read;
mod report;
pub mod running;
pub mod settings;
mod validate;
pub mod value;
mod words;

use std::path::Path;

use toml::Spanned;

use crate::{
    core::router,
    model::{policy, program::Mode},
};

pub use file::Config;
pub use report::{Problem, Problems};

/// Reads and checks the file at `path`, with what is to be said of a file that is right: what is legal there, and
/// surely not what was meant.
pub fn check(path: &Path) -> Result<(Config, Vec<Problem>), Problems> {
    let text = text(path)?;
    let config = parse(&text, &path.display().to_string())?;
    let advice = advice::of(&config, &text);
    Ok((config, advice))
}

fn text(path: &Path) -> Result<String, Problems> {
    std::fs::read_to_string(path).map_err(|error| Problems {
        file: path.display().to_string(),
        problems: vec![Problem {
            line: None,
            reason: format!("cannot be read: {error}"),
        }],
    })
}

/// Reads and checks the text of a configuration. `file` is the name that complaints give to it.
pub fn parse(text: &str, file: &str) -> Result<Config, Problems> {
    let problems = |problems| Problems {
        file: file.to_owned(),
        problems,
    };
    let read::Read {
        config,
        problems: mut found,
        incomplete,
    } = read::read(text);
    let Some(config) = config else {
        return Err(problems(found));
    };
    let is_whole = found.is_empty();
    let more = validate::validate(&config, text);
    found.extend(more.into_iter().filter(|problem| {
        is_whole || problem.line.is_some_and(|line| !incomplete.contains(&line))
    }));
    if found.is_empty() {
        return Ok(config);
    }
    found.sort();
    found.dedup();
    Err(problems(found))
}

/// What is to be said about XDP, where the machine is not looked at.
#[must_use]
pub fn by_passed(config: &Config) -> Vec<String> {
    let native = |mode| matches!(mode, Mode::Native | Mode::Generic);
    let by_passes = config
        .correspondent_role()
        .is_some_and(|correspondent| native(correspondent.effective_mode()));
    let by_passed = "[correspondent]: XDP forwards packets of bound flows past netfilter, its filters and counts: \
         forward = \"kernel\" does not (docs/firewalls.md)";
    by_passes
        .then(|| by_passed.to_owned())
        .into_iter()
        .collect()
}

/// Checks a rule that was given at run time as if it stood in the configuration file of a router with these interfaces.
///
/// # Errors
///
/// A sentence that says what is wrong with the rule.
pub fn rule<'a>(
    rule: &policy::Rule,
    interfaces: impl IntoIterator<Item = &'a str>,
) -> Result<router::Rule, String> {
    fn nowhere<T>(value: T) -> Spanned<T> {
        Spanned::new(0..0, value)
    }
    let rule = file::Rule {
        source: nowhere(value::Prefix(rule.source)),
        mac: rule.mac,
        interface: rule.interface.clone().map(nowhere),
        anycast: nowhere(value::Prefix(rule.anycast)),
        action: rule.action,
        max_members_per_group: rule.max_members_per_group,
        max_groups_per_member: rule.max_groups_per_member,
    };
    let interfaces: Vec<_> = interfaces
        .into_iter()
        .map(|name| nowhere(name.to_owned()))
        .collect();
    let problems = validate::rule(&rule, &interfaces);
    if problems.is_empty() {
        return Ok(settings::rule(&rule));
    }
    let reasons: Vec<_> = problems.into_iter().map(|problem| problem.reason).collect();
    Err(reasons.join("; "))
}

#[cfg(test)]
mod tests;
