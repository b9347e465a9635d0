//! Files that may be opened and are not enough: at the start, and later.

use std::{os::unix::net::UnixStream, process::Command, time::Duration};

use anycast_ctl::shell::api::{Request, client, view};
use anyhow::{Result, ensure};
use xtask::{
    kernel_tests::Suite,
    net::{Process, wait},
};

use super::site::{AGAIN, PATIENCE, Site};

/// The daemon tries ten times a second to accept who waits.
const WHILE: Duration = Duration::from_secs(2);
const SENTENCE: &str = "cannot accept a client of the control socket";

pub fn add(suite: Suite) -> Suite {
    let later =
        "files that run out later are logged once, and all is well when there are some again";
    let suite = suite.test("too few files are named in one sentence", few);
    match xtask::process::find("prlimit") {
        Some(_) => suite.test(later, run_out),
        None => suite.ignored(
            later,
            "prlimit is not installed (apt-get install util-linux)",
        ),
    }
}

fn router() -> String {
    format!("{}/../examples/router.toml", env!("CARGO_MANIFEST_DIR"))
}

/// The limit says so in one sentence, and where the process may raise it nobody has to care.
fn few() -> Result<()> {
    let site = Site::new("files")?;
    site.connect()?;
    let socket = site.directory.join("few.sock");
    let mut few = site.router.command("sh");
    few.args(["-c", "ulimit -n 6 && exec \"$0\" \"$@\""]);
    few.arg(env!("CARGO_BIN_EXE_anycast-ctl"));
    few.arg("--socket")
        .arg(&socket)
        .args(["run", "--config", &router()]);
    let output = few.output()?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1), "{stderr}");
    ensure!(
        stderr.contains("this process may open 6 files") && stderr.lines().count() == 1,
        "{stderr}"
    );
    Ok(())
}

fn run_out() -> Result<()> {
    let site = Site::new("run-out")?;
    site.connect()?;
    let socket = site.directory.join("r.sock");
    let mut command = site.router.command(env!("CARGO_BIN_EXE_anycast-ctl"));
    command.arg("--socket").arg(&socket);
    command.args(["run", "--config", &router()]);
    let mut daemon = Process::start("router", command, &site.directory.join("r.log"))?;
    daemon.wait_line(PATIENCE, "the daemon is ready", 0, |line| {
        line.ends_with("ready").then_some(())
    })?;
    let limit = |files: &str| {
        let mut prlimit = Command::new("prlimit");
        prlimit.arg(format!("--pid={}", daemon.id()));
        let status = prlimit.arg(format!("--nofile={files}:")).status()?;
        ensure!(status.success(), "prlimit: {status}");
        Ok(())
    };
    limit("8")?;
    let waits = UnixStream::connect(&socket)?;
    let said = |line: &str| line.contains(SENTENCE).then(|| line.to_owned());
    let (line, next) = daemon.wait_line(PATIENCE, "the sentence", 0, said)?;
    ensure!(line.contains("Too many open files"), "{line}");
    let again = daemon.wait_line(WHILE, "it is logged again", next, said);
    ensure!(again.is_err(), "{again:?}");
    limit("256")?;
    drop(waits);
    wait::poll(PATIENCE, AGAIN, "the daemon answers", || {
        Ok(client::ask::<view::Status>(&socket, &Request::Status).ok())
    })?;
    ensure!(daemon.end()?.success(), "{:?}", daemon.tail(5));
    Ok(())
}
