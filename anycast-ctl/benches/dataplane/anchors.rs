//! The programs in C.

use std::{fs, path::Path};

use anycast_common::abi::maps;
use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{Array, HashMap, ProgramArray},
    programs::{ProgramFd, Xdp},
};

use crate::c;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/dataplane/anchors.c");
const OBJECT: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/anchors.bpf.o");
/// Octets of a frame that the programs look at.
const WHOLE: usize = 80;

// Those of the map `pins`.
const _: () = assert!(size_of::<maps::FlowKey>() == 40 && size_of::<maps::Flow>() == 80);

/// The source, compiled.
pub struct Object(Vec<u8>);

impl Object {
    pub fn build() -> Result<Self> {
        Ok(Self(c::compile(SOURCE, OBJECT, &[])?))
    }

    /// What was compiled before.
    pub fn read(path: &Path) -> Result<Self> {
        let object = fs::read(path);
        object
            .map(Self)
            .with_context(|| format!("cannot read {}", path.display()))
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        fs::write(path, &self.0).with_context(|| format!("cannot write {}", path.display()))
    }

    /// One program of it, with maps of its own.
    pub fn load(&self, name: &'static str) -> Result<Anchor> {
        // All programs have all maps, and only these need a large one.
        let pins = if name.starts_with("lru") {
            maps::FLOWS
        } else {
            64
        };
        let mut ebpf = EbpfLoader::new()
            .map_max_entries("pins", pins)
            .load(&self.0)?;
        program(&mut ebpf, name)?.load()?;
        Ok(Anchor { ebpf, name })
    }
}

/// A program in C.
pub struct Anchor {
    ebpf: Ebpf,
    name: &'static str,
}

/// Key of the map `flows`: addresses, ports and protocol as they are in a frame.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Flow([u8; 40]);

/// Value of the map `flows`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Translation([u64; 4]);

#[derive(Clone, Copy)]
#[repr(C)]
struct Image([u8; WHOLE]);

// SAFETY: plain octets.
unsafe impl Pod for Flow {}
// SAFETY: plain integers.
unsafe impl Pod for Translation {}
// SAFETY: plain octets.
unsafe impl Pod for Image {}

impl Flow {
    /// That of a frame of TCP.
    pub fn of(frame: &[u8]) -> Self {
        let mut key = [0; 40];
        key[..36].copy_from_slice(&frame[22..58]);
        key[36] = frame[20];
        Self(key)
    }
}

impl Translation {
    /// Any: what it costs does not depend on the addresses.
    pub const ANY: Self = Self([0x20, 0xc1, 0x0200_0000_0002_0200, 0x1234_0000_0001]);
}

impl Anchor {
    pub fn program(&mut self) -> Result<&mut Xdp> {
        program(&mut self.ebpf, self.name)
    }

    /// The flows that it knows.
    pub fn learn(&mut self, frames: impl Iterator<Item = Vec<u8>>) -> Result<()> {
        let map = self.ebpf.map_mut("flows").context("flows")?;
        let mut flows: HashMap<_, Flow, Translation> = map.try_into()?;
        for frame in frames {
            flows.insert(Flow::of(&frame), Translation::ANY, 0)?;
        }
        Ok(())
    }

    /// From where in all ports it goes on.
    pub fn begin_at(&mut self, state: u32) -> Result<()> {
        let map = self.ebpf.map_mut("walk").context("walk")?;
        Ok(Array::<_, u32>::try_from(map)?.set(0, state, 0)?)
    }

    /// Makes every frame this one, but for the ports, before it goes to the program.
    pub fn lead_to(&mut self, frame: &[u8], program: &ProgramFd) -> Result<()> {
        let image = Image(frame[..WHOLE].try_into()?);
        let map = self.ebpf.map_mut("pristine").context("pristine")?;
        Array::<_, Image>::try_from(map)?.set(0, image, 0)?;
        let map = self.ebpf.map_mut("next").context("next")?;
        ProgramArray::try_from(map)?.set(0, program, 0)?;
        Ok(())
    }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Xdp> {
    Ok(ebpf.program_mut(name).context(name)?.try_into()?)
}
