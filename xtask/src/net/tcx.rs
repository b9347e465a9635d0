//! A TCX program that counts packets and passes them to the next program. For the programs under test it is a program
//! of somebody else.

use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};

use anyhow::{Context as _, Result};
use nix::libc;

use super::{bpf, namespace::Namespace, netlink};

const MAP_CREATE: libc::c_long = 0;
const PROG_LOAD: libc::c_long = 5;
const LINK_CREATE: libc::c_long = 28;
const MAP_TYPE_ARRAY: u32 = 2;
const PROG_TYPE_SCHED_CLS: u32 = 3;
const LICENSE: &[u8] = b"Dual MIT/GPL\0";

/// Length of the Ethernet and IPv6 headers in octets.
const HEADERS: u8 = 14 + 40;

/// Direction of the counted packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Direction {
    /// Incoming packets.
    Ingress = 46,
    /// Outgoing packets.
    Egress = 47,
}

/// Which packets are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All packets.
    All,
    /// All packets, about which the program decides: no later program sees them (`TC_ACT_OK`).
    Decided,
    /// Packets whose IPv6 header is not in the linear part of the skb, so that a program cannot read it in place.
    NotLinear,
}

/// The program on an interface. It is detached when this value is dropped.
#[derive(Debug)]
pub struct TcxCounter {
    map: OwnedFd,
    _link: OwnedFd,
}

#[repr(C)]
struct Create {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

impl TcxCounter {
    /// Attaches the program behind all others.
    pub fn attach(
        namespace: &Namespace,
        interface: &str,
        direction: Direction,
        which: Which,
    ) -> Result<Self> {
        Self::attach_at(namespace, interface, direction, which, 0)
    }

    /// Attaches the program before all others.
    pub fn attach_first(
        namespace: &Namespace,
        interface: &str,
        direction: Direction,
        which: Which,
    ) -> Result<Self> {
        const BEFORE: u32 = 1 << 3;
        Self::attach_at(namespace, interface, direction, which, BEFORE)
    }

    fn attach_at(
        namespace: &Namespace,
        interface: &str,
        direction: Direction,
        which: Which,
        flags: u32,
    ) -> Result<Self> {
        let create = Create {
            kind: MAP_TYPE_ARRAY,
            key_size: 4,
            value_size: 8,
            max_entries: 1,
        };
        // SAFETY: the attribute holds no pointer, and the call returns a descriptor.
        let map = unsafe { bpf::open(MAP_CREATE, &create) }
            .context("cannot make a BPF map, which needs root (CAP_BPF)")?;
        let program = program(map.as_raw_fd(), which);
        let load = bpf::Load {
            kind: PROG_TYPE_SCHED_CLS,
            instructions: program.len().try_into()?,
            program: program.as_ptr() as u64,
            license: LICENSE.as_ptr() as u64,
            log: [0; 2],
            kernel_version: 0,
            flags: 0,
            name: match which {
                Which::Decided => *b"decides\0\0\0\0\0\0\0\0\0",
                Which::All | Which::NotLinear => *b"counts\0\0\0\0\0\0\0\0\0\0",
            },
        };
        // SAFETY: everything that the attribute points to lives until the call returns.
        let program =
            unsafe { bpf::open(PROG_LOAD, &load) }.context("cannot load a TCX program")?;
        let ifindex = netlink::index(namespace, interface)?;
        let attach = bpf::Attach {
            program: program.as_raw_fd(),
            ifindex,
            kind: direction as u32,
            flags,
        };
        // SAFETY: the attribute holds no pointer.
        let link = namespace.run(|| unsafe { bpf::open(LINK_CREATE, &attach) });
        let link = link.with_context(|| format!("cannot attach a TCX program to {interface}"))?;
        Ok(Self { map, _link: link })
    }

    /// Number of packets so far.
    pub fn count(&self) -> Result<u64> {
        let mut count = 0_u64;
        // SAFETY: key and value have the sizes with which the map was made.
        unsafe {
            bpf::value(
                &self.map,
                (&raw const FIRST).cast(),
                (&raw mut count).cast(),
            )
        }?;
        Ok(count)
    }
}

/// The key of the only element.
static FIRST: u32 = 0;

/// The program: it adds to the first value of the map, and gives `TC_ACT_UNSPEC` unless it decides.
fn program(map: RawFd, which: Which) -> Vec<[u8; 8]> {
    let map = map.to_ne_bytes();
    // TC_ACT_OK or TC_ACT_UNSPEC, each octet of it.
    let verdict = if which == Which::Decided { 0 } else { 0xff };
    let mut program = Vec::new();
    if which == Which::NotLinear {
        program.extend([
            [0x61, 0x12, 76, 0, 0, 0, 0, 0],      // r2 = data
            [0x61, 0x13, 80, 0, 0, 0, 0, 0],      // r3 = data_end
            [0x07, 0x02, 0, 0, HEADERS, 0, 0, 0], // r2 += HEADERS
            [0xbd, 0x32, 4, 0, 0, 0, 0, 0],       // if r2 <= r3, past the next four
        ]);
    }
    program.extend([
        [0x18, 0x21, 0, 0, map[0], map[1], map[2], map[3]], // r1 = the map's value,
        [0; 8],                                             // in two halves
        [0xb7, 0x02, 0, 0, 1, 0, 0, 0],                     // r2 = 1
        [0xdb, 0x21, 0, 0, 0, 0, 0, 0],                     // atomically, *r1 += r2
        [0xb7, 0x00, 0, 0, verdict, verdict, verdict, verdict], // r0 = the verdict
        [0x95, 0, 0, 0, 0, 0, 0, 0],                        // exit
    ]);
    program
}
