//! Health checks that run a program.

use std::{
    os::fd::OwnedFd,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{io::AsyncReadExt as _, net::unix::pipe::Receiver, process::Command, time::timeout};

use super::unwell::Unwell;

/// Octets of the program's output that are kept.
const KEPT: usize = 256;
/// How long to wait for output after the program has ended. A process that it left behind can hold the pipe open for
/// ever.
const GRACE: Duration = Duration::from_millis(100);

/// A process group that is killed when this value is dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // There may be no process left in the group.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// Runs a program and gives the first line of its output. Dropping the future kills the program and its whole process
/// group.
pub(super) async fn run(command: &[String]) -> Result<String, Unwell> {
    let [program, arguments @ ..] = command else {
        return Ok(String::new());
    };
    let failed = |error| Unwell::Start {
        program: program.clone(),
        error,
    };
    let (reader, writer) = std::io::pipe().map_err(failed)?;
    let mut words = Receiver::from_owned_fd(OwnedFd::from(reader)).map_err(failed)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(writer.try_clone().map_err(failed)?)
        .stderr(writer);
    let mut child = command.spawn().map_err(failed)?;
    // The command holds this process's copies of the writing ends of the pipe.
    drop(command);
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    let mut group = Group(id.map(Pid::from_raw));
    let mut said = Vec::new();
    let status = tokio::select! {
        status = child.wait() => Some(status),
        () = listen(&mut words, &mut said) => None,
    };
    let status = match status {
        Some(status) => {
            let _ = timeout(GRACE, listen(&mut words, &mut said)).await;
            status
        }
        None => child.wait().await,
    };
    // From now on the kernel may give the number of the group to other processes.
    group.0 = None;
    let (status, said) = (status?, first_line(&said));
    if status.success() {
        Ok(said)
    } else {
        let status = describe(status);
        Err(Unwell::Exit { status, said })
    }
}

/// Reads the output to its end but keeps only the beginning. A program whose pipe is full would block.
async fn listen(words: &mut Receiver, said: &mut Vec<u8>) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = words.read(&mut buffer).await {
        let room = KEPT.saturating_sub(said.len()).min(length);
        said.extend_from_slice(&buffer[..room]);
    }
}

fn describe(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("status {code}"),
        None => status.to_string(),
    }
}

/// The first line of the output, as text that is safe to print on a terminal.
pub(super) fn first_line(octets: &[u8]) -> String {
    let line = octets.split(|octet| *octet == b'\n').next();
    let line = String::from_utf8_lossy(line.unwrap_or_default());
    let mut text: String = line.trim().replace(char::is_control, " ");
    if let Some((end, _)) = text.char_indices().nth(KEPT) {
        text.truncate(end);
    }
    text
}
