//! What the programs of the data plane see and do, packet by packet, for `anycast-ctl capture`.
//!
//! The kernel calls programs of the capture before and after those that are attached in this network namespace, also
//! where no daemon runs. It asks no daemon, and ends with the process.

mod btf;
mod error;
mod file;
mod program;
mod tracing;
mod verdict;

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    io,
    net::Ipv6Addr,
    os::fd::{AsFd, BorrowedFd},
};

use anycast_common::abi::{
    capture::{Head, MOST, OCTETS, Offsets, PADDING, RING, Settings, Totals, maps, verdict},
    counters::Counter,
    maps::Rate,
};
use aya::maps::{Array, Map, MapData, PerCpuArray, RingBuf};
use aya_obj::{Object, generated::bpf_map_type};
use nix::net::if_::if_nametoindex;
use zerocopy::FromBytes as _;

use self::{btf::Btf, error::KERNEL, program::Program, tracing::Traced};
pub use self::{
    error::CaptureError,
    file::{Writer, Written},
    verdict::{Hook, Seen, Verdict},
};

/// The programs of captures; empty when the tools to build them were missing.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/capture.bpf.o"));

/// Records that are taken at once: while packets come faster than they are written, the ring is never empty.
const AT_ONCE: usize = 4096;

/// Seconds for which a CPU may be above its rate after it was quiet.
const BURST: u64 = 1;

/// Which packets.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Those that mention this address when a program gets them.
    pub client: Option<Ipv6Addr>,
    /// Those that mention this one then or afterwards.
    pub anycast: Option<Ipv6Addr>,
    /// Those of this interface.
    pub interface: Option<String>,
    /// Those with these verdicts; of each when there are none.
    pub verdicts: Vec<Verdict>,
    /// Octets of each packet, at most 2047.
    pub length: u32,
    /// Packets a second on each CPU; 0: all.
    pub rate: u64,
}

impl Filter {
    fn settings(&self, offsets: Offsets) -> Result<Settings, CaptureError> {
        let interface = match &self.interface {
            Some(name) => if_nametoindex(name.as_str())
                .map_err(|_| CaptureError::NoInterface(name.clone()))?,
            None => 0,
        };
        let address = |address: Option<Ipv6Addr>| {
            let octets = address.map_or([0; 16], |it| it.octets());
            let (words, _) = octets.as_chunks::<4>();
            [0, 1, 2, 3].map(|at: usize| words.get(at).map_or(0, |word| u32::from_ne_bytes(*word)))
        };
        let wanted = |hook| {
            let all = self.verdicts.is_empty();
            let wanted = self.verdicts.iter().flat_map(|it| it.returned(hook));
            let bits = wanted.fold(0, |bits, returned| bits | verdict(*returned));
            if all { u32::MAX } else { bits }
        };
        let length = self.length.min(MOST);
        let every = 1_000_000_000_u64.checked_div(self.rate).unwrap_or(0);
        Ok(Settings {
            client: address(self.client),
            anycast: address(self.anycast),
            rate: Rate {
                every,
                depth: BURST * 1_000_000_000,
            },
            length,
            place: (length + PADDING).next_multiple_of(8),
            xdp: wanted(Hook::Xdp),
            tcx: wanted(Hook::Tcx),
            offsets,
            interface,
        })
    }
}

struct Subject {
    program: Program,
    /// Whether its counters are those of this version.
    known: bool,
    /// None: it is looked at no more.
    traced: Option<Traced>,
}

/// What a look for programs has found.
#[derive(Debug, Default)]
pub struct Found {
    /// Programs that are looked at from now on, with their interfaces.
    pub new: Vec<String>,
    /// Those that cannot be, and why. Each is told once.
    pub refused: Vec<(String, CaptureError)>,
}

/// What was taken of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// All that was there.
    All,
    /// Much, and there is more.
    More,
    /// As much as was wanted.
    Enough,
}

