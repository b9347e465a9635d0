//! A test harness for what needs root and a real kernel.
//!
//! Where that cannot be had, the tests are listed as ignored and the reason is printed: a machine
//! without privileges must not report them as passed.
//!
//! The tests have a BPF file system of their own ([`bpffs::private`]): what daemons pin in it meets nothing of other
//! daemons, and is gone when the suite has ended.
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     xtask::kernel_tests::Suite::new()
//!         .test("a program loads", || Ok(()))
//!         .run()
//! }
//! ```

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::{net::bpffs, probe};

type Body = Box<dyn FnOnce() -> anyhow::Result<()> + Send>;

struct Test {
    name: String,
    body: Body,
    /// It needs a BPF file system.
    pins: bool,
}

/// Tests of one file under `tests/`, which has `harness = false` in its `[[test]]`.
#[derive(Default)]
pub struct Suite {
    tests: Vec<Test>,
    ignored: Vec<Trial>,
    threads: Option<usize>,
}

impl Suite {
    /// An empty one, which runs a test at a time.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a test. An error or a panic fails it.
    #[must_use]
    pub fn test(
        self,
        name: impl Into<String>,
        body: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
    ) -> Self {
        self.add(name.into(), Box::new(body), false)
    }

    /// Adds a test about what is pinned in the BPF file system: it is ignored where none can be mounted.
    #[must_use]
    pub fn test_with_pins(
        self,
        name: impl Into<String>,
        body: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
    ) -> Self {
        self.add(name.into(), Box::new(body), true)
    }

    fn add(mut self, name: String, body: Body, pins: bool) -> Self {
        self.tests.push(Test { name, body, pins });
        self
    }

    /// Adds the tests of another suite, with a word before their names. What `enter` gives lives as long
    /// as each of them.
    #[must_use]
    pub fn again<G>(mut self, other: Self, word: &str, enter: fn() -> G) -> Self
    where
        G: 'static,
    {
        for Test { name, body, pins } in other.tests {
            let again = move || {
                let _guard = enter();
                body()
            };
            self = self.add(format!("{word}: {name}"), Box::new(again), pins);
        }
        self
    }

    /// Adds a test that cannot run on this machine, and says why.
    #[must_use]
    pub fn ignored(mut self, name: impl Into<String>, reason: &str) -> Self {
        self.ignored.push(ignored(&name.into(), reason));
        self
    }

    /// How many run at once. For tests that share nothing, such as those with a network namespace
    /// each.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Runs them as libtest would, with its arguments. To be called in the main thread, before there are others.
    pub fn run(self) -> ExitCode {
        let mut arguments = Arguments::from_args();
        arguments.test_threads = arguments.test_threads.or(self.threads).or(Some(1));
        let obstacle = probe::kernel_as_root().err();
        let no_pins = match obstacle {
            Some(_) => None,
            None => bpffs::private().err().map(|error| format!("{error:#}")),
        };
        let trials = self.tests.into_iter().map(|Test { name, body, pins }| {
            let reason = obstacle.as_ref().or(no_pins.as_ref().filter(|_| pins));
            if let Some(reason) = reason {
                return ignored(&name, reason);
            }
            Trial::test(name, || {
                // The whole chain: the cause is what a reader needs, a backtrace would bury it.
                body().map_err(|error| Failed::from(format!("{error:#}")))
            })
        });
        let trials = trials.chain(self.ignored).collect();
        libtest_mimic::run(&arguments, trials).exit_code()
    }
}

/// `cargo xtask test` tells the reason at its end.
fn ignored(name: &str, reason: &str) -> Trial {
    Trial::test(format!("{name} [{reason}]"), || Ok(())).with_ignored_flag(true)
}
