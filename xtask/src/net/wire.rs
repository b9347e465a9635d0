//! A wire that loses, doubles and reorders frames, as its seed says. Not every kernel has netem.

use std::{
    collections::VecDeque,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    libc,
    sys::{
        socket::{
            AddressFamily, MsgFlags, SockFlag, SockType, recv, setsockopt, socket,
            sockopt::ReceiveTimeout,
        },
        time::{TimeVal, TimeValLike as _},
    },
};

use super::{
    Namespace, Sender, netlink,
    ring::{bind, option},
};

const PACKET_IGNORE_OUTGOING: i32 = 23;
/// A frame that waits for others to overtake it waits no longer than this.
const HELD: Duration = Duration::from_millis(5);
const TICK: i64 = 2;
const LARGEST: usize = 1 << 16;

/// Of a thousand frames, as many as these are lost, doubled, or overtaken by the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Lost.
    pub lost: u8,
    /// Sent twice.
    pub doubled: u8,
    /// Sent after others that came later.
    pub late: u8,
}

/// Two interfaces of a namespace, joined to a wire by threads that end when it is dropped.
#[derive(Debug)]
pub struct Wire {
    weather: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<Result<()>>>,
}

impl Wire {
    /// A perfect one at first. Equal seeds treat equal frames equally.
    pub fn between(namespace: &Namespace, [left, right]: [&str; 2], seed: u64) -> Result<Self> {
        let mut wire = Self {
            weather: Arc::default(),
            stop: Arc::default(),
            threads: Vec::new(),
        };
        for (from, to, seed) in [(left, right, seed), (right, left, !seed)] {
            let mut way = Way {
                hear: listen(namespace, from)?,
                say: Sender::open(namespace, to)?,
                held: VecDeque::new(),
                random: seed,
            };
            let (weather, stop) = (Arc::clone(&wire.weather), Arc::clone(&wire.stop));
            let body = move || {
                let mut frame = vec![0; LARGEST];
                while !stop.load(Ordering::Relaxed) {
                    way.carry(&mut frame, Weather::unpack(weather.load(Ordering::Relaxed)))?;
                }
                Ok(())
            };
            let thread = thread::Builder::new().name(format!("wire {from}"));
            wire.threads.push(thread.spawn(body)?);
        }
        Ok(wire)
    }

    /// It is like this from now on.
    pub fn turn(&self, weather: Weather) {
        self.weather.store(weather.pack(), Ordering::Relaxed);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if let Ok(Err(error)) = thread.join() {
                eprintln!("a wire has broken: {error:#}");
            }
        }
    }
}

impl Weather {
    fn pack(self) -> u32 {
        u32::from_le_bytes([self.lost, self.doubled, self.late, 0])
    }

    fn unpack(packed: u32) -> Self {
        let [lost, doubled, late, _] = packed.to_le_bytes();
        Self {
            lost,
            doubled,
            late,
        }
    }
}

/// One direction.
struct Way {
    hear: OwnedFd,
    say: Sender,
    /// Frames to be overtaken, with the latest time of each.
    held: VecDeque<(Instant, Vec<u8>)>,
    random: u64,
}

impl Way {
    /// Waits for the next frame a moment, and carries it, or not.
    fn carry(&mut self, frame: &mut [u8], weather: Weather) -> Result<()> {
        match recv(self.hear.as_raw_fd(), frame, MsgFlags::empty()) {
            Ok(length) => {
                let frame = frame.get(..length).unwrap_or_default();
                let mut one_in = |per_mille: u8| self.draw() % 1000 < u64::from(per_mille);
                let [lost, doubled, late] =
                    [weather.lost, weather.doubled, weather.late].map(&mut one_in);
                if late {
                    self.held.push_back((Instant::now() + HELD, frame.to_vec()));
                    return Ok(());
                }
                for _ in 0..usize::from(!lost) + usize::from(doubled) {
                    self.say.send(frame)?;
                }
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // The interface goes down with its namespace, or comes up.
            Err(Errno::ENETDOWN) => {}
            Err(error) => return Err(error).context("cannot hear a wire"),
        }
        let now = Instant::now();
        // With two of them, the first has been overtaken already.
        while self.held.len() > 1 || self.held.front().is_some_and(|(latest, _)| *latest <= now) {
            if let Some((_, frame)) = self.held.pop_front() {
                self.say.send(&frame)?;
            }
        }
        Ok(())
    }

    /// SplitMix64.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.random;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

/// A packet socket that hears what comes in.
fn listen(namespace: &Namespace, interface: &str) -> Result<OwnedFd> {
    let index = netlink::index(namespace, interface)?;
    namespace.run(|| {
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .context("cannot open a packet socket, which needs root (CAP_NET_RAW)")?;
        option(&socket, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1_i32)?;
        option(
            &socket,
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            &(8_i32 << 20),
        )?;
        setsockopt(&socket, ReceiveTimeout, &TimeVal::milliseconds(TICK))?;
        bind(&socket, index, libc::ETH_P_ALL)?;
        Ok(socket)
    })
}