/// A capture, which ends when it is dropped.
pub struct Capture {
    object: Object,
    maps: Vec<(&'static str, MapData)>,
    ring: RingBuf<MapData>,
    totals: PerCpuArray<MapData, Totals>,
    interface: u32,
    subjects: BTreeMap<u32, Subject>,
    /// Programs that cannot be looked at.
    refused: BTreeSet<u32>,
}

impl Capture {
    /// Begins a capture with all programs that are attached now and that can be looked at.
    ///
    /// # Errors
    ///
    /// See [`CaptureError`]; where no program can be looked at, the reason of the first.
    pub fn start(object: &[u8], filter: &Filter) -> Result<(Self, Found), CaptureError> {
        let mut capture = Self::prepare(object, filter)?;
        let mut found = capture.follow()?;
        if !found.new.is_empty() {
            return Ok((capture, found));
        }
        if !found.refused.is_empty() {
            return Err(found.refused.swap_remove(0).1);
        }
        let place = match &filter.interface {
            Some(name) => format!("to {name}"),
            None => "in this network namespace".to_owned(),
        };
        Err(CaptureError::Nothing(place))
    }

    fn prepare(object: &[u8], filter: &Filter) -> Result<Self, CaptureError> {
        if object.is_empty() {
            return Err(CaptureError::NoObject);
        }
        let kernel = std::fs::read(KERNEL).ok().and_then(Btf::parse);
        let offsets = kernel.and_then(|btf| offsets(&btf));
        let settings = filter.settings(offsets.ok_or(CaptureError::NoKernelTypes)?)?;
        let object = Object::parse(object)?;
        let mut maps = Vec::new();
        for (name, kind, key, value, entries) in [
            (maps::SETTINGS, ARRAY, 4, size_of::<Settings>(), 1),
            (maps::SEEN, bpf_map_type::BPF_MAP_TYPE_RINGBUF, 0, 0, RING),
            (maps::RECORD, PER_CPU, 4, size_of::<Head>() + OCTETS, 1),
            (maps::BEFORE, PER_CPU, 4, 8 * Counter::ALL.len(), 1),
            (maps::TOTALS, PER_CPU, 4, size_of::<Totals>(), 1),
        ] {
            maps.push((name, create(name, kind, key, value, entries)?));
        }
        let again = |name| {
            let map = maps.iter().find(|(own, _)| *own == name);
            let fd = map.ok_or(CaptureError::NoObject)?.1.fd().as_fd();
            Ok::<_, CaptureError>(MapData::from_fd(fd.try_clone_to_owned()?)?)
        };
        let mut array: Array<_, Settings> = Array::try_from(Map::Array(again(maps::SETTINGS)?))?;
        array.set(0, settings, 0)?;
        let ring = RingBuf::try_from(Map::RingBuf(again(maps::SEEN)?))?;
        let totals = PerCpuArray::try_from(Map::PerCpuArray(again(maps::TOTALS)?))?;
        Ok(Self {
            object,
            maps,
            ring,
            totals,
            interface: settings.interface,
            subjects: BTreeMap::new(),
            refused: BTreeSet::new(),
        })
    }

    fn look_at(&mut self, program: Program) -> Result<(), CaptureError> {
        let own: Vec<_> = self.maps.iter().map(|(name, map)| (*name, map)).collect();
        let traced = Traced::new(&self.object, &own, &program)?;
        let subject = Subject {
            program,
            known: traced.known,
            traced: Some(traced),
        };
        self.subjects.insert(subject.program.id, subject);
        Ok(())
    }

