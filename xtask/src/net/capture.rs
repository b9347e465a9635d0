//! Captures: what went over a link, told while it happens.

use std::{
    collections::HashMap,
    net::Ipv6Addr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, anyhow};

use super::{
    namespace::Namespace,
    packet::{Packet, Upper, mld::V2_REPORT, tcp},
    pcap::Writer,
    ring::{Frame, Ring},
    wait::Watched,
};

/// Octets that are kept of a frame when no file wants it whole: every header that we read.
const HEADERS: u32 = 192;
const WHOLE: u32 = 0x4_0000;
/// Megabytes of a ring. A machine that is busy reads it late.
const RING_HEADERS: usize = 24;
const RING_WHOLE: usize = 64;
/// Captures go first: what they miss cannot be shown.
const NICE: i32 = -10;
const TICK: Duration = Duration::from_millis(20);

/// Nanoseconds since 1970, the clock of captures.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

/// One direction of a TCP or UDP conversation, as the wire shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Source address and port.
    pub source: (Ipv6Addr, u16),
    /// Destination address and port.
    pub destination: (Ipv6Addr, u16),
}

/// What a flow amounts to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packets.
    pub packets: u64,
    /// Octets behind their IPv6 headers.
    pub octets: u64,
    /// When the first was seen.
    pub first: u64,
    /// When the last was seen.
    pub last: u64,
    /// TCP resets among them.
    pub resets: u64,
}

/// A message that is worth telling: MLD, mobility, or an ICMPv6 error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// When it was seen.
    pub time: u64,
    /// What it is.
    pub packet: Packet,
}

/// All that was seen on a link.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Conversations, by direction and by the addresses on the wire.
    pub flows: HashMap<Flow, Tally>,
    /// Messages in the order in which they were seen.
    pub messages: Vec<Message>,
    /// Neighbor Discovery, in the order in which it was seen.
    pub neighbors: Vec<Message>,
    /// Frames.
    pub frames: u64,
    /// Frames that the capture missed; known at its end.
    pub lost: u64,
}

impl Ledger {
    /// The messages that `select` wants, from this time on.
    pub fn messages<'a>(
        &'a self,
        since: u64,
        mut select: impl FnMut(&Packet) -> bool + 'a,
    ) -> impl Iterator<Item = &'a Message> {
        self.messages
            .iter()
            .filter(move |message| message.time >= since && select(&message.packet))
    }

    /// The sum over the flows that `select` wants.
    pub fn sum(&self, mut select: impl FnMut(&Flow) -> bool) -> Tally {
        let mut sum = Tally::default();
        for (_, tally) in self.flows.iter().filter(|(flow, _)| select(flow)) {
            sum.first = match sum.packets {
                0 => tally.first,
                _ => sum.first.min(tally.first),
            };
            sum.packets += tally.packets;
            sum.octets += tally.octets;
            sum.resets += tally.resets;
            sum.last = sum.last.max(tally.last);
        }
        sum
    }

    fn note(&mut self, frame: &Frame<'_>) {
        self.frames += 1;
        let Some(packet) = Packet::read(frame.bytes) else {
            return;
        };
        let (ports, reset) = match packet.upper {
            Upper::Tcp { ports, flags } => (ports, flags & tcp::RST != 0),
            Upper::Udp(source, destination) => ((source, destination), false),
            Upper::Neighbor(_) => {
                let time = frame.time;
                self.neighbors.push(Message { time, packet });
                return;
            }
            // Echo and the rest of Neighbor Discovery are not told; MLDv2 Reports are.
            Upper::Icmp(kind @ 128.., _) if kind != V2_REPORT => return,
            Upper::Other(_) => return,
            Upper::Icmp(..) | Upper::Mld(..) | Upper::Mobility(_) => {
                let time = frame.time;
                self.messages.push(Message { time, packet });
                return;
            }
        };
        let flow = Flow {
            source: (packet.source, ports.0),
            destination: (packet.destination, ports.1),
        };
        let tally = self.flows.entry(flow).or_insert(Tally {
            first: frame.time,
            ..Tally::default()
        });
        tally.packets += 1;
        tally.octets += u64::from(packet.length);
        tally.last = frame.time;
        tally.resets += u64::from(reset);
    }
}

/// A running capture on an interface, both directions.
#[derive(Debug)]
pub struct Capture {
    name: String,
    ledger: Arc<Watched<Ledger>>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<Result<()>>>,
}

impl Capture {
    /// Starts one. It hears everything from the return of this call on. With a `file`, frames are
    /// kept whole and written there.
    pub fn start(
        name: &str,
        namespace: &Namespace,
        interface: &str,
        file: Option<&Path>,
    ) -> Result<Self> {
        let writer = file.map(Writer::create).transpose()?;
        let (keep, megabytes) = match file {
            Some(_) => (WHOLE, RING_WHOLE),
            None => (HEADERS, RING_HEADERS),
        };
        let ring = namespace.run(|| Ring::open(interface, keep, megabytes))?;
        let ledger = Arc::new(Watched::<Ledger>::default());
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new()
            .name(format!("capture {name}"))
            .spawn({
                let (ledger, stop) = (Arc::clone(&ledger), Arc::clone(&stop));
                move || follow(ring, &ledger, writer, &stop)
            })?;
        Ok(Self {
            name: name.to_owned(),
            ledger,
            stop,
            thread: Some(thread),
        })
    }

    /// What it was called at its start.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it has seen, to look at or to wait on.
    pub fn ledger(&self) -> &Watched<Ledger> {
        &self.ledger
    }

    /// Ends it when everything is read. [`Ledger::lost`] is known from then on.
    pub fn finish(&mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(thread::JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result.with_context(|| format!("capture of {}", self.name)),
            Some(Err(_)) => Err(anyhow!("the capture of {} panicked", self.name)),
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

fn follow(
    mut ring: Ring,
    ledger: &Watched<Ledger>,
    mut writer: Option<Writer>,
    stop: &AtomicBool,
) -> Result<()> {
    let mut written = Ok(());
    let mut whole = writer.is_some();
    // SAFETY: the system call reads no memory. Without the privilege the thread stays as it is.
    unsafe { nix::libc::setpriority(nix::libc::PRIO_PROCESS, 0, NICE) };
    loop {
        // Read first: what came before the call to stop is still to be told.
        let stopping = stop.load(Ordering::Relaxed);
        let more = ring.next(TICK, |frames| {
            ledger.update(|ledger| {
                for frame in frames {
                    ledger.note(&frame);
                    if let (Some(writer), Ok(())) = (&mut writer, &written) {
                        written = writer.write(frame.time, frame.length, frame.bytes);
                    }
                }
            });
        })?;
        if whole && writer.as_ref().is_some_and(Writer::is_full) {
            whole = false;
            ring.keep(HEADERS)?;
        }
        if stopping && !more {
            let lost = ring.lost()?;
            ledger.update(|ledger| ledger.lost += u64::from(lost));
            written?;
            return writer.map_or(Ok(()), Writer::finish);
        }
    }
}
