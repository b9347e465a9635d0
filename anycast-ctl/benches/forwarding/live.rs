//! The programs in C.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, xdp::DevMap},
    programs::{
        SchedClassifier, TcAttachType, TestRun as _, TestRunAttrs, TestRunOptions, Xdp, XdpMode,
    },
};

use crate::c;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/forwarding/live.c");
const OBJECT: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/live.bpf.o");
/// Octets of a frame that the programs look at.
const WHOLE: usize = 80;
/// Frames that the kernel makes at once.
const BATCH: u32 = 64;
/// Frames of one system call. It waits for RCU once, ten milliseconds and more, in which nobody forwards: of a
/// fast way's time that would be a large part, were there fewer.
const REPEAT: u32 = 1 << 18;

#[derive(Clone, Copy)]
#[repr(C)]
struct Image([u64; WHOLE / 8]);

#[derive(Clone, Copy)]
#[repr(C)]
struct Way {
    ifindex: u32,
    mask: u32,
    next: u32,
}

/// Key of the map `flows`: addresses, ports and protocol as they are in a frame.
#[derive(Clone, Copy)]
#[repr(C)]
struct Flow([u8; 40]);

/// Value of the map `flows`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Translation {
    destination: [u8; 16],
    ethernet: [u8; 12],
    delta: u32,
}

// SAFETY: plain integers without padding, all four.
unsafe impl Pod for Image {}
// SAFETY: as above.
unsafe impl Pod for Way {}
// SAFETY: as above.
unsafe impl Pod for Flow {}
// SAFETY: as above.
unsafe impl Pod for Translation {}

/// The source, compiled.
pub struct Object(Vec<u8>);

impl Object {
    pub fn build() -> Result<Self> {
        Ok(Self(c::compile(SOURCE, OBJECT, &[])?))
    }

    fn load(&self) -> Result<Ebpf> {
        Ok(Ebpf::load(&self.0)?)
    }

    /// Makes frames like this one, of so many flows, and sends them by an interface. A power of two.
    pub fn source(&self, frame: &[u8], ifindex: u32, flows: u16) -> Result<Source> {
        let mut ebpf = self.load()?;
        set_image(&mut ebpf, frame)?;
        set_way(&mut ebpf, ifindex, flows)?;
        let program: &mut Xdp = ebpf.program_mut("source").context("source")?.try_into()?;
        program.load()?;
        Ok(Source {
            ebpf,
            frame: frame.to_vec(),
        })
    }

    /// Takes what arrives at an interface of this namespace, and counts what is for the address that
    /// `frame` is for: by XDP, or from the stack.
    pub fn sink(&self, interface: &str, frame: &[u8], xdp: bool) -> Result<Sink> {
        let mut ebpf = self.load()?;
        set_image(&mut ebpf, frame)?;
        if xdp {
            let program: &mut Xdp = ebpf.program_mut("sink").context("sink")?.try_into()?;
            program.load()?;
            program.attach(interface, XdpMode::Driver)?;
        } else {
            let program = ebpf.program_mut("sink_of_packets").context("sink")?;
            let program: &mut SchedClassifier = program.try_into()?;
            program.load()?;
            program.attach(interface, TcAttachType::Ingress)?;
        }
        Ok(Sink(ebpf))
    }

    /// One of the programs that ours is compared with, attached to an interface of this namespace.
    pub fn translator(&self, name: &str, interface: &str, rule: &Rule<'_>) -> Result<Ebpf> {
        let mut ebpf = self.load()?;
        set_way(&mut ebpf, rule.ifindex, rule.flows)?;
        let map = ebpf.map_mut("devices").context("devices")?;
        DevMap::try_from(map)?.set(0, rule.ifindex, None, 0)?;
        let map = ebpf.map_mut("flows").context("flows")?;
        let mut flows: HashMap<_, Flow, Translation> = map.try_into()?;
        for port in (0..rule.flows).map(|number| 0x8000 | number) {
            let mut key = [0; 40];
            key[..36].copy_from_slice(&rule.frame[22..58]);
            key[32..34].copy_from_slice(&port.to_be_bytes());
            key[36] = rule.frame[20];
            flows.insert(Flow(key), rule.translation(), 0)?;
        }
        let program = ebpf.program_mut(name).context("no such program")?;
        let program: &mut Xdp = program.try_into()?;
        program.load()?;
        program.attach(interface, XdpMode::Driver)?;
        Ok(ebpf)
    }
}

/// What becomes of frames.
pub struct Rule<'a> {
    /// Their interface.
    pub ifindex: u32,
    /// One of them.
    pub frame: &'a [u8],
    pub flows: u16,
    /// The same as it is to arrive.
    pub result: &'a [u8],
}

impl Rule<'_> {
    fn translation(&self) -> Translation {
        let sum = |frame: &[u8]| u32::from(u16::from_ne_bytes([frame[60], frame[61]]));
        // What turns one checksum into the other (RFC 1624).
        let delta = (!sum(self.result) & 0xffff) + (sum(self.frame) & 0xffff);
        Translation {
            destination: self.result[38..54].try_into().unwrap(),
            ethernet: self.result[..12].try_into().unwrap(),
            delta: (delta & 0xffff) + (delta >> 16),
        }
    }
}

/// Where frames go, and for the source, of how many flows they are.
fn set_way(ebpf: &mut Ebpf, ifindex: u32, flows: u16) -> Result<()> {
    let way = Way {
        ifindex,
        mask: u32::from(flows) - 1,
        next: 0,
    };
    let map = ebpf.map_mut("way").context("way")?;
    Ok(Array::<_, Way>::try_from(map)?.set(0, way, 0)?)
}

fn set_image(ebpf: &mut Ebpf, frame: &[u8]) -> Result<()> {
    let words = std::array::from_fn(|word| {
        u64::from_ne_bytes(frame[word * 8..word * 8 + 8].try_into().unwrap())
    });
    let map = ebpf.map_mut("image").context("image")?;
    Ok(Array::<_, Image>::try_from(map)?.set(0, Image(words), 0)?)
}

pub struct Source {
    ebpf: Ebpf,
    frame: Vec<u8>,
}

impl Source {
    /// Sends a good many.
    pub fn send(&mut self) -> Result<()> {
        let program: &mut Xdp = self
            .ebpf
            .program_mut("source")
            .context("source")?
            .try_into()?;
        program.test_run(TestRunOptions {
            data_in: Some(&self.frame),
            repeat: REPEAT,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::default()
        })?;
        Ok(())
    }
}

pub struct Sink(Ebpf);

impl Sink {
    /// Frames so far.
    pub fn count(&self) -> Result<u64> {
        let map = self.0.map("swallowed").context("swallowed")?;
        Ok(Array::<_, u64>::try_from(map)?.get(&0, 0)?)
    }
}
