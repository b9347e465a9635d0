//! Captures packets of a link, and analyses them while they arrive.

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
    packet::{
        Packet, Upper,
        mld::{MRD, V2_REPORT},
        tcp,
    },
    pcap::Writer,
    ring::{Frame, Ring},
    wait::Watched,
};

/// Octets of a frame that are kept when no file needs all of it. All headers that are analysed fit in them.
const HEADERS: u32 = 192;
const WHOLE: u32 = 0x4_0000;
/// Size of a ring in megabytes. On a busy machine it may be read late.
const RING_HEADERS: usize = 24;
const RING_WHOLE: usize = 64;
/// Scheduling priority of captures. They come first, since nothing can be proved about a packet that a capture missed.
const NICE: i32 = -10;
const TICK: Duration = Duration::from_millis(20);

/// The present time in nanoseconds since 1970, which is the clock of captures.
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

/// Totals of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Number of packets.
    pub packets: u64,
    /// Number of octets behind the IPv6 headers.
    pub octets: u64,
    /// Time of the first packet.
    pub first: u64,
    /// Time of the last packet.
    pub last: u64,
    /// Number of TCP resets.
    pub resets: u64,
}

/// A message that is recorded individually: MLD, mobility, or an ICMPv6 error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Time at which it was captured.
    pub time: u64,
    /// The parsed packet.
    pub packet: Packet,
}

/// Everything that was captured on a link.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Totals of each flow, by its addresses and ports on the wire.
    pub flows: HashMap<Flow, Tally>,
    /// The recorded messages, in the order of their capture.
    pub messages: Vec<Message>,
    /// Neighbor Discovery messages, in the order of their capture.
    pub neighbors: Vec<Message>,
    /// Number of frames.
    pub frames: u64,
    /// Number of frames that the capture missed. Of the last ones it is known when the capture has ended.
    pub lost: u64,
}

impl Ledger {
    /// The messages from this time on that `select` accepts.
    pub fn messages<'a>(
        &'a self,
        since: u64,
        mut select: impl FnMut(&Packet) -> bool + 'a,
    ) -> impl Iterator<Item = &'a Message> {
        self.messages
            .iter()
            .filter(move |message| message.time >= since && select(&message.packet))
    }

    /// The sum of the totals of all flows that `select` accepts.
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
            // Echo messages and the rest of Neighbor Discovery are not recorded. MLDv2 Reports and Multicast Router
            // Discovery are.
            Upper::Icmp(kind @ 128.., _) if kind != V2_REPORT && !MRD.contains(&kind) => return,
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

/// A capture of both directions on an interface.
#[derive(Debug)]
pub struct Capture {
    name: String,
    ledger: Arc<Watched<Ledger>>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<Result<()>>>,
}

impl Capture {
    /// Starts a capture. It sees everything from the return of this call on. With a `file`, whole frames are kept and
    /// written there.
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

    /// Name of the capture, as it was given at the start.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it has captured so far, to read or to wait on.
    pub fn ledger(&self) -> &Watched<Ledger> {
        &self.ledger
    }

    /// Ends the capture when everything has been read. All of [`Ledger::lost`] is known afterwards.
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
    // SAFETY: the system call reads no memory. Without the privilege, the priority stays unchanged.
    unsafe { nix::libc::setpriority(nix::libc::PRIO_PROCESS, 0, NICE) };
    loop {
        // The flag is read first, so that packets which came before the request to stop are still processed.
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
        let lost = ring.lost()?;
        if lost > 0 {
            ledger.update(|ledger| ledger.lost += u64::from(lost));
        }
        if stopping && !more {
            written?;
            return writer.map_or(Ok(()), Writer::finish);
        }
    }
}
