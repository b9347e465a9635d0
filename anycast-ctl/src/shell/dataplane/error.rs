//! Why the data plane could not do something.

use std::io;

use aya::{maps::MapError, programs::ProgramError};

use super::pins::PinsError;

/// Why the data plane could not do something.
#[derive(Debug, thiserror::Error)]
pub enum DataplaneError {
    /// The binary carries no programs.
    #[error(
        "this binary was built without its BPF programs: build it with `cargo xtask build`, \
         or set ANYCAST_BPF_OBJECT to an object when building"
    )]
    NoObject,
    /// The kernel refused the object.
    #[error("cannot load the BPF programs: {0}")]
    Load(#[from] aya::EbpfError),
    /// The kernel refused a program.
    #[error("cannot load the BPF program {program}: {error}")]
    Program {
        /// Its name.
        program: &'static str,
        /// What the kernel or the verifier said.
        error: Box<ProgramError>,
    },
    /// The process may not load programs.
    #[error("loading BPF programs needs root (CAP_BPF and CAP_NET_ADMIN)")]
    Privilege,
    /// Another XDP program is on the interface.
    #[error(
        "interface {ifindex} already has an XDP program of somebody else (`bpftool net` tells whose): \
         end its owner, detach it (`ip link set dev IFACE xdp off`, `bpftool link detach id ID`; \
         `anycast-ctl detach` if it is of an anycast-ctl that ended) \
         or take the interface out of the configuration"
    )]
    Busy {
        /// Interface index.
        ifindex: u32,
    },
    /// The driver has no native XDP and the configuration insists on it.
    #[error("interface {ifindex} has no native XDP: use mode = \"auto\", \"tcx\" or \"generic\"")]
    NotNative {
        /// Interface index.
        ifindex: u32,
    },
    /// The kernel refused to attach a program.
    #[error("cannot attach {program} to interface {ifindex}: {error}")]
    Attach {
        /// Program name.
        program: &'static str,
        /// Interface index.
        ifindex: u32,
        /// What the kernel said.
        error: io::Error,
    },
    /// Pins cannot be read or written.
    #[error(transparent)]
    Pins(#[from] PinsError),
    /// The object lacks something that this binary needs; they do not belong together.
    #[error("the BPF object has no {0}")]
    Missing(&'static str),
    /// A map operation failed.
    #[error("map {map}: {error}")]
    Map {
        /// Map name.
        map: &'static str,
        /// What the kernel said.
        error: MapError,
    },
    /// The memory of a map cannot be shared.
    #[error("cannot map the memory of the map {map}: {error}")]
    Memory {
        /// Map name.
        map: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
    /// More rules than the map holds.
    #[error("{0} policy rules are more than the {max} that the data plane holds", max = anycast_common::abi::maps::POLICY_RULES - 1)]
    TooManyRules(usize),
    /// The ring buffer cannot be watched.
    #[error("cannot watch the ring buffer: {0}")]
    Events(#[from] io::Error),
    /// aya-log could not start.
    #[error("cannot read the programs' log: {0}")]
    Log(#[from] aya_log::Error),
}

/// The kernel says EPERM for a missing capability, wherever in the loading it notices.
pub(super) fn privilege(error: aya::EbpfError) -> DataplaneError {
    use std::error::Error as _;
    let mut source: Option<&dyn std::error::Error> = error.source();
    let mut innermost = error.to_string();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>()
            && error.kind() == io::ErrorKind::PermissionDenied
        {
            return DataplaneError::Privilege;
        }
        innermost = error.to_string();
        source = error.source();
    }
    tracing::debug!(%innermost, "loading the object failed");
    DataplaneError::Load(error)
}
