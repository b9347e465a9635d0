//! The memory of the table of pinned flows, which this process maps.

use std::{num::NonZeroUsize, os::fd::BorrowedFd, ptr::NonNull};

use anycast_common::abi::flow_table::{Header, Secret, Set};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::{error::DataplaneError, needed::FLOWS as MAP};

/// The memory of the map, which the kernel and this process share.
#[derive(Debug)]
pub(super) struct Memory {
    start: NonNull<Set>,
    /// Number of entries, at least one. The last entry is the [`Header`].
    pub(super) entries: u32,
}

// SAFETY: this process and the programs read and write this memory with volatile accesses of whole words, and expect
// that others do so at the same time.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    pub(super) fn map(fd: BorrowedFd<'_>, entries: u32) -> Result<Self, DataplaneError> {
        let length = length(entries).ok_or(DataplaneError::Missing(MAP))?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the kernel chooses an address that is not in use.
        let start = unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, fd, 0) };
        let start = start.map_err(|errno| DataplaneError::Memory {
            map: MAP,
            error: errno.into(),
        })?;
        Ok(Self {
            start: start.cast(),
            entries,
        })
    }

    /// The set of this number.
    pub(super) fn set(&self, number: u32) -> Option<*mut Set> {
        // SAFETY: the condition makes sure that the entry exists.
        (number + 1 < self.entries).then(|| unsafe { self.start.as_ptr().add(number as usize) })
    }

    fn header(&self) -> *mut Header {
        // SAFETY: there is at least one entry.
        unsafe { self.start.as_ptr().add(self.entries as usize - 1).cast() }
    }

    pub(super) fn secret(&self) -> Option<Secret> {
        // SAFETY: the entry exists, and nobody else writes it.
        let header = unsafe { self.header().read_volatile() };
        (header.ready == Header::READY).then_some(header.secret)
    }

    pub(super) fn set_secret(&self, secret: Secret) {
        // SAFETY: as above.
        unsafe {
            (&raw mut (*self.header()).secret).write_volatile(secret);
            (&raw mut (*self.header()).ready).write_volatile(Header::READY);
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some(length) = length(self.entries) {
            // SAFETY: no pointer into the memory is left.
            let _ = unsafe { munmap(self.start.cast(), length.get()) };
        }
    }
}

/// Length in octets of a map with this number of entries.
fn length(entries: u32) -> Option<NonZeroUsize> {
    NonZeroUsize::new((entries as usize).checked_mul(size_of::<Set>())?)
}
