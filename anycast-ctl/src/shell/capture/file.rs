//! A file of what was captured, in the format pcapng. A packet that a program changed stands in it twice, as it came
//! and as it went, with one packet identifier.

use std::{
    borrow::Cow,
    collections::HashMap,
    io::{self, Write},
    ops::Range,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anycast_common::abi::{
    capture::{MOST, REASONS},
    counters::Counter,
};
use nix::time::{ClockId, clock_gettime};
use pcap_file::{
    DataLink, Endianness,
    pcapng::{
        PcapNgWriteError, PcapNgWriter,
        blocks::{
            enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption},
            interface_description::{
                InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
            },
            opt_common::{CommonOption, UnknownOption},
            section_header::{SectionHeaderBlock, SectionHeaderOption},
        },
    },
};

use super::{
    program::interface,
    verdict::{Hook, Seen, Verdict},
};

/// Options of a packet that the library does not name (draft-ietf-opsawg-pcapng section 4.3).
const PACKET_ID: u16 = 5;
const VERDICT: u16 = 7;
/// Kinds of verdicts.
const BY_TCX: u8 = 1;
const BY_XDP: u8 = 2;
/// Values of the flags of a packet.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// Octets of an Ethernet header, and where an IPv6 header has its addresses.
const ETHERNET: usize = 14;
const SOURCE: Range<usize> = 8..24;
const DESTINATION: Range<usize> = 24..40;

/// What stands in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Packets that programs saw.
    pub packets: u64,
    /// Of those, the ones that stand there twice, since a program changed them.
    pub changed: u64,
}

/// Writes a file.
pub struct Writer<W: Write> {
    file: PcapNgWriter<W>,
    /// Numbers of interfaces of the file, by index and program.
    interfaces: HashMap<(u32, u64), u32>,
    /// When the monotonic clock was at zero, since 1970.
    zero: Duration,
    written: Written,
}

