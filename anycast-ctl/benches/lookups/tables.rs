//! Maps, filled, and the programs that walk through them.

use std::{
    fs,
    num::NonZeroUsize,
    os::fd::{AsFd as _, AsRawFd as _},
    path::{Path, PathBuf},
};

use anycast_common::abi::{
    flow_table::{self, Home, Secret, Set, class},
    maps::{Binding, Flow, FlowKey},
};
use anycast_ctl::shell::dataplane::OBJECT;
use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{Array, HashMap, MapInfo},
    programs::{TestRun as _, TestRunOptions, Xdp},
};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use zerocopy::FromZeros as _;

use crate::c;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/lookups/tables.c");
const COMPILED: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/tables.bpf.o");
/// Lookups of one run.
const REPEAT: u32 = 2_000_000;
/// Key of the hash of pinned flows: digits of pi.
const SECRET: Secret = [
    0x243f_6a88_85a3_08d3,
    0x1319_8a2e_0370_7344,
    0xa409_3822_299f_31d0,
    0x082e_fa98_ec4e_6c89,
    0x4528_21e6_38d0_1377,
];
/// The programs look at none of it.
const FRAME: [u8; 64] = [0; 64];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Flow,
    Binding,
}

impl Kind {
    pub fn plain(self) -> &'static str {
        match self {
            Self::Flow => "hash, as FLOWS",
            Self::Binding => "hash, as BINDINGS",
        }
    }

    pub fn ours(self) -> &'static str {
        match self {
            Self::Flow => "FLOWS",
            Self::Binding => "BINDINGS",
        }
    }

    /// The program in C that makes keys only.
    fn keys(self) -> &'static str {
        match self {
            Self::Flow => "flow_key",
            Self::Binding => "binding_key",
        }
    }
}

/// What a program in C walks through: its name, and that of the map.
type Walker = (&'static str, &'static str);

const HASH_OF_FLOWS: Walker = ("find_flow", "flows");
const HASH_OF_BINDINGS: Walker = ("find_binding", "bindings");
const PINNED: Walker = ("find_pinned", "sets");

#[derive(Clone, Copy)]
#[repr(C)]
struct State {
    state: u64,
    mask: u64,
    missed: u64,
    sets: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Words<const N: usize>([u64; N]);

// SAFETY: plain integers without padding.
unsafe impl Pod for State {}
// SAFETY: as above.
unsafe impl<const N: usize> Pod for Words<N> {}

/// The programs in C, and a directory for the maps that they share with ours.
pub struct Sources {
    object: Vec<u8>,
    pins: PathBuf,
}

impl Sources {
    pub fn new() -> Result<Self> {
        let octets = [size_of::<Flow>(), size_of::<Binding>()];
        let object = c::compile(
            SOURCE,
            COMPILED,
            &[
                &format!("-DFLOW_OCTETS={}", octets[0]),
                &format!("-DBINDING_OCTETS={}", octets[1]),
            ],
        )?;
        let pins = PathBuf::from(format!("/sys/fs/bpf/anycast-bench-{}", std::process::id()));
        fs::create_dir(&pins).with_context(|| format!("cannot make {}", pins.display()))?;
        Ok(Self { object, pins })
    }
}

impl Drop for Sources {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.pins);
    }
}

/// A map with all its entries.
pub struct Table {
    entries: u64,
    /// Entries that it has room for.
    room: u32,
    path: PathBuf,
    walker: Walker,
}

impl Table {
    /// A hash map.
    pub fn plain(sources: &Sources, kind: Kind, entries: u64) -> Result<Self> {
        let walker = match kind {
            Kind::Flow => HASH_OF_FLOWS,
            Kind::Binding => HASH_OF_BINDINGS,
        };
        Self::hash(sources, kind, entries, (&sources.object, walker.1), walker)
    }

    /// One of the correspondent's.
    pub fn ours(sources: &Sources, kind: Kind, entries: u64) -> Result<Self> {
        match kind {
            Kind::Flow => Self::pinned(sources, entries),
            Kind::Binding => {
                let map = (OBJECT, kind.ours());
                Self::hash(sources, kind, entries, map, HASH_OF_BINDINGS)
            }
        }
    }

