//! The system call bpf, for what the library aya does not do.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
};

use aya::Pod;
use nix::{errno::Errno, libc};

pub(super) const PROG_GET_FD_BY_ID: libc::c_long = 13;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const PROG_QUERY: libc::c_long = 16;
const MAP_UPDATE_BATCH: libc::c_long = 26;
const MAP_DELETE_BATCH: libc::c_long = 27;

pub(super) const ATTACH_TCX_INGRESS: u32 = 46;
pub(super) const ATTACH_TCX_EGRESS: u32 = 47;

/// Programs of an interface that are looked at: the kernel takes no more.
const MOST: usize = 64;

/// Sets every entry of an array with values of eight octets, by one call.
pub(super) fn set_all(array: BorrowedFd<'_>, values: &[u64]) -> io::Result<()> {
    let keys: Vec<u32> = (0..u32::try_from(values.len()).map_err(io::Error::other)?).collect();
    // SAFETY: indices of an array have four octets, and the caller says what its values have.
    unsafe { update_all(array, &keys, values) }.map_err(|(_, error)| error)
}

/// Sets entries of an array or hash map, as many as there are keys and values, by one call. Gives the error of the
/// first one that fails, and how many are set before it, which may be more than are told.
///
/// # Safety
/// Keys and values of the map must be as large as these.
pub(super) unsafe fn update_all<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    keys: &[K],
    values: &[V],
) -> Result<(), (usize, io::Error)> {
    let count = keys.len().min(values.len());
    // SAFETY: there are as many keys and values as the kernel is told, of the size that the caller guarantees.
    unsafe {
        let (keys, values) = (keys.as_ptr() as u64, values.as_ptr() as u64);
        change_all(MAP_UPDATE_BATCH, map, keys, values, count)
    }
}

/// Removes entries of a hash map by one call. Gives the error of the first one that fails, for example because it is
/// not there, and how many are removed before it, which may be more than are told.
///
/// # Safety
/// Keys of the map must be as large as these.
pub(super) unsafe fn remove_all<K: Pod>(
    map: BorrowedFd<'_>,
    keys: &[K],
) -> Result<(), (usize, io::Error)> {
    // SAFETY: there are as many keys as the kernel is told, of the size that the caller guarantees.
    unsafe { change_all(MAP_DELETE_BATCH, map, keys.as_ptr() as u64, 0, keys.len()) }
}

/// # Safety
/// There must be `count` keys, and values where `command` reads them, as large as those of the map.
unsafe fn change_all(
    command: libc::c_long,
    map: BorrowedFd<'_>,
    keys: u64,
    values: u64,
    count: usize,
) -> Result<(), (usize, io::Error)> {
    #[repr(C)]
    struct Batch {
        in_batch: u64,
        out_batch: u64,
        keys: u64,
        values: u64,
        count: u32,
        map: RawFd,
        element_flags: u64,
        flags: u64,
    }
    let mut attribute = Batch {
        in_batch: 0,
        out_batch: 0,
        keys,
        values,
        count: u32::try_from(count).map_err(|error| (0, io::Error::other(error)))?,
        map: map.as_raw_fd(),
        element_flags: 0,
        flags: 0,
    };
    // SAFETY: the caller guarantees keys and values, and the kernel writes to the attribute.
    match unsafe { call_mut(command, &mut attribute) } {
        Ok(_) => Ok(()),
        Err(error) => {
            // A kernel that refuses before it begins may leave the number as it is.
            let done = usize::try_from(attribute.count).ok();
            Err((done.filter(|done| *done < count).unwrap_or_default(), error))
        }
    }
}

/// TCX: numbers of the programs of an interface, in the order in which packets meet them.
pub(super) fn attached(ifindex: u32, attach_type: u32) -> io::Result<Vec<u32>> {
    #[repr(C)]
    #[derive(Default)]
    struct Query {
        ifindex: u32,
        attach_type: u32,
        query_flags: u32,
        attach_flags: u32,
        programs: u64,
        count: u32,
        padding: u32,
        program_flags: u64,
        links: u64,
        link_flags: u64,
        revision: u64,
    }
    let mut programs = [0_u32; MOST];
    let mut query = Query {
        ifindex,
        attach_type,
        programs: programs.as_mut_ptr() as u64,
        count: u32::try_from(MOST).unwrap_or(0),
        ..Query::default()
    };
    // SAFETY: there is room for as many numbers as the kernel is told, and it writes to the attribute.
    unsafe { call_mut(PROG_QUERY, &mut query) }?;
    Ok(programs.into_iter().take(query.count as usize).collect())
}

/// What a program is called, which is told to who has CAP_SYS_ADMIN.
pub(super) fn name(program: u32) -> io::Result<String> {
    // Where `struct bpf_prog_info` has it.
    const NAME: usize = 64;
    let mut info = [0_u8; NAME + 16];
    // SAFETY: the attribute holds no pointer, and the call returns a descriptor.
    let program = unsafe { open(PROG_GET_FD_BY_ID, &[program, 0, 0]) }?;
    // SAFETY: there is room for as many octets as the kernel is told.
    unsafe { describe(program.as_fd(), info.as_mut_ptr() as u64, info.len()) }?;
    let name = info.get(NAME..).unwrap_or_default();
    let name = name.split(|octet| *octet == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(name).into_owned())
}

/// # Safety
/// There must be room for `length` octets at `info`, which may be any.
pub(super) unsafe fn describe(
    descriptor: BorrowedFd<'_>,
    info: u64,
    length: usize,
) -> io::Result<()> {
    #[repr(C)]
    struct GetInfo {
        descriptor: RawFd,
        length: u32,
        info: u64,
    }
    let attribute = GetInfo {
        descriptor: descriptor.as_raw_fd(),
        length: u32::try_from(length).unwrap_or(0),
        info,
    };
    // SAFETY: the kernel writes no more octets than the length that it is given.
    unsafe { call(OBJ_GET_INFO_BY_FD, &attribute) }.map(drop)
}

/// # Safety
/// `attribute` must be what the kernel expects for `command`, which must return a descriptor.
pub(super) unsafe fn open<T>(command: libc::c_long, attribute: &T) -> io::Result<OwnedFd> {
    // SAFETY: the caller guarantees that the attribute fits the command.
    let descriptor = unsafe { call(command, attribute) }?;
    let descriptor = RawFd::try_from(descriptor).map_err(io::Error::other)?;
    // SAFETY: the call returned a new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// # Safety
/// As of [`call`]; the kernel may write to the attribute.
unsafe fn call_mut<T>(command: libc::c_long, attribute: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: the caller guarantees that the attribute fits the command.
    unsafe { call(command, attribute) }
}

/// # Safety
/// `attribute` must be what the kernel expects for `command`.
pub(super) unsafe fn call<T>(command: libc::c_long, attribute: &T) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads `size_of::<T>()` octets and takes fields beyond them as zero.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attribute, size_of::<T>()) };
    Errno::result(result).map_err(io::Error::from)
}
