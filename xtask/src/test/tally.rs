//! Summarises the output of many test programs: which tests failed, which were ignored, and why.

use std::{collections::BTreeMap, fmt};

/// Largest number of ignored tests with the same reason that are listed one by one.
const NAMED: usize = 12;

/// Reads the output of `cargo test` line by line. Test programs write in the format of libtest.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The test program whose output is being read.
    suite: String,
    /// Whether the output is inside the list of failed tests.
    failures: bool,
    /// Whether the output is inside cargo's list of failed programs.
    targets: bool,
    passed: u64,
    failed: u64,
    /// Suite and name of each failed test.
    failed_tests: Vec<(String, String)>,
    /// Programs that cargo lists as failed.
    failed_suites: Vec<String>,
    /// Suite and name of each ignored test, by the reason.
    ignored: BTreeMap<String, Vec<(String, String)>>,
}

impl Tally {
    pub(super) fn read(&mut self, line: &str) {
        let line = line.trim_end();
        if let Some(name) = named(line) {
            if self.failures {
                let failed = (self.suite.clone(), name.to_owned());
                // The test's own output may contain its name as well.
                if !self.failed_tests.contains(&failed) {
                    self.failed_tests.push(failed);
                }
            } else if self.targets && name.starts_with('`') {
                self.failed_suites.push(name.trim_matches('`').to_owned());
            }
            if self.failures || self.targets {
                return;
            }
        }
        self.failures = line == "failures:";
        self.targets = line.starts_with("error: ") && line.ends_with(" failed:");
        if let Some(suite) = suite(line) {
            self.suite = suite.to_owned();
        } else if let Some(counts) = line.strip_prefix("test result: ") {
            self.passed += count(counts, "passed");
            self.failed += count(counts, "failed");
        } else if let Some((name, reason)) = ignored(line) {
            let test = (self.suite.clone(), name.to_owned());
            self.ignored
                .entry(reason.to_owned())
                .or_default()
                .push(test);
        }
    }
}

/// A name in a list of names.
fn named(line: &str) -> Option<&str> {
    let name = line.strip_prefix("    ")?;
    (!name.is_empty() && !name.starts_with(' ')).then_some(name)
}

/// Reads the program from a line such as `     Running tests/daemon/main.rs (target/debug/deps/daemon-99)` or `
/// Doc-tests xtask`.
fn suite(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let program = line.strip_prefix("Running ").and_then(|rest| {
        let (_, program) = rest.rsplit_once('(')?;
        let name = program.strip_suffix(')')?.rsplit('/').next()?;
        Some(name.rsplit_once('-').map_or(name, |(name, _)| name))
    });
    program.or(line.starts_with("Doc-tests ").then_some(line))
}

/// Name and reason of an ignored test. libtest writes `test NAME ... ignored, REASON`, and `kernel_tests` writes `test
/// NAME [REASON] ... ignored`.
fn ignored(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let name = name.trim_end();
    let reason = rest.strip_prefix("ignored")?;
    if let Some(reason) = reason.strip_prefix(", ") {
        return Some((name, reason));
    }
    let bracketed = name
        .strip_suffix(']')
        .and_then(|name| name.split_once(" ["));
    Some(bracketed.unwrap_or((name, "no reason is given")))
}

/// Reads the number before a word in a line such as `ok. 10 passed; 0 failed; 0 ignored`.
fn count(counts: &str, word: &str) -> u64 {
    let words: Vec<_> = counts.split([' ', ';']).collect();
    let pair = words.windows(2).find(|pair| pair[1] == word);
    pair.and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (suite, test) in &self.failed_tests {
            writeln!(f, "FAILED   {suite}: {test}")?;
        }
        for suite in &self.failed_suites {
            writeln!(f, "FAILED   cargo test {suite}")?;
        }
        let mut all = 0;
        for (reason, tests) in &self.ignored {
            all += tests.len();
            writeln!(f, "ignored  {} for this reason: {reason}", tests.len())?;
            let mut suites: BTreeMap<&str, usize> = BTreeMap::new();
            for (suite, test) in tests {
                if tests.len() <= NAMED {
                    writeln!(f, "         {suite}: {test}")?;
                }
                *suites.entry(suite).or_default() += 1;
            }
            if tests.len() > NAMED {
                let suites: Vec<_> = suites
                    .iter()
                    .map(|(suite, tests)| format!("{tests} of {suite}"))
                    .collect();
                writeln!(f, "         {}", suites.join(", "))?;
            }
        }
        let Self { passed, failed, .. } = self;
        write!(f, "{passed} passed, {failed} failed, {all} ignored")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Output of cargo 1.90 and of the two harnesses.
    const SAID: &str = "\
     Running unittests src/lib.rs (target/debug/deps/anycast_ctl-0a)

running 3 tests
test core::one ... ok
test core::two ... FAILED
test core::three ... ignored, takes an hour

failures:

---- core::two stdout ----
failures:
    core::two

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.40s

error: test failed, to rerun pass `-p anycast-ctl --lib`
     Running tests/my-suite/main.rs (target/debug/deps/my-suite-7f)

running 3 tests
test a name, with ... dots               ... ok
test libbpf loads it [there is no bpftool here] ... ignored
test something else ... a word of a child
    that is indented
FAILED

failures:

---- something else ----
one
    two


failures:
    something else

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 20.63s

error: test failed, to rerun pass `-p anycast-ctl --test my-suite`
   Doc-tests xtask

running 1 test
test src/x.rs - x (line 9) ... ignored

test result: ok. 0 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s

error: 2 targets failed:
    `-p anycast-ctl --lib`
    `-p anycast-ctl --test my-suite`
";

    const TOLD: &str = "\
FAILED   anycast_ctl: core::two
FAILED   my-suite: something else
FAILED   cargo test -p anycast-ctl --lib
FAILED   cargo test -p anycast-ctl --test my-suite
ignored  1 for this reason: no reason is given
         Doc-tests xtask: src/x.rs - x (line 9)
ignored  1 for this reason: takes an hour
         anycast_ctl: core::three
ignored  1 for this reason: there is no bpftool here
         my-suite: libbpf loads it
2 passed, 2 failed, 3 ignored";

    #[test]
    fn everything_that_did_not_pass_is_named() {
        let mut tally = Tally::default();
        SAID.lines().for_each(|line| tally.read(line));
        assert_eq!(tally.to_string(), TOLD);
    }

    #[test]
    fn a_machine_without_root_is_one_line_for_a_suite() {
        let mut tally = Tally::default();
        tally.read("     Running tests/daemon/main.rs (target/debug/deps/daemon-99)");
        for number in 0..NAMED + 1 {
            tally.read(&format!("test {number} [no root] ... ignored"));
        }
        let told = "ignored  13 for this reason: no root\n         13 of daemon\n\
                    0 passed, 0 failed, 13 ignored";
        assert_eq!(tally.to_string(), told);
    }
}
