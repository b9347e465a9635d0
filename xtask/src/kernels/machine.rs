//! A guest in qemu, without help of the processor: every instruction is interpreted, which every machine can do.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::guest::MARK;
use crate::process::{self, say};

/// Memory of a guest in MiB: its first file system and the maps of all roles.
const MEMORY: u32 = 4096;

/// How often a kernel is booted that comes to its end before our program has begun: qemu sometimes interprets an
/// instruction while the booting kernel replaces it, which then panics.
const BOOTS: u32 = 3;

/// Boots `image` with `archive` and gives what its console marks as ours. All of the console goes to `log`.
pub(crate) fn boot(
    image: &Path,
    archive: &Path,
    log: &Path,
    limit: Duration,
) -> Result<Vec<Value>> {
    for _ in 1..BOOTS {
        let marked = boot_once(image, archive, log, limit)?;
        if !marked.is_empty() {
            return Ok(marked);
        }
        say(format_args!(
            "the guest ended before it began; booting it again"
        ));
    }
    boot_once(image, archive, log, limit)
}

fn boot_once(image: &Path, archive: &Path, log: &Path, limit: Duration) -> Result<Vec<Value>> {
    boot_with(
        image,
        archive,
        log,
        limit,
        Command::new("qemu-system-x86_64"),
    )
}

/// As [`boot`], once, by a command that may have devices and a network namespace of its own.
pub(crate) fn boot_with(
    image: &Path,
    archive: &Path,
    log: &Path,
    limit: Duration,
    mut qemu: Command,
) -> Result<Vec<Value>> {
    // Of two sizes, qemu takes the last.
    if !qemu.get_args().any(|argument| argument == "-m") {
        qemu.args(["-m", &MEMORY.to_string()]);
    }
    qemu.args(["-machine", "q35,accel=tcg", "-cpu", "max", "-smp", "2"])
        .args([
            "-nodefaults",
            "-no-reboot",
            "-nographic",
            "-serial",
            "stdio",
        ])
        .arg("-kernel")
        .arg(image)
        .arg("-initrd")
        .arg(archive)
        .args([
            "-append",
            "console=ttyS0 rdinit=/init panic=-1 quiet loglevel=4",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let mut child = process::spawn(&mut qemu, "qemu")?;
    let console = child.stdout.take().context("qemu has no output")?;
    let mut log = File::create(log)?;
    let (lines, heard) = mpsc::channel();
    let reader = thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            let _ = writeln!(log, "{line}");
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    let end = Instant::now() + limit;
    let mut marked = Vec::new();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match heard.recv_timeout(left) {
            Ok(line) => {
                if let Some(json) = line.strip_prefix(MARK) {
                    marked.push(serde_json::from_str(json).with_context(|| line.clone())?);
                }
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                child.kill()?;
                child.wait()?;
                say(format_args!(
                    "the guest did not end within {} s",
                    limit.as_secs()
                ));
                break;
            }
        }
    }
    child.wait()?;
    if reader.join().is_err() {
        bail!("the reader of the console panicked");
    }
    Ok(marked)
}
