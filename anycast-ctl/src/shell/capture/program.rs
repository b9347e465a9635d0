//! Programs of the data plane that are attached in this network namespace, and what a capture has to know of them.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use anycast_common::abi::{capture, programs};
use aya::maps::MapData;
use nix::net::if_::if_indextoname;

use super::{btf::Btf, error::CaptureError, verdict::Hook};
use crate::shell::{
    attached::{self, OURS, Point},
    bpf::{self, PROG_GET_FD_BY_ID},
};

const BTF_GET_FD_BY_ID: nix::libc::c_long = 19;
/// Maps of a program that are looked through; ours have forty.
const MAPS: usize = 128;
/// How our programs end that are for devices without Ethernet.
const BARE: char = '3';

/// A program of the data plane.
pub(super) struct Program {
    /// Its number.
    pub(super) id: u32,
    pub(super) name: String,
    pub(super) hook: Hook,
    /// Where it is attached, by index.
    pub(super) interfaces: Vec<u32>,
}

impl Program {
    pub(super) fn new(id: u32, name: String, hook: Hook, interfaces: Vec<u32>) -> Self {
        Self {
            id,
            name,
            hook,
            interfaces,
        }
    }

    /// What is attached to the interfaces of this network namespace.
    pub(super) fn all() -> Result<Vec<Self>, CaptureError> {
        let mut found = Vec::new();
        for it in attached::attached()? {
            let hook = match it.point {
                Point::Xdp => Hook::Xdp,
                Point::TcxIngress | Point::TcxEgress => Hook::Tcx,
            };
            for id in it.programs {
                let name = match bpf::name(id) {
                    Ok(name) => name,
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                        return Err(CaptureError::NotRoot);
                    }
                    // It has ended since.
                    Err(_) => continue,
                };
                // The one of no role does nothing.
                if name.starts_with(OURS) && name != programs::XDP[0] {
                    found.push(Self::new(id, name, hook, vec![it.ifindex]));
                }
            }
        }
        Ok(found)
    }

    /// Its name, and those of its interfaces.
    pub(super) fn place(&self) -> String {
        let interfaces = self.interfaces.iter();
        let interfaces: Vec<_> = interfaces.filter_map(|it| interface(*it)).collect();
        format!("{} at {}", self.name, interfaces.join(", "))
    }

    /// The value by which the programs of a capture know it.
    pub(super) fn cookie(&self) -> u64 {
        let bare = if self.is_bare() { capture::BARE } else { 0 };
        u64::from(self.id) | bare
    }

    /// Whether its packets have no Ethernet header.
    pub(super) fn is_bare(&self) -> bool {
        self.name.ends_with(BARE)
    }
}

/// The name of an interface.
pub(super) fn interface(index: u32) -> Option<String> {
    let name = if_indextoname(index).ok()?;
    Some(name.to_string_lossy().into_owned())
}

/// A program of the kernel.
pub(super) struct Handle(pub(super) OwnedFd);

/// `struct bpf_prog_info`, as far as it is wanted.
#[repr(C)]
struct Info {
    before: [u8; 52],
    map_count: u32,
    maps: u64,
    between: [u8; 64],
    btf: u32,
    padding: u32,
}

impl Default for Info {
    fn default() -> Self {
        Self {
            before: [0; 52],
            map_count: 0,
            maps: 0,
            between: [0; 64],
            btf: 0,
            padding: 0,
        }
    }
}

impl Handle {
    pub(super) fn open(id: u32) -> io::Result<Self> {
        // SAFETY: the attribute holds no pointer, and the call returns a descriptor.
        unsafe { bpf::open(PROG_GET_FD_BY_ID, &[id, 0, 0]) }.map(Self)
    }

    fn describe(&self, info: &mut Info) -> io::Result<()> {
        let (at, length) = ((&raw mut *info) as u64, size_of::<Info>());
        // SAFETY: any octets are an `Info`, and there is room for the maps that it says there is room for.
        unsafe { bpf::describe(self.0.as_fd(), at, length) }
    }

    /// Its counters.
    pub(super) fn counters(&self) -> Result<MapData, CaptureError> {
        let mut maps = [0_u32; MAPS];
        let mut info = Info {
            map_count: u32::try_from(MAPS).unwrap_or(0),
            maps: maps.as_mut_ptr() as u64,
            ..Info::default()
        };
        self.describe(&mut info)?;
        for id in maps.into_iter().take(info.map_count as usize) {
            let map = MapData::from_id(id)?;
            if map.info()?.name_as_str() == Some(capture::maps::COUNTERS) {
                return Ok(map);
            }
        }
        Err(CaptureError::NoCounters)
    }

    /// The number of its first function in its BTF.
    pub(super) fn function(&self, name: &str) -> Result<u32, CaptureError> {
        let mut info = Info::default();
        self.describe(&mut info)?;
        // SAFETY: the attribute holds no pointer, and the call returns a descriptor.
        let btf = unsafe { bpf::open(BTF_GET_FD_BY_ID, &[info.btf, 0, 0, 0]) }?;
        Btf::parse(octets(&btf)?)
            .and_then(|btf| btf.function(name))
            .ok_or(CaptureError::NoBtf)
    }
}

/// The octets of BTF that the kernel has.
fn octets(btf: &OwnedFd) -> io::Result<Vec<u8>> {
    /// `struct bpf_btf_info`, as far as it is wanted.
    #[repr(C)]
    #[derive(Default)]
    struct BtfInfo {
        btf: u64,
        size: u32,
        id: u32,
    }
    let mut info = BtfInfo::default();
    let length = size_of::<BtfInfo>();
    // SAFETY: any octets are a `BtfInfo`, which has room for none of the BTF.
    unsafe { bpf::describe(btf.as_fd(), (&raw mut info) as u64, length) }?;
    let mut octets = vec![0; info.size as usize];
    info.btf = octets.as_mut_ptr() as u64;
    // SAFETY: there is room for as many octets as it says.
    unsafe { bpf::describe(btf.as_fd(), (&raw mut info) as u64, length) }?;
    Ok(octets)
}