impl<W: Write> Writer<W> {
    /// Writes the head of the file.
    ///
    /// # Errors
    ///
    /// Those of `to`.
    pub fn new(to: W) -> io::Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let since: Duration = clock_gettime(ClockId::CLOCK_MONOTONIC)?.into();
        let by = concat!("anycast-ctl ", env!("CARGO_PKG_VERSION"));
        let section = SectionHeaderBlock {
            endianness: Endianness::native(),
            options: vec![SectionHeaderOption::UserApplication(by.into())],
            ..SectionHeaderBlock::default()
        };
        Ok(Self {
            file: PcapNgWriter::with_section_header(to, section).map_err(whole)?,
            interfaces: HashMap::new(),
            zero: now.unwrap_or_default().saturating_sub(since),
            written: Written::default(),
        })
    }

    /// What was written.
    #[must_use]
    pub fn written(&self) -> Written {
        self.written
    }

    /// Has the system take what was written.
    ///
    /// # Errors
    ///
    /// As [`Writer::new`].
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.get_mut().flush()
    }

    /// Writes what became of a packet.
    ///
    /// # Errors
    ///
    /// As [`Writer::new`].
    pub fn packet(&mut self, seen: &Seen<'_>) -> io::Result<()> {
        let head = &seen.head;
        let changed = seen.before != seen.after || head.before_whole != head.after_whole;
        let verdict = match Verdict::of(head.verdict, seen.hook) {
            Some(verdict) => verdict.name().to_owned(),
            None => format!("returned {}", head.verdict),
        };
        let (program, reasons) = (seen.program, reasons(seen));
        let took = head.took;
        let said = format!("{program}: {verdict}{reasons}, {took} ns");
        let leaves = matches!(
            Verdict::of(head.verdict, seen.hook),
            Some(Verdict::Redirect | Verdict::Tx)
        );
        let outwards = program.contains("_out");
        let came = if outwards { OUTBOUND } else { INBOUND };
        let went = if leaves { OUTBOUND } else { came };
        let time = Duration::from_nanos(head.time);
        let first = if changed {
            format!("before {said}")
        } else {
            said.clone()
        };
        self.block(seen, time, (seen.before, head.before_whole), came, &first)?;
        self.written.packets += 1;
        if changed {
            let time = time + Duration::from_nanos(took);
            let said = format!("after {said}");
            self.block(seen, time, (seen.after, head.after_whole), went, &said)?;
            self.written.changed += 1;
        }
        Ok(())
    }

    fn block(
        &mut self,
        seen: &Seen<'_>,
        time: Duration,
        (packet, length): (&[u8], u32),
        flags: u32,
        said: &str,
    ) -> io::Result<()> {
        let interface_id = self.interface(seen)?;
        let kind = match seen.hook {
            Hook::Xdp => BY_XDP,
            Hook::Tcx => BY_TCX,
        };
        let returned = i64::from(seen.head.verdict);
        let verdict: Vec<u8> = [kind].into_iter().chain(returned.to_ne_bytes()).collect();
        // CPUs number their records by themselves.
        let id = u64::from(seen.head.cpu) << 48 | seen.head.number;
        let id = id.to_ne_bytes();
        let option = |code, value| {
            EnhancedPacketOption::Common(CommonOption::Unknown(UnknownOption::new(code, value)))
        };
        let block = EnhancedPacketBlock {
            interface_id,
            timestamp: self.zero + time,
            original_len: length,
            data: Cow::Borrowed(packet),
            options: vec![
                EnhancedPacketOption::Common(CommonOption::Comment(said.into())),
                EnhancedPacketOption::Flags(flags),
                option(PACKET_ID, &id),
                option(VERDICT, &verdict),
            ],
        };
        self.file.write_pcapng_block(block).map_err(whole)?;
        Ok(())
    }

    /// The number of an interface in the file, whose description is written when it is first wanted.
    fn interface(&mut self, seen: &Seen<'_>) -> io::Result<u32> {
        let key = (seen.head.ifindex, seen.head.cookie);
        if let Some(number) = self.interfaces.get(&key) {
            return Ok(*number);
        }
        let name = interface(seen.head.ifindex);
        let name = name.unwrap_or_else(|| format!("interface {}", seen.head.ifindex));
        let hook = match seen.hook {
            Hook::Xdp => "XDP",
            Hook::Tcx => "TCX",
        };
        let block = InterfaceDescriptionBlock {
            linktype: if seen.bare {
                DataLink::RAW
            } else {
                DataLink::ETHERNET
            },
            snaplen: MOST,
            options: vec![
                InterfaceDescriptionOption::IfName(name.into()),
                InterfaceDescriptionOption::IfDescription(
                    format!("{} by {hook}", seen.program).into(),
                ),
                InterfaceDescriptionOption::IfTsResol(InterfaceTsResolution::NANO),
            ],
        };
        self.file.write_pcapng_block(block).map_err(whole)?;
        let number = u32::try_from(self.interfaces.len()).map_err(io::Error::other)?;
        self.interfaces.insert(key, number);
        Ok(number)
    }
}

/// The counters that say why, in brackets.
fn reasons(seen: &Seen<'_>) -> String {
    let counted = seen.head.counted as usize;
    let mut names: Vec<&str> = Vec::new();
    for reason in seen.head.reasons.iter().take(counted.min(REASONS)) {
        let own = Counter::ALL.get(usize::from(*reason));
        names.extend(own.filter(|_| seen.known).map(|counter| counter.name()));
    }
    if counted == 0 {
        names.extend(short_way(seen).into_iter().flatten().map(Counter::name));
    }
    match names.as_slice() {
        [] if counted == 0 => String::new(),
        [] => " (counters of another version)".to_owned(),
        names => format!(" ({})", names.join(", ")),
    }
}

/// What a correspondent's program means by a change for which it moves no counter: packets of the short way are counted
/// by their addresses.
fn short_way(seen: &Seen<'_>) -> Option<[Counter; 2]> {
    // The roles stand behind the first word of its name.
    let roles = seen.program.split('_').nth(1)?;
    if !roles.contains('c') {
        return None;
    }
    let start = if seen.bare { 0 } else { ETHERNET };
    let differs = |octets: Range<usize>| {
        let octets = start + octets.start..start + octets.end;
        Some(seen.before.get(octets.clone())? != seen.after.get(octets)?)
    };
    let way = if differs(DESTINATION)? {
        Counter::ToCareOf
    } else if differs(SOURCE)? {
        Counter::FromCareOf
    } else {
        return None;
    };
    let by = match Verdict::of(seen.head.verdict, seen.hook) {
        Some(Verdict::Pass) => Counter::ForwardedByKernel,
        _ => Counter::Forwarded,
    };
    Some([way, by])
}

fn whole(error: PcapNgWriteError) -> io::Error {
    match error {
        PcapNgWriteError::Io(error) => error,
        error => io::Error::other(error),
    }
}
