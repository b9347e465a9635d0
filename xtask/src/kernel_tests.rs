//! A test harness for tests that need root and a real kernel.
//!
//! Where these are missing, the tests are listed as ignored and the reason is printed, so that a machine without
//! privileges does not report them as passed.
//!
//! The tests have a BPF file system of their own ([`bpffs::private`]). What daemons pin in it is separate from the pins
//! of other daemons, and is gone when the suite has ended.
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     xtask::kernel_tests::Suite::new()
//!         .test("a program loads", || Ok(()))
//!         .run()
//! }
//! ```

use std::{panic, process::ExitCode, thread};

use libtest_mimic::{Arguments, Failed, Trial};

use crate::{net::bpffs, probe};

type Body = Box<dyn FnOnce() -> anyhow::Result<()> + Send>;

struct Test {
    name: String,
    body: Body,
    /// Whether the test needs a BPF file system.
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
    /// Makes an empty suite, which runs two tests at a time: most of the time they wait.
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

    /// Adds a test that needs the BPF file system. It is ignored where none can be mounted.
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

    /// Adds the tests of another suite again, with `word` before their names. `enter` is called before each of them,
    /// and its result is dropped after the test.
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

    /// Adds a test that cannot run on this machine, with the reason.
    #[must_use]
    pub fn ignored(mut self, name: impl Into<String>, reason: &str) -> Self {
        self.ignored.push(ignored(&name.into(), reason));
        self
    }

    /// Adds the tests of another suite.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.tests.extend(other.tests);
        self.ignored.extend(other.ignored);
        self
    }

    /// Names the tests of another suite as ignored, with the reason.
    #[must_use]
    pub fn without(self, other: Self, reason: &str) -> Self {
        let names = other.tests.into_iter().map(|test| test.name);
        names.fold(self, |suite, name| suite.ignored(name, reason))
    }

    /// Sets how many tests run at the same time. One: for tests that share something, or that measure times.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Runs the tests, with the same command-line arguments as libtest. To be called in the main thread, before there
    /// are other threads.
    pub fn run(self) -> ExitCode {
        let mut arguments = Arguments::from_args();
        arguments.test_threads = arguments.test_threads.or(self.threads).or(Some(AT_ONCE));
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
                // The whole chain of causes is shown, since it is what a reader needs. A backtrace would hide it.
                with_room(body).map_err(|error| Failed::from(format!("{error:#}")))
            })
        });
        let trials = trials.chain(self.ignored).collect();
        libtest_mimic::run(&arguments, trials).exit_code()
    }
}

/// Runs a test with as much stack as the main thread of a process has. The threads of the harness have a quarter of it,
/// which the largest tests do not fit into.
fn with_room(body: Body) -> anyhow::Result<()> {
    let thread = thread::Builder::new().stack_size(STACK).spawn(body)?;
    thread
        .join()
        .unwrap_or_else(|panic| panic::resume_unwind(panic))
}

/// Each has network namespaces, a directory and daemons of its own.
const AT_ONCE: usize = 2;
/// Octets.
const STACK: usize = 8 << 20;

/// `cargo xtask test` shows the reason at its end.
fn ignored(name: &str, reason: &str) -> Trial {
    Trial::test(format!("{name} [{reason}]"), || Ok(())).with_ignored_flag(true)
}