    fn hash(
        sources: &Sources,
        kind: Kind,
        entries: u64,
        (object, map): (&[u8], &'static str),
        walker: Walker,
    ) -> Result<Self> {
        let path = sources.pins.join(map);
        let room = room_for(entries)?;
        let mut loader = EbpfLoader::new();
        loader.map_max_entries(map, room).map_pin_path(map, &path);
        let mut ebpf = loader.load(object)?;
        let table = ebpf.map_mut(map).context(map)?;
        match kind {
            Kind::Flow => {
                let value = Words([0; size_of::<Flow>() / 8]);
                let mut table: HashMap<_, Words<5>, _> = table.try_into()?;
                for number in 0..entries {
                    table.insert(Words(flow(number)), value, 0)?;
                }
            }
            Kind::Binding => {
                let value = Words([0; size_of::<Binding>() / 8]);
                let mut table: HashMap<_, Words<4>, _> = table.try_into()?;
                for number in 0..entries {
                    table.insert(Words([1, number, 2, 3]), value, 0)?;
                }
            }
        }
        Ok(Self {
            entries,
            room,
            path,
            walker,
        })
    }

    /// The table of pinned flows, in the memory that it shares.
    fn pinned(sources: &Sources, entries: u64) -> Result<Self> {
        let map = Kind::Flow.ours();
        let path = sources.pins.join(map);
        let room = room_for(entries)?;
        let mut loader = EbpfLoader::new();
        loader
            .map_max_entries(map, flow_table::entries(room))
            .map_pin_path(map, &path);
        let _ebpf = loader.load(OBJECT)?;
        let fd = MapInfo::from_pin(&path)?.fd()?;
        let sets = flow_table::sets(room);
        let length = NonZeroUsize::new(sets as usize * size_of::<Set>()).context("no sets")?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: where the kernel likes.
        let memory = unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, &fd, 0) }?;
        let start = memory.cast::<Set>();
        let value = Flow::new_zeroed();
        for number in 0..entries {
            let key: FlowKey = zerocopy::transmute!(flow(number));
            let home = Home::of(&key, &SECRET);
            // SAFETY: there are so many sets, and nobody else writes them.
            let [first, second] = [home.first(sets), home.second(sets)]
                .map(|set| unsafe { start.add(set as usize).as_ptr() });
            // SAFETY: as above.
            unsafe { flow_table::insert([first, second], &home, &key, &value, class::SESSION, 0) };
        }
        // SAFETY: nobody has a pointer into it any more.
        unsafe { munmap(memory, length.get()) }?;
        Ok(Self {
            entries,
            room,
            path,
            walker: PINNED,
        })
    }

    /// Octets for each entry that it has room for, as the kernel accounts them.
    pub fn memory(&self) -> Result<f64> {
        let info = MapInfo::from_pin(&self.path)?;
        let fd = info.fd()?;
        let path = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
        let text = fs::read_to_string(Path::new(&path))?;
        let octets = text
            .lines()
            .find_map(|line| line.strip_prefix("memlock:"))
            .context("memlock")?;
        Ok(octets.trim().parse::<f64>()? / f64::from(self.room))
    }

    /// What looks its keys up.
    pub fn walk(&self, sources: &Sources) -> Result<Walk> {
        let (program, map) = self.walker;
        let mut loader = EbpfLoader::new();
        loader.map_pin_path(map, &self.path);
        let ebpf = loader.load(&sources.object)?;
        Walk::new(ebpf, program, self.entries, flow_table::sets(self.room))
    }
}

fn flow(number: u64) -> [u64; 5] {
    [1, number >> 10, 2, 3, number & 1023]
}

/// With an eighth of its room free a table does not have to evict.
fn room_for(entries: u64) -> Result<u32> {
    Ok(u32::try_from(entries + entries / 8)?)
}

/// A program that looks up a key each time.
pub struct Walk {
    ebpf: Ebpf,
    program: &'static str,
    runs: u64,
}

impl Walk {
    /// One that makes keys only.
    pub fn keys(sources: &Sources, kind: Kind, entries: u64) -> Result<Self> {
        Self::new(Ebpf::load(&sources.object)?, kind.keys(), entries, 0)
    }

    fn new(mut ebpf: Ebpf, program: &'static str, entries: u64, sets: u32) -> Result<Self> {
        let state = State {
            state: 0,
            mask: entries - 1,
            missed: 0,
            sets: sets.into(),
        };
        let walk = ebpf.map_mut("walk").context("walk")?;
        Array::<_, State>::try_from(walk)?.set(0, state, 0)?;
        let xdp: &mut Xdp = ebpf.program_mut(program).context(program)?.try_into()?;
        xdp.load()?;
        let mut walk = Self {
            ebpf,
            program,
            runs: 0,
        };
        walk.run()?;
        Ok(walk)
    }

    /// Nanoseconds of a lookup.
    pub fn run(&mut self) -> Result<f64> {
        let program = self.ebpf.program_mut(self.program).context(self.program)?;
        let program: &mut Xdp = program.try_into()?;
        let result = program.test_run(TestRunOptions {
            data_in: Some(&FRAME),
            repeat: REPEAT,
            ..TestRunOptions::default()
        })?;
        ensure!(
            result.return_value == 2,
            "XDP action {}",
            result.return_value
        );
        self.runs += u64::from(REPEAT);
        Ok(result.duration.as_nanos() as f64)
    }

    /// The part of the keys that were not found.
    pub fn missed(&self) -> Result<f64> {
        let walk = self.ebpf.map("walk").context("walk")?;
        let state = Array::<_, State>::try_from(walk)?.get(&0, 0)?;
        Ok(state.missed as f64 / self.runs as f64)
    }
}
