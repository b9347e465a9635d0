//! BPF links, by the bpf system call. The library aya does not tell to what a link is attached, and where it cannot
//! make a link it falls back to netlink, which cannot be pinned.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use nix::libc;

use crate::shell::bpf::{
    self, ATTACH_TCX_EGRESS, ATTACH_TCX_INGRESS, attached, call, describe, open,
};

const OBJ_PIN: libc::c_long = 6;
const OBJ_GET: libc::c_long = 7;
const LINK_CREATE: libc::c_long = 28;
const LINK_UPDATE: libc::c_long = 29;
const LINK_DETACH: libc::c_long = 34;

const ATTACH_XDP: u32 = 37;
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// `BPF_F_BEFORE`, and nothing that it would be before: at the head of the list.
const FIRST: u32 = 1 << 3;

/// The point of an interface to which a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttachPoint {
    /// XDP in the driver.
    Native,
    /// XDP in the kernel's stack.
    Generic,
    /// TCX, for incoming packets.
    Ingress,
    /// TCX, for outgoing packets.
    Egress,
}

impl AttachPoint {
    pub(super) const ALL: [Self; 4] = [Self::Native, Self::Generic, Self::Ingress, Self::Egress];

    /// Name of the attach point in `status` and in file names of pins.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Ingress => "tcx",
            Self::Egress => "egress",
        }
    }

    pub(super) const fn is_xdp(self) -> bool {
        matches!(self, Self::Native | Self::Generic)
    }

    const fn attach_type(self) -> u32 {
        match self {
            Self::Native | Self::Generic => ATTACH_XDP,
            Self::Ingress => ATTACH_TCX_INGRESS,
            Self::Egress => ATTACH_TCX_EGRESS,
        }
    }

    const fn flags(self) -> u32 {
        match self {
            Self::Native => XDP_FLAGS_DRV_MODE,
            Self::Generic => XDP_FLAGS_SKB_MODE,
            // One ahead that decides of a packet would keep it from us.
            Self::Ingress | Self::Egress => FIRST,
        }
    }
}

/// A program that is attached to an interface, as long as this descriptor or a pin of it exists.
#[derive(Debug)]
pub(super) struct Link(OwnedFd);

impl Link {
    pub(super) fn create(
        program: BorrowedFd<'_>,
        ifindex: u32,
        point: AttachPoint,
    ) -> io::Result<Self> {
        #[repr(C)]
        struct Create {
            program: RawFd,
            ifindex: u32,
            attach_type: u32,
            flags: u32,
        }
        let attribute = Create {
            program: program.as_raw_fd(),
            ifindex,
            attach_type: point.attach_type(),
            flags: point.flags(),
        };
        // SAFETY: the attribute holds no pointer, and the call returns a descriptor.
        unsafe { open(LINK_CREATE, &attribute) }.map(Self)
    }

    /// Opens a pinned link.
    pub(super) fn from_pin(path: &Path) -> io::Result<Self> {
        let path = c_string(path)?;
        let attribute = Object {
            path: path.as_ptr() as u64,
            descriptor: 0,
            flags: 0,
        };
        // SAFETY: the path is a C string, and the call returns a descriptor.
        unsafe { open(OBJ_GET, &attribute) }.map(Self)
    }

    pub(super) fn pin(&self, path: &Path) -> io::Result<()> {
        let path = c_string(path)?;
        let attribute = Object {
            path: path.as_ptr() as u64,
            descriptor: self.0.as_fd().as_raw_fd(),
            flags: 0,
        };
        // SAFETY: the path is a C string.
        unsafe { call(OBJ_PIN, &attribute) }.map(drop)
    }

    /// Replaces the program of the link. Each packet meets either the old program or the new one.
    pub(super) fn update(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        #[repr(C)]
        struct Update {
            link: RawFd,
            program: RawFd,
            flags: u32,
            old_program: u32,
        }
        let attribute = Update {
            link: self.0.as_raw_fd(),
            program: program.as_raw_fd(),
            flags: 0,
            old_program: 0,
        };
        // SAFETY: the attribute holds no pointer.
        unsafe { call(LINK_UPDATE, &attribute) }.map(drop)
    }

    /// Detaches the program at once. Closing the last descriptor would detach it as well, but only after some time.
    pub(super) fn detach(&self) -> io::Result<()> {
        // SAFETY: the attribute holds no pointer.
        unsafe { call(LINK_DETACH, &self.0.as_raw_fd()) }.map(drop)
    }

    /// Index of the interface to which the link is attached, in the interface's own namespace. `None` when the
    /// interface no longer exists.
    pub(super) fn ifindex(&self) -> io::Result<Option<u32>> {
        Ok(Some(self.info()?.ifindex).filter(|ifindex| *ifindex != 0))
    }

    fn info(&self) -> io::Result<Info> {
        let mut info = Info::default();
        let length = size_of::<Info>();
        // SAFETY: any octets are an `Info`.
        unsafe { describe(self.0.as_fd(), (&raw mut info) as u64, length) }?;
        Ok(info)
    }

    /// TCX: names of the programs that packets meet before this one.
    pub(super) fn ahead(&self, ifindex: u32, point: AttachPoint) -> io::Result<Vec<String>> {
        let own = self.info()?.program;
        let attached = attached(ifindex, point.attach_type())?;
        let ahead = attached.into_iter().take_while(|program| *program != own);
        Ok(ahead.map(name_of).collect())
    }
}

/// The first octets of `struct bpf_link_info`, which is the same for XDP and TCX.
#[repr(C)]
#[derive(Default)]
struct Info {
    kind: u32,
    id: u32,
    program: u32,
    padding: u32,
    ifindex: u32,
    attach_type: u32,
}

/// What a program is called, with its number, by which `bpftool prog show id` finds it.
fn name_of(program: u32) -> String {
    match bpf::name(program) {
        Ok(name) if !name.is_empty() => format!("{name} (program {program})"),
        _ => format!("program {program}"),
    }
}

/// Attribute for `OBJ_PIN` and `OBJ_GET`.
#[repr(C)]
struct Object {
    path: u64,
    descriptor: RawFd,
    flags: u32,
}

fn c_string(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}
