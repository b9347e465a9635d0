//! Runs other programs, and shows the user that something happens.

use std::{
    fs::File,
    io::{Read, Write as _},
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

/// Time after which a message shows that a silent step is still running.
const HEARTBEAT: Duration = Duration::from_secs(10);
const SHOWN_HEARTBEAT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// Prints a message to standard error. Results go to standard output instead.
pub fn say(message: impl std::fmt::Display) {
    eprintln!("xtask: {message}");
}

/// Adds a text and the end of a line to a file, which is made where there is none.
pub fn append(path: &Path, text: &impl std::fmt::Display) -> Result<()> {
    let file = File::options().append(true).create(true).open(path);
    file.and_then(|mut file| writeln!(file, "{text}"))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Runs `command` with its output shown. Fails when the command fails.
pub fn show(command: &mut Command, what: &str) -> Result<()> {
    let status = show_status(command, what)?;
    ensure!(status.success(), "{what}: {}", describe(status));
    Ok(())
}

/// Runs `command` with its output shown, and prints a message from time to time while it runs.
pub fn show_status(command: &mut Command, what: &str) -> Result<ExitStatus> {
    let mut child = spawn(command.stdin(Stdio::null()), what)?;
    wait(&mut child, what, None)
}

/// Runs `command` and keeps its output. Gives up after `limit`.
pub fn capture(command: &mut Command, what: &str, limit: Duration) -> Result<Output> {
    let mut child = spawn(
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
        what,
    )?;
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let status = wait(&mut child, what, Some(limit))?;
    Ok(Output {
        status,
        stdout: stdout.join().unwrap_or_default(),
        stderr: stderr.join().unwrap_or_default(),
    })
}

/// As [`capture`], but fails when the command fails, with the last lines of its output.
pub fn capture_ok(command: &mut Command, what: &str, limit: Duration) -> Result<String> {
    let output = capture(command, what, limit)?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("{what}: {}: {}", describe(output.status), gist(&words));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The output of a failed program in one line: its error messages, or else its last line.
fn gist(words: &str) -> String {
    let is_error = |line: &&str| line.starts_with("error") || line.starts_with("E:");
    let lines: Vec<_> = words.lines().map(str::trim).collect();
    let errors: Vec<_> = lines.iter().copied().filter(is_error).collect();
    if errors.is_empty() {
        let last = lines.iter().rev().find(|line| !line.is_empty());
        last.copied().unwrap_or_default().to_owned()
    } else {
        errors.join("; ")
    }
}

/// Path of the program of this name on `PATH`.
pub fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    // The PATH of an ordinary user may lack the directories of administration tools.
    let extra = ["/usr/sbin", "/sbin"].map(std::path::PathBuf::from);
    std::env::split_paths(&path)
        .chain(extra)
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}

/// Describes an exit status, such as `exit status: 1`.
pub fn describe(status: ExitStatus) -> String {
    format!("it ended with {status}")
}

pub(crate) fn spawn(command: &mut Command, what: &str) -> Result<Child> {
    let program = command.get_program().display().to_string();
    command
        .spawn()
        .with_context(|| format!("{what}: cannot run {program}"))
}

/// Waits for `child`, and prints from time to time that it is still running.
pub(crate) fn wait(child: &mut Child, what: &str, limit: Option<Duration>) -> Result<ExitStatus> {
    let start = Instant::now();
    // Without a limit, the program's own output is shown.
    let interval = limit.map_or(SHOWN_HEARTBEAT, |_| HEARTBEAT);
    let mut next = interval;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        let passed = start.elapsed();
        if limit.is_some_and(|limit| passed > limit) {
            child.kill()?;
            child.wait()?;
            bail!("{what}: no result after {} s", passed.as_secs());
        }
        if passed > next {
            say(format_args!("{what}: still at it, {} s", passed.as_secs()));
            next += interval;
        }
        thread::sleep(POLL);
    }
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // The output that was read before an error is still worth showing.
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_in_the_words_of_the_program() {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "echo noise >&2; echo error: no network >&2; echo ' 3: main' >&2; exit 3",
        ]);
        let error = capture_ok(&mut command, "asking", HEARTBEAT).expect_err("status 3");
        let words = "asking: it ended with exit status: 3: error: no network";
        assert_eq!(error.to_string(), words);
    }

    #[test]
    fn a_program_that_never_ends_is_given_up() {
        let mut command = Command::new("sleep");
        let error = capture(command.arg("60"), "waiting", Duration::ZERO).expect_err("time is up");
        assert_eq!(error.to_string(), "waiting: no result after 0 s");
    }
}
