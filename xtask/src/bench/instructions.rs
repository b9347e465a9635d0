//! Instructions of a packet: the benchmark of the data plane in a virtual machine whose clock goes on by a nanosecond
//! with each instruction, so that times are numbers of instructions, and the same on every machine. The kernel compiles
//! the programs there as it does here.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::Value;

use crate::{
    kernels::{
        archive::Archive,
        guest::{MARK, STEPS, Step},
        list, machine, package,
    },
    process::{self, describe, say},
    toolchain::{self, locate},
};

/// The kernel that runs the programs.
const KERNEL: &str = "6.18";
/// Every round gives the same number, but for interrupts.
const ROUNDS: &str = "3";
const LIMIT: Duration = Duration::from_mins(40);
/// How often the guest is booted that ends before it has begun.
const BOOTS: u32 = 3;
/// In MiB: each case has maps of its own.
const MEMORY: &str = "12288";

/// A case, and what a packet of it takes without what makes the frame.
#[derive(Serialize)]
struct Row {
    name: String,
    instructions: f64,
}

/// Counts, prints a table, and leaves the numbers in the file.
pub fn run(file: &Path, only: &[String]) -> Result<()> {
    for (program, package) in [
        ("clang", "clang"),
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("depmod", "kmod"),
    ] {
        toolchain::require(program, package)?;
    }
    let scratch = crate::workspace().join("target/kernels/instructions");
    fs::create_dir_all(&scratch)?;
    let program = program()?;
    let anchors = scratch.join("anchors.bpf.o");
    let mut compile = Command::new(&program);
    compile.arg("--compile").arg(&anchors);
    process::show(&mut compile, "the programs in C")?;
    let mut arguments = vec!["--rounds", ROUNDS, "--count", MARK, "--anchors"];
    let at = anchors.display().to_string();
    arguments.push(&at);
    arguments.extend(only.iter().map(String::as_str));
    let step = Step {
        name: "instructions".to_owned(),
        program: program.clone(),
        arguments: arguments.into_iter().map(str::to_owned).collect(),
        environment: Vec::new(),
        refuses: None,
        says: None,
        // By the guest's clock, which is slow.
        limit: LIMIT.as_secs(),
    };
    let rows = rows(&boot(&scratch, &program, &anchors, &[step])?)?;
    println!("{:42} {:>12}", "", "instructions");
    for Row { name, instructions } in &rows {
        println!("{name:42} {instructions:12.0}");
    }
    let text = serde_json::to_string_pretty(&rows)? + "\n";
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn rows(marked: &[Value]) -> Result<Vec<Row>> {
    let ended = marked.iter().find(|value| value.get("step").is_some());
    let ended = ended.context("the guest did not come to its end: see its console.log")?;
    ensure!(ended["success"] == true, "the benchmark: {}", ended["how"]);
    let of = |row: &Value| {
        Some(Row {
            name: row["name"].as_str()?.to_owned(),
            instructions: row["net"].as_f64()?,
        })
    };
    Ok(marked.iter().filter_map(of).collect())
}

fn boot(scratch: &Path, program: &Path, anchors: &Path, steps: &[Step]) -> Result<Vec<Value>> {
    let kernels = list::kernels(&[KERNEL.to_owned()])?;
    let kernel = kernels.first().context(KERNEL)?;
    let cache = locate::tools_dir()?.join("kernels");
    fs::create_dir_all(&cache).with_context(|| format!("cannot create {}", cache.display()))?;
    let unpacked = package::unpacked(kernel, &cache)?;
    let initramfs = scratch.join("initramfs");
    let mut archive = Archive::create(&initramfs)?;
    for folder in ["/dev", "/proc", "/sys", "/tmp", "/run", "/var/tmp"] {
        archive.folder(Path::new(folder))?;
    }
    archive.program(&std::env::current_exe()?, Path::new("/init"), scratch)?;
    archive.program(program, program, scratch)?;
    archive.file(anchors, 0o644, &fs::read(anchors)?)?;
    archive.modules(&unpacked, scratch)?;
    archive.file(Path::new(STEPS), 0o644, &serde_json::to_vec(steps)?)?;
    archive.finish()?;
    say(format_args!(
        "counting instructions on Linux {}",
        unpacked.release
    ));
    let log = scratch.join("console.log");
    let mut marked = Vec::new();
    for _ in 0..BOOTS {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-icount", "shift=0,sleep=off", "-m", MEMORY]);
        marked = machine::boot_with(&unpacked.image, &initramfs, &log, LIMIT, qemu)?;
        if !marked.is_empty() {
            break;
        }
    }
    fs::remove_file(initramfs)?;
    Ok(marked)
}

/// Builds the benchmark with optimisation.
fn program() -> Result<PathBuf> {
    say("building the benchmark dataplane");
    let mut cargo = toolchain::cargo();
    cargo
        .args(["bench", "--no-run", "--package", "anycast-ctl"])
        .args(["--bench", "dataplane"])
        .args(["--message-format", "json-render-diagnostics"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = cargo.output().context("cannot run cargo")?;
    ensure!(
        output.status.success(),
        "building the benchmark: {}",
        describe(output.status)
    );
    let messages = String::from_utf8_lossy(&output.stdout);
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "dataplane")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo did not say where it put the benchmark")
}
