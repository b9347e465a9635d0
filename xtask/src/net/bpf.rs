//! Reads the maps of another process, and pinned objects, directly from the kernel. So a test can compare what a daemon
//! says about its maps with what they contain.

use std::{
    ffi::{CStr, CString},
    fs, io,
    mem::size_of,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use nix::{errno::Errno, libc};

const MAP_LOOKUP_ELEM: libc::c_long = 1;
const MAP_UPDATE_ELEM: libc::c_long = 2;
const OBJ_GET: libc::c_long = 7;
const MAP_GET_FD_BY_ID: libc::c_long = 14;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const MAP_FREEZE: libc::c_long = 22;

/// The first octets of `struct bpf_map_info`.
#[repr(C)]
#[derive(Default)]
struct Info {
    kind: u32,
    id: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    name: [u8; 16],
}

#[repr(C)]
struct GetById {
    id: u32,
    next: u32,
    flags: u32,
}

#[repr(C)]
struct GetInfo {
    descriptor: u32,
    length: u32,
    info: u64,
}

#[repr(C)]
struct Lookup {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The value of `key` in a map of this process, by the map's name.
pub fn lookup(process: u32, map: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
    let (descriptor, info) =
        find(process, map)?.with_context(|| format!("process {process} has no map {map}"))?;
    ensure!(
        key.len() == info.key_size as usize,
        "a key of {map} has {} octets",
        info.key_size
    );
    let mut found = vec![0_u8; info.value_size as usize];
    // SAFETY: key and value have the sizes that the map reported.
    let is_there = unsafe { value(&descriptor, key.as_ptr(), found.as_mut_ptr()) }?;
    Ok(is_there.then_some(found))
}

/// Writes entries into a map of this process, by the map's name.
pub fn insert(
    process: u32,
    map: &str,
    entries: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
) -> Result<()> {
    let (descriptor, info) =
        find(process, map)?.with_context(|| format!("process {process} has no map {map}"))?;
    for (key, value) in entries {
        let sizes = (info.key_size as usize, info.value_size as usize);
        ensure!((key.len(), value.len()) == sizes, "{map} has {sizes:?}");
        let attribute = Lookup {
            map: descriptor.as_raw_fd().try_into()?,
            padding: 0,
            key: key.as_ptr() as u64,
            value: value.as_ptr() as u64,
            flags: 0,
        };
        // SAFETY: key and value have the sizes that the map reported.
        unsafe { call(MAP_UPDATE_ELEM, &attribute) }.map_err(io::Error::from)?;
    }
    Ok(())
}

/// Has the kernel refuse whatever a process writes into this map of this process from now on, for good. Programs still
/// write there.
pub fn freeze(process: u32, map: &str) -> Result<()> {
    let (descriptor, _) =
        find(process, map)?.with_context(|| format!("process {process} has no map {map}"))?;
    let descriptor = u32::try_from(descriptor.as_raw_fd())?;
    // SAFETY: the attribute is the descriptor alone.
    unsafe { call(MAP_FREEZE, &descriptor) }.map_err(io::Error::from)?;
    Ok(())
}

/// A link on an interface, with the numbers that the kernel gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Number of the link.
    pub id: u32,
    /// Number of its program.
    pub program: u32,
    /// Index of its interface. Zero when the interface no longer exists.
    pub ifindex: u32,
}

/// Reads the link that is pinned at this path.
pub fn pinned_link(path: &Path) -> Result<Link> {
    #[repr(C)]
    struct Get {
        path: u64,
        descriptor: u32,
        flags: u32,
    }
    /// The first octets of `struct bpf_link_info`, which is the same for XDP and TCX.
    #[repr(C)]
    #[derive(Default)]
    struct LinkInfo {
        kind: u32,
        id: u32,
        program: u32,
        padding: u32,
        ifindex: u32,
        attach_type: u32,
    }
    let name = CString::new(path.as_os_str().as_bytes())?;
    let attribute = Get {
        path: name.as_ptr() as u64,
        descriptor: 0,
        flags: 0,
    };
    // SAFETY: the path is a C string, and the call returns a descriptor.
    let link = unsafe { open(OBJ_GET, &attribute) };
    let link = link.with_context(|| format!("cannot open {}", path.display()))?;
    let mut info = LinkInfo::default();
    let attribute = GetInfo {
        descriptor: link.as_raw_fd().try_into()?,
        length: size_of::<LinkInfo>().try_into()?,
        info: (&raw mut info) as u64,
    };
    // SAFETY: the kernel writes no more octets than the length that it is given.
    unsafe { call(OBJ_GET_INFO_BY_FD, &attribute) }.map_err(io::Error::from)?;
    Ok(Link {
        id: info.id,
        program: info.program,
        ifindex: info.ifindex,
    })
}

/// Copies a value out of a map, if it is there.
///
/// # Safety
/// `key` and `to` must have the sizes of the map's keys and values.
pub(super) unsafe fn value(map: &OwnedFd, key: *const u8, to: *mut u8) -> Result<bool> {
    let attribute = Lookup {
        map: map.as_raw_fd().try_into()?,
        padding: 0,
        key: key as u64,
        value: to as u64,
        flags: 0,
    };
    // SAFETY: the caller guarantees the sizes.
    match unsafe { call(MAP_LOOKUP_ELEM, &attribute) } {
        Ok(_) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(error) => Err(io::Error::from(error)).context("cannot look into a map"),
    }
}

fn find(process: u32, name: &str) -> Result<Option<(OwnedFd, Info)>> {
    for entry in fs::read_dir(format!("/proc/{process}/fdinfo"))? {
        // The process may close a descriptor in the meantime.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        let id = text.lines().find_map(|line| line.strip_prefix("map_id:"));
        let Some(id) = id else {
            continue;
        };
        let attribute = GetById {
            id: id.trim().parse()?,
            next: 0,
            flags: 0,
        };
        // SAFETY: the attribute holds no pointer, and the call returns a descriptor.
        let map = unsafe { open(MAP_GET_FD_BY_ID, &attribute) }.context("cannot open a map")?;
        let mut info = Info::default();
        let attribute = GetInfo {
            descriptor: map.as_raw_fd().try_into()?,
            length: size_of::<Info>().try_into()?,
            info: (&raw mut info) as u64,
        };
        // SAFETY: the kernel writes no more octets than the length that it is given.
        unsafe { call(OBJ_GET_INFO_BY_FD, &attribute) }.map_err(io::Error::from)?;
        if CStr::from_bytes_until_nul(&info.name)?.to_str() == Ok(name) {
            return Ok(Some((map, info)));
        }
    }
    Ok(None)
}

/// # Safety
/// `attribute` must be what the kernel expects for `command`, which must return a descriptor.
pub(super) unsafe fn open<T>(command: libc::c_long, attribute: &T) -> Result<OwnedFd> {
    // SAFETY: the caller guarantees that the attribute fits the command.
    let descriptor = unsafe { call(command, attribute) }.map_err(io::Error::from)?;
    // SAFETY: the call returned a new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(RawFd::try_from(descriptor)?) })
}

/// # Safety
/// `attribute` must be what the kernel expects for `command`.
unsafe fn call<T>(command: libc::c_long, attribute: &T) -> nix::Result<libc::c_long> {
    // SAFETY: the kernel reads `size_of::<T>()` octets and takes fields beyond them as zero.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attribute, size_of::<T>()) };
    Errno::result(result)
}

/// The beginning of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
pub(super) struct Load {
    pub kind: u32,
    pub instructions: u32,
    pub program: u64,
    pub license: u64,
    /// Level and size of the verifier's log, and where it goes.
    pub log: [u64; 2],
    pub kernel_version: u32,
    pub flags: u32,
    /// Octets of the name, which ends with a zero.
    pub name: [u8; 16],
}

/// The beginning of `union bpf_attr` for `BPF_LINK_CREATE`.
#[repr(C)]
pub(super) struct Attach {
    pub program: RawFd,
    pub ifindex: u32,
    pub kind: u32,
    pub flags: u32,
}
