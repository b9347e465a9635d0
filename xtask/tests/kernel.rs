//! The harness for kernel tests, used on itself.

use std::process::ExitCode;

use anyhow::{Error, ensure};
use xtask::{kernel_tests::Suite, probe};

fn main() -> ExitCode {
    Suite::new()
        .test("an XDP program attaches in a new network namespace", || {
            probe::kernel().map_err(Error::msg)
        })
        .test("the probe leaves this thread where it was", || {
            let namespace = || std::fs::read_link("/proc/thread-self/ns/net");
            let before = namespace()?;
            probe::kernel().map_err(Error::msg)?;
            ensure!(before == namespace()?, "another network namespace");
            Ok(())
        })
        .run()
}
