//! Writes what is seen until the capture is to end, however much more comes.

use std::{
    io::{self, Write},
    os::fd::AsFd,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signalfd::SignalFd,
};

use crate::shell::capture::{Capture, Drained, Found, Seen, Writer};

/// How often programs are looked for that were attached since.
const FOLLOW: Duration = Duration::from_secs(1);

/// Where packets come from. Its descriptor can be read while there are any.
pub(super) trait Source: AsFd {
    /// Takes some packets, see [`Capture::drain`].
    fn drain(&mut self, sink: impl FnMut(&Seen<'_>) -> io::Result<bool>) -> io::Result<Drained>;
    /// Nothing new comes from now on.
    fn stop(&mut self);
    /// Looks for more programs, see [`Capture::follow`].
    fn follow(&mut self) -> Result<Found, String>;
}

impl Source for Capture {
    fn drain(&mut self, sink: impl FnMut(&Seen<'_>) -> io::Result<bool>) -> io::Result<Drained> {
        self.drain(sink)
    }

    fn stop(&mut self) {
        self.stop();
    }

    fn follow(&mut self) -> Result<Found, String> {
        self.follow().map_err(|error| error.to_string())
    }
}

/// Says which programs are looked at, and which cannot be.
pub(super) fn tell(found: &Found) {
    for program in &found.new {
        eprintln!("capturing {program}");
    }
    for (program, error) in &found.refused {
        eprintln!("warning: cannot capture {program}: {error}");
    }
}

/// Writes packets until a signal ends it, at `end`, or after `count` of them.
pub(super) fn watch(
    capture: &mut impl Source,
    file: &mut Writer<impl Write>,
    ends: &SignalFd,
    end: Option<Instant>,
    count: Option<u64>,
) -> io::Result<()> {
    let mut look = Instant::now() + FOLLOW;
    let mut warned = None;
    // Whoever reads the file along with it finds the programs in it.
    file.flush()?;
    loop {
        let now = Instant::now();
        let until = end.map_or(look, |end| end.min(look));
        let wait = until.saturating_duration_since(now);
        // Rounded up, so that the time has come afterwards.
        let wait =
            PollTimeout::try_from(wait + Duration::from_millis(1)).map_err(io::Error::other)?;
        let mut ready = [
            PollFd::new(capture.as_fd(), PollFlags::POLLIN),
            PollFd::new(ends.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut ready, wait) {
            Err(Errno::EINTR) => continue,
            result => drop(result?),
        }
        let [_, ends] = ready;
        let over = ends.any().unwrap_or(false) || end.is_some_and(|end| end <= Instant::now());
        if over {
            // So that the ring is empty at some time.
            capture.stop();
        }
        let drained = loop {
            let drained = capture.drain(|seen| {
                file.packet(seen)?;
                Ok(count.is_none_or(|count| file.written().packets < count))
            })?;
            if !over || drained != Drained::More {
                break drained;
            }
        };
        file.flush()?;
        if over || drained == Drained::Enough {
            return Ok(());
        }
        if look <= Instant::now() {
            look = Instant::now() + FOLLOW;
            let followed = capture.follow();
            match &followed {
                Ok(found) => tell(found),
                Err(error) if warned.as_ref() == Some(error) => {}
                Err(error) => eprintln!("warning: {error}"),
            }
            warned = followed.err();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::PipeReader, os::fd::BorrowedFd, sync::mpsc, thread};

    use anycast_common::abi::capture::Head;
    use nix::sys::signal::{SigSet, Signal, raise};
    use zerocopy::FromZeros as _;

    use super::*;
    use crate::shell::capture::Hook;

    /// Packets that a look takes at most, and what is there when it stops.
    const AT_ONCE: u64 = 100;
    const LEFT: u64 = 1050;

    /// There are always packets in it, until nothing new comes and what is left was taken.
    struct Endless {
        readable: PipeReader,
        /// What comes in all, from when it was stopped on.
        left: Option<u64>,
        taken: u64,
        /// When so many were taken, the thread gets a SIGINT.
        signal: Option<u64>,
    }

    impl AsFd for Endless {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.readable.as_fd()
        }
    }

    impl Source for Endless {
        fn drain(
            &mut self,
            mut sink: impl FnMut(&Seen<'_>) -> io::Result<bool>,
        ) -> io::Result<Drained> {
            for _ in 0..AT_ONCE {
                match &mut self.left {
                    Some(0) => return Ok(Drained::All),
                    Some(left) => *left -= 1,
                    None => {}
                }
                self.taken += 1;
                if self.signal == Some(self.taken) {
                    raise(Signal::SIGINT)?;
                }
                let mut head = Head::new_zeroed();
                (head.before_whole, head.after_whole) = (60, 60);
                let wants_more = sink(&Seen {
                    program: "anycast_c",
                    hook: Hook::Xdp,
                    bare: false,
                    head,
                    known: true,
                    before: &[0; 60],
                    after: &[0; 60],
                })?;
                if !wants_more {
                    return Ok(Drained::Enough);
                }
            }
            Ok(Drained::More)
        }

        fn stop(&mut self) {
            self.left.get_or_insert(LEFT);
        }

        fn follow(&mut self) -> Result<Found, String> {
            Ok(Found::default())
        }
    }

    /// How many packets were taken and written when it ended, which it does in time.
    fn ended(signal: Option<u64>, after: Option<Duration>, count: Option<u64>) -> [u64; 2] {
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let mut set = SigSet::empty();
            set.add(Signal::SIGINT);
            set.thread_block().expect("blocked");
            let ends = SignalFd::new(&set).expect("a descriptor");
            let (readable, mut writer) = io::pipe().expect("a pipe");
            writer.write_all(b"!").expect("written");
            let mut source = Endless {
                readable,
                left: None,
                taken: 0,
                signal,
            };
            let mut octets = Vec::new();
            let mut file = Writer::new(&mut octets).expect("a file");
            let end = after.map(|after| Instant::now() + after);
            watch(&mut source, &mut file, &ends, end, count).expect("it ends");
            tell.send([source.taken, file.written().packets])
        });
        let patience = Duration::from_secs(60);
        told.recv_timeout(patience).expect("the capture ends")
    }

    #[test]
    fn a_capture_ends_however_many_packets_come() {
        // What was seen before the signal is written, what comes is not.
        let [taken, written] = ended(Some(1000), None, None);
        assert_eq!([taken, written], [1000 + LEFT; 2]);
        let [taken, written] = ended(None, Some(Duration::from_millis(1)), None);
        assert!(taken >= LEFT && taken == written, "{taken} {written}");
        // A number that is within what one look takes, and its end.
        for count in [1, 350, 400] {
            assert_eq!(ended(None, None, Some(count)), [count; 2]);
        }
    }
}
