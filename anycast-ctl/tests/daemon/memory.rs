//! A control group that leaves the daemon less memory than its maps take: the kernel kills without a word, so the
//! daemon says before what is too much.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use xtask::{
    kernel_tests::Suite,
    net::{Process, wait},
};

use super::site::{AGAIN, PATIENCE, Site};

const CONFIG: &str = "[correspondent]\ninterfaces = [\"lan0\"]\nclient_prefixes = [\"2001:db8:1::/64\"]\n\
                      [data_plane]\nflows = 1048576\n";
const SENTENCE: &str = "there is no memory for the maps of this configuration, about 2";

pub fn add(suite: Suite) -> Suite {
    let name = "a limit of memory that the maps exceed is named in one sentence";
    match Group::new(64 << 20) {
        Ok(_) => suite.test(name, few_memory),
        Err(error) => suite.ignored(name, &format!("no control group: {error:#}")),
    }
}

/// A control group of this test. It ends when this is dropped.
struct Group(PathBuf);

impl Group {
    /// One with a limit of so many octets, of version 1 or 2.
    fn new(octets: u64) -> Result<Self> {
        let top = Path::new("/sys/fs/cgroup");
        let first = top.join("memory");
        let (top, file) = match first.join("memory.limit_in_bytes").exists() {
            true => (first.as_path(), "memory.limit_in_bytes"),
            false => (top, "memory.max"),
        };
        let group = Self(top.join(format!("anycast-{}-{octets}", std::process::id())));
        fs::create_dir(&group.0).context("it cannot be made")?;
        let limit = group.0.join(file);
        fs::write(&limit, octets.to_string()).context("it has no limit of memory")?;
        Ok(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A process that has just ended may still be in it.
        let _ = wait::poll(PATIENCE, AGAIN, "the group is empty", || {
            Ok(fs::remove_dir(&self.0).is_ok().then_some(()))
        });
    }
}

/// A gateway's daemon within a group.
fn start(site: &Site, name: &str, group: &Group) -> Result<Process> {
    let config = site.directory.join(format!("{name}.toml"));
    fs::write(&config, CONFIG)?;
    let mut command = site.router.command("sh");
    command.arg("-c");
    command.arg("echo $$ > \"$0/cgroup.procs\" && exec \"$@\"");
    command.arg(&group.0).arg(env!("CARGO_BIN_EXE_anycast-ctl"));
    command.arg("--socket");
    command.arg(site.directory.join(format!("{name}.sock")));
    command.args(["run", "--config"]).arg(&config);
    Process::start(name, command, &site.directory.join(format!("{name}.log")))
}

fn few_memory() -> Result<()> {
    let site = Site::new("memory")?;
    site.connect()?;
    for (name, octets, fits) in [("much", 1 << 30, true), ("little", 64 << 20, false)] {
        let group = Group::new(octets)?;
        let mut daemon = start(&site, name, &group)?;
        if fits {
            daemon.wait_line(PATIENCE, "the daemon is ready", 0, |line| {
                line.ends_with("ready").then_some(())
            })?;
        } else {
            let said = daemon.wait_line(PATIENCE, "the sentence", 0, |line| {
                line.contains(SENTENCE).then(|| line.to_owned())
            });
            let (said, _) = said?;
            let limit = "64 MiB are the limit of this control group";
            ensure!(said.contains(limit), "{said}");
        }
        let lines = daemon.tail(usize::MAX);
        let named = lines.iter().any(|line| line.contains(SENTENCE));
        ensure!(named != fits, "{name}: {lines:?}");
        // Nothing is left for the next one. Where maps are accounted, the one that had too little has ended.
        daemon.end()?;
    }
    Ok(())
}
