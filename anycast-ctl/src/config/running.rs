//! What a running daemon takes of a changed file, and what needs a restart.

use std::path::Path;

use toml::{Table, Value};

use super::{Config, Problem, Problems, parse, text};

/// The keys that a running daemon takes, by section.
const TAKEN: [(&str, &[&str]); 3] = [
    (
        "router",
        &[
            "fast_leave",
            "general_queries",
            "interface",
            "interfaces",
            "limits",
            "link_hold",
            "policy",
            "probe_interval",
            "queriers",
        ],
    ),
    (
        "member",
        &["group", "handshake", "interfaces", "listener", "sessions"],
    ),
    (
        "correspondent",
        &[
            "allow",
            "client_prefixes",
            "flows",
            "interfaces",
            "limits",
            "max_bindings",
            "max_bindings_per_member",
            "max_bindings_per_prefix",
            "pins",
        ],
    ),
];

/// What a daemon runs with: the file that it was started with, and what it has taken since.
#[derive(Clone, Debug)]
pub struct Running(Table);

/// What a daemon would run with after a reload.
#[derive(Debug)]
pub struct Next {
    /// What the daemon takes, and what stays as it is.
    pub config: Config,
    /// The same, to compare the next file with.
    pub running: Running,
    /// What the file has and the daemon does not take, as `section` or `section.key`.
    pub restart: Vec<String>,
}

impl Running {
    /// Reads and checks the file at `path`. Gives what it says twice: once for a daemon to start with, and once for it
    /// to compare with what the file says later.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn load(path: &Path) -> Result<(Config, Self), Problems> {
        let text = text(path)?;
        let config = parse(&text, &path.display().to_string())?;
        Ok((config, Self(table(&text))))
    }

    /// What it says.
    ///
    /// # Errors
    ///
    /// When parts of two files are wrong together.
    pub fn config(&self) -> Result<Config, Problems> {
        parse(&self.0.to_string(), "the configuration")
    }

    /// What a daemon takes of the file at `path`.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, or with what the daemon takes beside what it does not.
    pub fn next(&self, path: &Path) -> Result<Next, Problems> {
        let text = text(path)?;
        let file = path.display().to_string();
        parse(&text, &file)?;
        let now = table(&text);
        let running = Self(taken(&self.0, &now));
        let restart = differing(&running.0, &now);
        let config = running.config().map_err(|problems| {
            let problem = |problem: Problem| Problem {
                line: None,
                reason: format!(
                    "without a restart ({} stay as they are): {}",
                    restart.join(", "),
                    problem.reason
                ),
            };
            Problems {
                file,
                problems: problems.problems.into_iter().map(problem).collect(),
            }
        })?;
        Ok(Next {
            config,
            running,
            restart,
        })
    }
}

/// What a file with this text says, which has been found right.
fn table(text: &str) -> Table {
    text.parse().unwrap_or_default()
}

/// What runs after the keys of `now` were taken that a running daemon takes. Sections come and go with a restart.
fn taken(running: &Table, now: &Table) -> Table {
    let mut next = running.clone();
    for (section, keys) in TAKEN {
        let (Some(Value::Table(next)), Some(Value::Table(now))) =
            (next.get_mut(section), now.get(section))
        else {
            continue;
        };
        for key in keys {
            match now.get(*key) {
                Some(value) => next.insert((*key).to_owned(), value.clone()),
                None => next.remove(*key),
            };
        }
    }
    next
}

/// The keys that differ.
fn differing(running: &Table, now: &Table) -> Vec<String> {
    let mut named = Vec::new();
    for section in keys(running, now) {
        match (running.get(&section), now.get(&section)) {
            (Some(Value::Table(running)), Some(Value::Table(now))) => {
                let differ = keys(running, now).into_iter();
                let differ = differ.filter(|key| running.get(key) != now.get(key));
                named.extend(differ.map(|key| format!("{section}.{key}")));
            }
            _ => named.push(section),
        }
    }
    named
}

/// All keys of either, each once.
fn keys(one: &Table, other: &Table) -> Vec<String> {
    let added = other.keys().filter(|key| !one.contains_key(*key));
    one.keys().chain(added).cloned().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may abort")]

    use super::*;

    const FILE: &str = "[router]\ninterfaces = [\"lan0\"]\n[[router.policy]]\nsource = \"fe80::11\"\n\
        [correspondent]\ninterfaces = [\"up0\"]\nallow = [\"2001:db8:a::/48\"]\n\
        [member]\n[[member.group]]\nanycast = \"2001:db8:a::53\"\nhealth = { type = \"tcp\", port = 1 }\n";

    fn file(text: &str) -> Table {
        text.parse().unwrap()
    }

    #[test]
    fn what_a_daemon_does_not_take_is_named_and_stays() {
        for (before, after, named) in [
            ("fe80::11", "fe80::12", &[][..]),
            ("allow = [\"2001:db8:a::/48\"]", "client_prefixes = []", &[]),
            ("port = 1", "port = 2, rise = 3", &[]),
            ("lan0", "lan1", &[]),
            ("2001:db8:a::53", "2001:db8:a::54", &[]),
            ("health = { type = \"tcp\", port = 1 }", "", &[]),
            (
                "[member]",
                "[data_plane]\nflows = 9\n[member]\nmode = \"tcx\"",
                &["member.mode", "data_plane"],
            ),
        ] {
            let changed = file(&FILE.replace(before, after));
            assert_ne!(changed, file(FILE), "{before}");
            let next = taken(&file(FILE), &changed);
            assert_eq!(differing(&next, &changed), named, "{before} -> {after}");
            // What was not taken is as it was, and named again at the next time.
            assert_eq!(next == changed, named.is_empty());
            assert_eq!(differing(&taken(&next, &changed), &changed), named);
        }
    }

    #[test]
    fn what_runs_is_what_was_checked_whatever_the_file_says_since() {
        let name = format!("anycast-running-{}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        let text = "[router]\ninterfaces = [\"lan0\"]\n";
        std::fs::write(&path, text).unwrap();
        let (_, running) = Running::load(&path).unwrap();
        std::fs::write(&path, format!("{text}mode = \"tcx\"\n")).unwrap();
        let next = running.next(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(running.0, file(text));
        assert_eq!(next.restart, ["router.mode"]);
    }

    #[test]
    fn a_role_comes_and_goes_with_a_restart() {
        let router = file("[router]\ninterfaces = [\"lan0\"]\n");
        let next = taken(&router, &file(FILE));
        assert_eq!(next.len(), 1);
        let named = differing(&next, &file(FILE));
        assert_eq!(named, ["correspondent", "member"]);
    }
}
