//! Child processes, whose output is kept and which are ended when their value is dropped.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read, Write as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    libc,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::wait::{Missed, Watched, patience};

/// How long a process may take to end after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);

/// The output of a process so far.
#[derive(Debug, Default)]
pub struct Output {
    /// The lines of its standard output and standard error, in the order in which they were read.
    pub lines: Vec<String>,
    /// Whether both streams have ended.
    pub ended: bool,
    open: usize,
}

/// A child process.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
    stdin: Option<ChildStdin>,
    output: Arc<Watched<Output>>,
    readers: Vec<thread::JoinHandle<()>>,
}

impl Process {
    /// Starts `command`. Its output goes to the file `log` and to [`Process::output`].
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        // SAFETY: the hook makes one system call and allocates nothing.
        unsafe { command.pre_exec(die_with_parent) };
        let mut child = command
            // Ctrl-C must not reach the children, since this process ends them in order.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let output = Arc::new(Watched::new(Output {
            open: 2,
            ..Output::default()
        }));
        let file = Arc::new(Mutex::new(File::create(log)?));
        let stdin = child.stdin.take();
        let mut readers = Vec::new();
        if let Some(stream) = child.stdout.take() {
            readers.push(follow(stream, Arc::clone(&file), Arc::clone(&output)));
        }
        if let Some(stream) = child.stderr.take() {
            readers.push(follow(stream, file, Arc::clone(&output)));
        }
        Ok(Self {
            name: name.to_owned(),
            log: log.to_owned(),
            child,
            stdin,
            output,
            readers,
        })
    }

    /// Name of the process, as it was given at the start.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Path of its log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its output, to wait on.
    pub fn output(&self) -> &Watched<Output> {
        &self.output
    }

    /// The last lines of its output.
    pub fn tail(&self, lines: usize) -> Vec<String> {
        self.output.read(|output| {
            let from = output.lines.len().saturating_sub(lines);
            output.lines[from..].to_vec()
        })
    }

    /// Waits for a line from which `look` makes something, beginning with the line of this number. Gives that and the
    /// number of the next line. If the process ends before, this is an error that contains its last output.
    pub fn wait_line<R>(
        &self,
        limit: Duration,
        what: &str,
        from: usize,
        mut look: impl FnMut(&str) -> Option<R>,
    ) -> Result<(R, usize), Missed> {
        let found = self.output.wait(limit, what, |output| {
            let mut lines = output.lines.iter().enumerate().skip(from);
            let found = lines.find_map(|(number, line)| Some((look(line)?, number + 1)));
            found.map(Some).or(output.ended.then_some(None))
        })?;
        found.ok_or_else(|| {
            let words = self.tail(5).join(" | ");
            Missed::Ended {
                what: what.to_owned(),
                who: format!("{} has ended; its last words: {words}", self.name),
            }
        })
    }

    /// Writes a line to its standard input.
    pub fn say(&mut self, line: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("its input is closed")?;
        writeln!(stdin, "{line}")
            .and_then(|()| stdin.flush())
            .with_context(|| format!("{} does not listen", self.name))
    }

    /// Whether it is still running.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it ends by itself.
    pub fn wait_end(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("{} ends", self.name);
        self.output
            .wait(limit, &what, |output| output.ended.then_some(()))?;
        // Both of its output streams are closed, so it has nothing left to do.
        let status = self.child.wait()?;
        self.join();
        Ok(status)
    }

    /// Kills it at once, so that it cannot clean up.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.join();
        Ok(())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // It has not been reaped yet, so that its process ID cannot belong to another process.
        Ok(kill(Pid::from_raw(self.child.id().try_into()?), signal)?)
    }

    /// Asks it to end with SIGTERM, and gives its exit status. It is killed if it takes too long.
    pub fn end(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        self.signal(Signal::SIGTERM)?;
        let deadline = Instant::now() + patience(PATIENCE);
        // The child has not been reaped yet, so that its process ID cannot belong to another process.
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                self.join();
                return Ok(status);
            }
            thread::sleep(POLL);
        }
        self.kill()?;
        Ok(ExitStatus::from_raw(libc::SIGKILL))
    }

    fn join(&mut self) {
        drop(self.stdin.take());
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// Makes the kernel kill the child when this process is killed.
fn die_with_parent() -> std::io::Result<()> {
    // SAFETY: the system call reads no memory.
    let result = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    nix::errno::Errno::result(result)
        .map(drop)
        .map_err(Into::into)
}

fn follow(
    stream: impl Read + Send + 'static,
    log: Arc<Mutex<File>>,
    output: Arc<Watched<Output>>,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while matches!(stream.read_until(b'\n', &mut line), Ok(1..)) {
            let _ = log
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .write_all(&line);
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            output.update(|output| output.lines.push(text));
            line.clear();
        }
        output.update(|output| {
            output.open -= 1;
            output.ended = output.open == 0;
        });
    })
}