    /// Takes programs in that were attached since, and lets go of those that are no more. One that cannot be looked at
    /// keeps no other from it.
    ///
    /// # Errors
    ///
    /// See [`CaptureError`].
    pub fn follow(&mut self) -> Result<Found, CaptureError> {
        let mut attached = Program::all()?;
        attached.retain(|it| self.interface == 0 || it.interfaces.contains(&self.interface));
        let attached = together(attached);
        let ids: BTreeSet<u32> = attached.iter().map(|program| program.id).collect();
        self.subjects.retain(|id, _| ids.contains(id));
        self.refused.retain(|id| ids.contains(id));
        let mut found = Found::default();
        for program in attached {
            let (id, place) = (program.id, program.place());
            if self.subjects.contains_key(&id) || self.refused.contains(&id) {
                continue;
            }
            match self.look_at(program) {
                Ok(()) => found.new.push(place),
                // It has ended since it was listed.
                Err(CaptureError::Kernel(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    self.refused.insert(id);
                    found.refused.push((place, error));
                }
            }
        }
        Ok(found)
    }

    /// Looks at nothing more. What was seen is still there to be taken.
    pub fn stop(&mut self) {
        for subject in self.subjects.values_mut() {
            subject.traced = None;
        }
    }

    /// Passes some of what was seen since to `sink`, until it says that it has enough.
    ///
    /// # Errors
    ///
    /// Those of `sink`.
    pub fn drain<E>(
        &mut self,
        mut sink: impl FnMut(&Seen<'_>) -> Result<bool, E>,
    ) -> Result<Drained, E> {
        for _ in 0..AT_ONCE {
            let Some(record) = self.ring.next() else {
                return Ok(Drained::All);
            };
            let Ok((head, octets)) = Head::read_from_prefix(&record) else {
                continue;
            };
            let id = u32::try_from(head.cookie & u64::from(u32::MAX)).unwrap_or(0);
            let Some(subject) = self.subjects.get(&id) else {
                continue;
            };
            let packet = |place: u32, length: u32| {
                let start = (place + head.padding) as usize;
                octets.get(start..start + length as usize)
            };
            let (Some(before), Some(after)) =
                (packet(0, head.before), packet(head.place, head.after))
            else {
                continue;
            };
            let seen = Seen {
                program: &subject.program.name,
                hook: subject.program.hook,
                bare: subject.program.is_bare(),
                head,
                known: subject.known,
                before,
                after,
            };
            if !sink(&seen)? {
                return Ok(Drained::Enough);
            }
        }
        Ok(Drained::More)
    }

    /// What was told and what was not, of all CPUs.
    ///
    /// # Errors
    ///
    /// An error of the kernel.
    pub fn totals(&self) -> Result<Totals, CaptureError> {
        let mut sum = Totals::default();
        for cpu in self.totals.get(&0, 0)?.iter() {
            sum.told += cpu.told;
            sum.limited += cpu.limited;
            sum.lost += cpu.lost;
        }
        Ok(sum)
    }
}

impl AsFd for Capture {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

/// Each program once, with all its interfaces.
fn together(attached: Vec<Program>) -> Vec<Program> {
    let mut all: BTreeMap<u32, Program> = BTreeMap::new();
    for program in attached {
        match all.entry(program.id) {
            Entry::Occupied(mut known) => known.get_mut().interfaces.extend(program.interfaces),
            Entry::Vacant(new) => drop(new.insert(program)),
        }
    }
    all.into_values().collect()
}

const ARRAY: bpf_map_type = bpf_map_type::BPF_MAP_TYPE_ARRAY;
const PER_CPU: bpf_map_type = bpf_map_type::BPF_MAP_TYPE_PERCPU_ARRAY;

fn create(
    name: &str,
    kind: bpf_map_type,
    key: u32,
    value: usize,
    entries: usize,
) -> Result<MapData, CaptureError> {
    let number = |size| u32::try_from(size).map_err(io::Error::other);
    let (value, entries) = (number(value)?, number(entries)?);
    let map = aya_obj::Map::new_from_params(kind as u32, key, value, entries, 0);
    Ok(MapData::create(map, name, None)?)
}

/// Where the running kernel has what is read of its structures.
fn offsets(kernel: &Btf) -> Option<Offsets> {
    Some(Offsets {
        xdp_data: kernel.offset("xdp_buff", "data")?,
        xdp_data_end: kernel.offset("xdp_buff", "data_end")?,
        xdp_queue: kernel.offset("xdp_buff", "rxq")?,
        queue_device: kernel.offset("xdp_rxq_info", "dev")?,
        skb_data: kernel.offset("sk_buff", "data")?,
        skb_length: kernel.offset("sk_buff", "len")?,
        skb_paged: kernel.offset("sk_buff", "data_len")?,
        skb_device: kernel.offset("sk_buff", "dev")?,
        device_index: kernel.offset("net_device", "ifindex")?,
    })
}
