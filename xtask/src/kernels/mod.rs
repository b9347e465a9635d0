//! `cargo xtask kernels`: the programs through the verifiers of other kernels, and a session through all three
//! roles on each. Every kernel is a Debian package, of Debian or Ubuntu, and runs in a virtual machine of its own.

pub(crate) mod archive;
pub(crate) mod guest;
pub(crate) mod list;
pub(crate) mod machine;
pub(crate) mod package;
mod report;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

pub use guest::intercept;
use guest::{STEPS, Step};
use list::Kernel;
use report::Outcome;

use crate::{
    process::{self, say},
    toolchain::{self, locate},
};

/// How much slower a guest may be: what it does is interpreted.
const SLOWER: u32 = 6;

/// Which kernels, and what to do on them
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Options {
    /// Names of kernels in xtask/kernels.toml, such as 6.12; all of them when none is named
    names: Vec<String>,
    /// Load the programs only, without a session
    #[arg(long)]
    load_only: bool,
    /// Append what could not be tried, with the reason, to this file
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
    /// Write the results as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What a guest runs.
struct Programs {
    verdicts: PathBuf,
    scenarios: PathBuf,
    daemon: PathBuf,
}

/// Boots the kernels one after the other and prints what happened on them.
pub fn kernels(options: &Options) -> Result<ExitCode> {
    toolchain::setup()?;
    let kernels = list::kernels(&options.names)?;
    toolchain::require("qemu-system-x86_64", "qemu-system-x86")?;
    toolchain::require("depmod", "kmod")?;
    let programs = programs()?;
    let cache = locate::tools_dir()?.join("kernels");
    let mut outcomes = Vec::new();
    for kernel in &kernels {
        let outcome = one(kernel, &programs, &cache, options)
            .unwrap_or_else(|error| Outcome::without_guest(&kernel.name, &error));
        say(outcome.line());
        outcomes.push(outcome);
    }
    println!("{}", report::table(&outcomes));
    if let Some(path) = &options.summary {
        process::append(path, &report::ignored(&outcomes))?;
    }
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_string_pretty(&outcomes)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(if outcomes.iter().all(Outcome::is_good) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn one(kernel: &Kernel, programs: &Programs, cache: &Path, options: &Options) -> Result<Outcome> {
    fs::create_dir_all(cache).with_context(|| format!("cannot create {}", cache.display()))?;
    let unpacked = package::unpacked(kernel, cache)?;
    let scratch = crate::workspace().join("target/kernels").join(&kernel.name);
    fs::create_dir_all(&scratch)?;
    let mut steps = vec![load(programs)];
    match &kernel.refuses {
        Some(words) => steps.push(refusal(programs, words)),
        None if options.load_only => {}
        None => {
            steps.push(session(programs));
            // It takes as long again.
            if std::env::var_os("ANYCAST_LONG").is_some() {
                steps.push(capture(programs));
            }
        }
    }
    steps.push(captures(programs, kernel));
    let initramfs = scratch.join("initramfs");
    let mut archive = archive::Archive::create(&initramfs)?;
    for folder in ["/dev", "/proc", "/sys", "/tmp", "/run", "/var/tmp"] {
        archive.folder(Path::new(folder))?;
    }
    archive.folder(&crate::workspace().join("target/tmp"))?;
    let this = std::env::current_exe()?;
    archive.program(&this, Path::new("/init"), &scratch)?;
    for program in [&programs.verdicts, &programs.scenarios, &programs.daemon] {
        archive.program(program, program, &scratch)?;
    }
    // The session's daemons run these very files.
    let examples = crate::workspace().join("examples");
    for entry in fs::read_dir(&examples)? {
        let path = entry?.path();
        archive.file(&path, 0o644, &fs::read(&path)?)?;
    }
    archive.modules(&unpacked, &scratch)?;
    let limit: u64 = steps.iter().map(|step| step.limit).sum();
    archive.file(Path::new(STEPS), 0o644, &serde_json::to_vec(&steps)?)?;
    archive.finish()?;
    say(format_args!("booting Linux {}", unpacked.release));
    let log = scratch.join("console.log");
    let limit = Duration::from_secs(limit + 120);
    let marked = machine::boot(&unpacked.image, &initramfs, &log, limit)?;
    fs::remove_file(initramfs)?;
    Outcome::new(kernel, &unpacked.release, &steps, marked, &log)
}

fn load(programs: &Programs) -> Step {
    Step {
        name: "load".to_owned(),
        program: programs.verdicts.clone(),
        arguments: Vec::new(),
        environment: vec![("ANYCAST_LOAD_REPORT".to_owned(), guest::MARK.to_owned())],
        refuses: None,
        says: None,
        limit: 420,
    }
}

/// The lab's network, a session through all three roles, and the route that moves.
fn session(programs: &Programs) -> Step {
    Step {
        name: "session".to_owned(),
        program: programs.scenarios.clone(),
        arguments: vec![
            "--exact".to_owned(),
            "a binding expires, a pinned session goes on".to_owned(),
        ],
        environment: vec![("ANYCAST_TIME_SCALE".to_owned(), SLOWER.to_string())],
        refuses: None,
        says: Some("1 passed; 0 failed; 0 ignored".to_owned()),
        limit: 600,
    }
}

/// What a capture has of a session through all three roles, and how one ends to which more comes than it can write.
fn capture(programs: &Programs) -> Step {
    Step {
        name: "capture".to_owned(),
        arguments: vec!["a capture ".to_owned()],
        says: Some("3 passed; 0 failed; 0 ignored".to_owned()),
        ..session(programs)
    }
}

/// Programs that look at others, which some machines permit on no kernel but that of a guest.
fn captures(programs: &Programs, kernel: &Kernel) -> Step {
    // A kernel that refuses a member has no TCX.
    let says = match &kernel.refuses {
        Some(_) => "1 passed; 0 failed; 2 ignored",
        None => "3 passed; 0 failed; 0 ignored",
    };
    Step {
        name: "captures".to_owned(),
        arguments: vec!["a capture tells".to_owned()],
        environment: Vec::new(),
        says: Some(says.to_owned()),
        limit: 300,
        ..load(programs)
    }
}

/// A member's daemon, which says what this kernel lacks, and ends.
fn refusal(programs: &Programs, words: &str) -> Step {
    let member = crate::workspace().join("examples/member-s1.toml");
    Step {
        name: "refusal".to_owned(),
        program: programs.daemon.clone(),
        arguments: vec![
            "run".to_owned(),
            "--config".to_owned(),
            member.display().to_string(),
        ],
        environment: Vec::new(),
        refuses: Some(words.to_owned()),
        says: None,
        limit: 60,
    }
}

/// Builds the tests and the daemon.
fn programs() -> Result<Programs> {
    say("building the tests that run in the guests");
    let mut cargo = toolchain::cargo();
    cargo
        // With the features of the whole workspace, which the other tests have been built with.
        .args(["test", "--no-run", "--workspace"])
        .args(["--test", "verdicts", "--test", "scenarios"])
        .args(["--message-format", "json-render-diagnostics"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = cargo.output().context("cannot run cargo")?;
    ensure!(
        output.status.success(),
        "building the tests: {}",
        process::describe(output.status)
    );
    let messages = String::from_utf8_lossy(&output.stdout);
    let built = |name: &str| {
        messages
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|message| message["target"]["name"] == name)
            .find_map(|message| message["executable"].as_str().map(PathBuf::from))
            .with_context(|| format!("cargo did not say where it put {name}"))
    };
    Ok(Programs {
        verdicts: built("verdicts")?,
        scenarios: built("scenarios")?,
        daemon: built("anycast-ctl")?,
    })
}
