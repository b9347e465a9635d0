//! Maps, filled, and the programs that walk through them.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
    path::{Path, PathBuf},
};

use anycast_common::abi::maps::{Binding, Flow};
use anycast_ctl::shell::dataplane::OBJECT;
use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{Array, HashMap, MapInfo},
    programs::{TestRun as _, TestRunOptions, Xdp},
};

use crate::c;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/lookups/tables.c");
const COMPILED: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/tables.bpf.o");
/// Lookups of one run.
const REPEAT: u32 = 2_000_000;
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

    /// The map that the programs in C name.
    fn map(self) -> &'static str {
        match self {
            Self::Flow => "flows",
            Self::Binding => "bindings",
        }
    }

    fn programs(self) -> [&'static str; 2] {
        match self {
            Self::Flow => ["flow_key", "find_flow"],
            Self::Binding => ["binding_key", "find_binding"],
        }
    }
}

#[derive(Clone, Copy)]
#[repr(C)]
struct State {
    state: u64,
    mask: u64,
    missed: u64,
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
        fs::create_dir(&pins)
            .with_context(|| format!("cannot make {}: is bpffs mounted there?", pins.display()))?;
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
    kind: Kind,
    entries: u64,
    path: PathBuf,
}

impl Table {
    /// A hash map without anything.
    pub fn plain(sources: &Sources, kind: Kind, entries: u64) -> Result<Self> {
        Self::of(sources, kind, entries, &sources.object, kind.map())
    }

    /// One of the correspondent's.
    pub fn ours(sources: &Sources, kind: Kind, entries: u64) -> Result<Self> {
        Self::of(sources, kind, entries, OBJECT, kind.ours())
    }

    fn of(
        sources: &Sources,
        kind: Kind,
        entries: u64,
        object: &[u8],
        map: &'static str,
    ) -> Result<Self> {
        let path = sources.pins.join(map);
        // A full LRU map evicts; with an eighth of its room free it does not have to.
        let room = u32::try_from(entries + entries / 8)?;
        let mut loader = EbpfLoader::new();
        loader.map_max_entries(map, room).map_pin_path(map, &path);
        let mut ebpf = loader.load(object)?;
        let table = ebpf.map_mut(map).context(map)?;
        match kind {
            Kind::Flow => {
                let value = Words([0; size_of::<Flow>() / 8]);
                let mut table: HashMap<_, Words<5>, _> = table.try_into()?;
                for number in 0..entries {
                    let key = [1, number >> 10, 2, 3, number & 1023];
                    table.insert(Words(key), value, 0)?;
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
            kind,
            entries,
            path,
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
        Ok(octets.trim().parse::<f64>()? / f64::from(info.max_entries()))
    }

    /// What looks its keys up.
    pub fn walk(&self, sources: &Sources) -> Result<Walk> {
        let [_, program] = self.kind.programs();
        let mut loader = EbpfLoader::new();
        loader.map_pin_path(self.kind.map(), &self.path);
        Walk::new(loader.load(&sources.object)?, program, self.entries)
    }
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
        let [program, _] = kind.programs();
        Self::new(Ebpf::load(&sources.object)?, program, entries)
    }

    fn new(mut ebpf: Ebpf, program: &'static str, entries: u64) -> Result<Self> {
        let state = State {
            state: 0,
            mask: entries - 1,
            missed: 0,
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
