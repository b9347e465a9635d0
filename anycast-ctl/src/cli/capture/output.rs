//! Where a capture is written to, which ends also where nobody reads it.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd as _,
    path::Path,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signalfd::SignalFd,
};

/// How long a reader may take nothing once the capture is to end.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest wait at a time: the kernel counts milliseconds in 31 bits.
const LONG: Duration = Duration::from_hours(1);
/// A pipe that can be written to has room for as much.
const PIECE: usize = libc::PIPE_BUF;

/// A file, or a pipe whose reader may stop to read.
pub(super) struct Output<'ends> {
    to: File,
    /// The signals that end the capture.
    ends: &'ends SignalFd,
    /// When it ends in any case.
    end: Option<Instant>,
}

pub(super) fn is_standard(file: &Path) -> bool {
    file == Path::new("-")
}

impl<'ends> Output<'ends> {
    /// Opens the file; - is standard output.
    pub(super) fn open(
        file: &Path,
        ends: &'ends SignalFd,
        end: Option<Instant>,
    ) -> io::Result<Self> {
        let to = match is_standard(file) {
            true => File::from(io::stdout().as_fd().try_clone_to_owned()?),
            false => File::create(file)?,
        };
        Ok(Self { to, ends, end })
    }

    /// Waits until something can be written, or the capture is to end and the reader has had its time.
    fn wait(&self) -> io::Result<()> {
        let mut is_over = false;
        loop {
            let left = self
                .end
                .map(|end| end.saturating_duration_since(Instant::now()));
            let limit = match is_over {
                true => Some(PATIENCE),
                false => left,
            };
            // Rounded up, so that the time has come afterwards, unless it is longer than the kernel waits.
            let limit = limit.map(|limit| limit.min(LONG) + Duration::from_millis(1));
            let limit = limit.map(PollTimeout::try_from).transpose();
            let limit = limit.map_err(io::Error::other)?;
            let mut ready = [
                PollFd::new(self.to.as_fd(), PollFlags::POLLOUT),
                PollFd::new(self.ends.as_fd(), PollFlags::POLLIN),
            ];
            let looked = if is_over { 1 } else { 2 };
            let ready = &mut ready[..looked];
            match poll(ready, limit.unwrap_or(PollTimeout::NONE)) {
                Err(Errno::EINTR) => continue,
                result => drop(result?),
            }
            // An error is for the write to find.
            if ready[0].any().unwrap_or(true) {
                return Ok(());
            }
            if is_over {
                let reason = "whoever reads the capture takes nothing: what is left is not written";
                return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
            }
            let told = ready[1].any().unwrap_or(true);
            is_over = told || self.end.is_some_and(|end| end <= Instant::now());
        }
    }
}

impl Write for Output<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.wait()?;
        self.to.write(octets.get(..PIECE).unwrap_or(octets))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, sync::mpsc, thread};

    use nix::sys::signal::{SigSet, Signal, raise};

    use super::*;

    /// More than a pipe holds.
    const MUCH: usize = 1 << 20;

    /// Writes to a pipe that is read or not. Gives how that ended.
    fn written(signal: Option<Signal>, end: Option<Duration>, reads: bool) -> io::Result<()> {
        let (tell, told) = mpsc::channel();
        let (mut reader, writer) = io::pipe().expect("a pipe");
        thread::spawn(move || {
            let mut set = SigSet::empty();
            set.add(Signal::SIGTERM);
            set.thread_block().expect("blocked");
            let ends = SignalFd::new(&set).expect("a descriptor");
            if let Some(signal) = signal {
                raise(signal).expect("raised");
            }
            let mut output = Output {
                to: File::from(std::os::fd::OwnedFd::from(writer)),
                ends: &ends,
                end: end.map(|end| Instant::now() + end),
            };
            tell.send(output.write_all(&vec![7; MUCH]))
        });
        if reads {
            let mut octets = Vec::new();
            reader.read_to_end(&mut octets).expect("read");
            assert_eq!(octets.len(), MUCH);
        }
        let patience = Duration::from_secs(60);
        told.recv_timeout(patience).expect("the capture ends")
    }

    /// More than the kernel waits at a time.
    #[test]
    fn a_capture_of_a_month_begins_and_is_ended_by_a_signal() {
        let month = Some(Duration::from_hours(24 * 30));
        written(None, month, true).expect("somebody reads");
        let error = written(Some(Signal::SIGTERM), month, false).expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_capture_ends_though_its_reader_takes_nothing() {
        let soon = Some(Duration::from_millis(1));
        for (signal, end) in [(Some(Signal::SIGTERM), None), (None, soon)] {
            let error = written(signal, end, false).expect_err("nobody reads");
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            // And what is there goes to who reads.
            written(signal, end, true).expect("somebody reads");
        }
        written(None, None, true).expect("somebody reads");
    }
}
