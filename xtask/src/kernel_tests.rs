//! A test harness for what needs root and a real kernel.
//!
//! Where that cannot be had, the tests are listed as ignored and the reason is printed: a machine
//! without privileges must not report them as passed.
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

use crate::probe;

type Test = Box<dyn FnOnce() -> anyhow::Result<()> + Send>;

/// Tests of one file under `tests/`, which has `harness = false` in its `[[test]]`.
#[derive(Default)]
pub struct Suite {
    tests: Vec<(String, Test)>,
    ignored: Vec<String>,
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
        mut self,
        name: impl Into<String>,
        body: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
    ) -> Self {
        self.tests.push((name.into(), Box::new(body)));
        self
    }

    /// Adds the tests of another suite, with a word before their names. What `enter` gives lives as long
    /// as each of them.
    #[must_use]
    pub fn again<G>(mut self, other: Self, word: &str, enter: fn() -> G) -> Self
    where
        G: 'static,
    {
        for (name, body) in other.tests {
            self = self.test(format!("{word}: {name}"), move || {
                let _guard = enter();
                body()
            });
        }
        self
    }

    /// Adds a test that cannot run on this machine, and says why.
    #[must_use]
    pub fn ignored(mut self, name: impl Into<String>, reason: &str) -> Self {
        self.ignored.push(format!("{} [{reason}]", name.into()));
        self
    }

    /// How many run at once. For tests that share nothing, such as those with a network namespace
    /// each.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Runs them as libtest would, with its arguments.
    pub fn run(self) -> ExitCode {
        let mut arguments = Arguments::from_args();
        arguments.test_threads = arguments.test_threads.or(self.threads).or(Some(1));
        let obstacle = probe::kernel_as_root().err();
        if let Some(reason) = &obstacle
            && !arguments.list
        {
            println!("\nkernel tests are ignored: {reason}");
        }
        let trials = self
            .tests
            .into_iter()
            .map(|(name, body)| {
                Trial::test(name, || {
                    // The whole chain: the cause is what a reader needs, a backtrace would bury it.
                    body().map_err(|error| Failed::from(format!("{error:#}")))
                })
                .with_ignored_flag(obstacle.is_some())
            })
            .chain(
                self.ignored
                    .into_iter()
                    .map(|name| Trial::test(name, || Ok(())).with_ignored_flag(true)),
            )
            .collect();
        libtest_mimic::run(&arguments, trials).exit_code()
    }
}
