//! bpf_links, by the system call: aya does not tell what a link hangs on, and falls back to netlink,
//! which cannot be pinned.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use nix::{errno::Errno, libc};

const OBJ_PIN: libc::c_long = 6;
const OBJ_GET: libc::c_long = 7;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const LINK_CREATE: libc::c_long = 28;
const LINK_UPDATE: libc::c_long = 29;
const LINK_DETACH: libc::c_long = 34;

const ATTACH_XDP: u32 = 37;
const ATTACH_TCX_INGRESS: u32 = 46;
const ATTACH_TCX_EGRESS: u32 = 47;
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// Where at an interface a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// XDP in the driver.
    Native,
    /// XDP in the kernel's stack.
    Generic,
    /// TCX, on the way in.
    Ingress,
    /// TCX, on the way out.
    Egress,
}

impl Hook {
    pub(super) const ALL: [Self; 4] = [Self::Native, Self::Generic, Self::Ingress, Self::Egress];

    /// In `status`, and in the name of a pin.
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
            // After what is there already.
            Self::Ingress | Self::Egress => 0,
        }
    }
}

/// A program on an interface, while this or a pin of it is there.
#[derive(Debug)]
pub(super) struct Link(OwnedFd);

impl Link {
    pub(super) fn create(program: BorrowedFd<'_>, ifindex: u32, hook: Hook) -> io::Result<Self> {
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
            attach_type: hook.attach_type(),
            flags: hook.flags(),
        };
        // SAFETY: the attribute holds no pointer, and the call returns a descriptor.
        unsafe { open(LINK_CREATE, &attribute) }.map(Self)
    }

    /// One that was pinned.
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

    /// Puts another program in place of its own: each packet meets the one or the other.
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

    /// Takes the program off at once; when the last descriptor goes, the kernel takes its time.
    pub(super) fn detach(&self) -> io::Result<()> {
        // SAFETY: the attribute holds no pointer.
        unsafe { call(LINK_DETACH, &self.0.as_raw_fd()) }.map(drop)
    }

    /// The interface that it hangs on, in that one's namespace; none when that is gone.
    pub(super) fn ifindex(&self) -> io::Result<Option<u32>> {
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
        #[repr(C)]
        struct GetInfo {
            descriptor: RawFd,
            length: u32,
            info: u64,
        }
        let mut info = Info::default();
        let attribute = GetInfo {
            descriptor: self.0.as_raw_fd(),
            length: u32::try_from(size_of::<Info>()).unwrap_or(0),
            info: (&raw mut info) as u64,
        };
        // SAFETY: the kernel writes no more than the length that it is told.
        unsafe { call(OBJ_GET_INFO_BY_FD, &attribute) }?;
        Ok(Some(info.ifindex).filter(|ifindex| *ifindex != 0))
    }
}

/// For `OBJ_PIN` and `OBJ_GET`.
#[repr(C)]
struct Object {
    path: u64,
    descriptor: RawFd,
    flags: u32,
}

fn c_string(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// # Safety
/// `attribute` must be what the kernel expects for `command`, which must return a descriptor.
unsafe fn open<T>(command: libc::c_long, attribute: &T) -> io::Result<OwnedFd> {
    // SAFETY: as the caller says.
    let descriptor = unsafe { call(command, attribute) }?;
    let descriptor = RawFd::try_from(descriptor).map_err(io::Error::other)?;
    // SAFETY: the call returned a new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// # Safety
/// `attribute` must be what the kernel expects for `command`.
unsafe fn call<T>(command: libc::c_long, attribute: &T) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads `size_of::<T>()` octets and takes missing ones for zero.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attribute, size_of::<T>()) };
    Errno::result(result).map_err(io::Error::from)
}
