//! Why nothing can be captured.

use std::io;

use aya::maps::MapError;

use crate::shell::netlink::NetlinkError;

/// Where the kernel tells its types.
pub(super) const KERNEL: &str = "/sys/kernel/btf/vmlinux";

/// Why nothing can be captured.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// Built without its programs.
    #[error("this build has no BPF programs; `cargo xtask setup` installs what the build lacked")]
    NoObject,
    /// The kernel was built without its types.
    #[error(
        "the kernel does not tell its types ({KERNEL}), by which it calls programs before and after others: \
         it needs CONFIG_DEBUG_INFO_BTF"
    )]
    NoKernelTypes,
    /// A program without types, or with others than its name says.
    #[error("a program of the data plane has no types (BTF)")]
    NoBtf,
    /// A program without our counters.
    #[error("a program of the data plane has no counters")]
    NoCounters,
    /// Programs of others are for root alone.
    #[error("not permitted: run as root, or with CAP_SYS_ADMIN")]
    NotRoot,
    /// No such interface.
    #[error("there is no interface {0}")]
    NoInterface(String),
    /// Nothing to look at.
    #[error(
        "no program of anycast is attached {0}; `anycast-ctl status` says where a daemon attached some"
    )]
    Nothing(String),
    /// A kernel, or who guards it, that has no such programs.
    #[error("this kernel permits no programs that look at others (BPF_PROG_TYPE_TRACING): {0}")]
    NoTracing(io::Error),
    /// The verifier.
    #[error("the kernel refuses a program of the capture: {said} ({error})")]
    Refused {
        /// Its last words.
        said: String,
        /// What the system call gave.
        error: io::Error,
    },
    /// Something else of the kernel.
    #[error("the kernel refuses: {0}")]
    Kernel(#[from] io::Error),
    /// A map.
    #[error("a map of the capture: {0}")]
    Map(#[from] MapError),
    /// The object.
    #[error("the programs of the capture cannot be read: {0}")]
    Object(#[from] aya_obj::ParseError),
    /// Its maps and calls.
    #[error("the programs of the capture cannot be linked: {0}")]
    Link(#[from] aya_obj::relocation::EbpfRelocationError),
    /// rtnetlink.
    #[error("cannot read the interfaces: {0}")]
    Netlink(#[from] NetlinkError),
}
