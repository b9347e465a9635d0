//! The first process of a guest: mounts what programs expect, runs the steps, and turns the machine off.

use std::{
    fs, io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{ChildStderr, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    mount::{MsFlags, mount},
    sys::reboot::{RebootMode, reboot},
    unistd::{Pid, getpid},
};
use serde::{Deserialize, Serialize};

/// Where a step's output goes when it is looked at.
const OUTPUT: &str = "/tmp/output";
/// Where the steps stand in the guest.
pub(crate) const STEPS: &str = "/steps.json";
/// Lines of the console that begin so are ours.
pub(crate) const MARK: &str = "@@ ";

/// A program to run in the guest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Step {
    pub name: String,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// It is to fail, and to say this.
    pub refuses: Option<String>,
    /// It is to say this: a test that is not there any more, or is ignored, ends well too.
    pub says: Option<String>,
    /// Seconds after which it is ended.
    pub limit: u64,
}

/// What became of one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub step: String,
    pub success: bool,
    /// How it ended, in words.
    pub how: String,
    pub seconds: f64,
}

impl Ended {
    /// What a table says of it.
    pub(crate) fn word(&self) -> &'static str {
        match (self.success, self.step.as_str()) {
            (true, "refusal") => "refused in words",
            (true, _) => "passed",
            (false, _) => "FAILED",
        }
    }
}

/// Runs the guest's course, if this is one. Never returns then.
pub fn intercept() {
    if getpid() != Pid::from_raw(1) || !Path::new(STEPS).exists() {
        return;
    }
    if let Err(error) = course() {
        println!("guest: {error:#}");
    }
    let error = reboot(RebootMode::RB_POWER_OFF);
    println!("guest: cannot turn the machine off: {error:?}");
    loop {
        std::thread::park();
    }
}

fn course() -> Result<()> {
    // SAFETY: nothing else runs in this process yet.
    unsafe { std::env::set_var("PATH", "/usr/sbin:/usr/bin:/sbin:/bin") };
    for (kind, place) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("tmpfs", "/tmp"),
        ("tmpfs", "/run"),
    ] {
        fs::create_dir_all(place)?;
        // The programs to run have the paths that they have outside, and somebody may work in /tmp. The root of a guest
        // is in memory anyway.
        if kind == "tmpfs" && fs::read_dir(place)?.next().is_some() {
            continue;
        }
        let none = None::<&str>;
        mount(Some(kind), place, Some(kind), MsFlags::empty(), none).context(place)?;
    }
    let steps: Vec<Step> = serde_json::from_str(&fs::read_to_string(STEPS)?)?;
    for step in steps {
        let start = Instant::now();
        let (success, how) = match run(&step) {
            Ok(ended) => ended,
            Err(error) => (false, format!("{error:#}")),
        };
        let ended = Ended {
            step: step.name,
            success,
            how,
            seconds: start.elapsed().as_secs_f64(),
        };
        println!("\n{MARK}{}", serde_json::to_string(&ended)?);
    }
    Ok(())
}

/// Whether it ended as it should, and how it ended.
fn ended(step: &Step, status: ExitStatus, stderr: Option<ChildStderr>) -> Result<(bool, String)> {
    let how = crate::process::describe(status);
    if let Some(words) = &step.says {
        let said = fs::read_to_string(OUTPUT)?;
        println!("{said}");
        if status.success() && !said.contains(words) {
            return Ok((false, format!("{how}, and does not say \"{words}\"")));
        }
    }
    let Some(words) = &step.refuses else {
        return Ok((status.success(), how));
    };
    // What it says is less than a pipe holds.
    let said = stderr.map_or_else(|| Ok(String::new()), io::read_to_string)?;
    println!("{said}");
    let line = said.lines().last().unwrap_or_default();
    Ok((
        !status.success() && line.contains(words),
        format!("{how}: {line}"),
    ))
}

fn run(step: &Step) -> Result<(bool, String)> {
    let mut command = Command::new(&step.program);
    command
        .args(&step.arguments)
        .envs(step.environment.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::null())
        .process_group(0);
    if step.refuses.is_some() {
        command.stderr(Stdio::piped());
    }
    if step.says.is_some() {
        command.stdout(fs::File::create(OUTPUT)?);
    }
    let mut child = command
        .spawn()
        .with_context(|| format!("{}", step.program.display()))?;
    let limit = Duration::from_secs(step.limit);
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return ended(step, status, child.stderr.take());
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            let error = io::Error::from(io::ErrorKind::TimedOut);
            return Ok((false, format!("{error} after {} s", step.limit)));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
