//! Why the data plane could not do something.

use std::io;

use aya::{maps::MapError, programs::ProgramError};

use super::{kernel::Lacking, pins::PinsError};

/// Why the data plane could not do something.
#[derive(Debug, thiserror::Error)]
pub enum DataplaneError {
    /// This binary contains no programs.
    #[error(
        "this binary was built without its BPF programs: build it with `cargo xtask build`, \
         or set ANYCAST_BPF_OBJECT to an object when building"
    )]
    NoObject,
    /// The kernel lacks what the roles need.
    #[error("the BPF programs cannot run here: {0}")]
    Kernel(Lacking),
    /// The kernel refused the object.
    #[error("cannot load the BPF programs: {}", whole(.0))]
    Load(#[from] aya::EbpfError),
    /// The kernel refused a program.
    #[error("cannot load the BPF program {program}: {}", last_words(error))]
    Program {
        /// Name of the program.
        program: &'static str,
        /// Error of the kernel or of the verifier.
        error: Box<ProgramError>,
    },
    /// The process does not have the privileges to load programs.
    #[error("loading BPF programs needs root (CAP_BPF and CAP_NET_ADMIN)")]
    Privilege,
    /// Another program's XDP program is attached to the interface.
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
    /// The kernel or the driver refuses native XDP.
    #[error("the kernel refuses native XDP: {why}. mode = \"auto\" or \"tcx\" needs none")]
    NotNative {
        /// What was refused where, and what would help.
        why: String,
    },
    /// XDP would be wrong there.
    #[error("XDP would be wrong here: {0}; mode = \"auto\" or \"tcx\" is right as it is")]
    NoXdp(String),
    /// What packets of the device begin with is not known to the programs.
    #[error("{0}")]
    Framing(&'static str),
    /// The kernel refused to attach a program.
    #[error("cannot attach {program} to interface {ifindex}: {error}")]
    Attach {
        /// Name of the program.
        program: &'static str,
        /// Interface index.
        ifindex: u32,
        /// Error of the kernel.
        error: io::Error,
    },
    /// Pins cannot be read or written.
    #[error(transparent)]
    Pins(#[from] PinsError),
    /// The object lacks something that this binary needs, so they do not belong together.
    #[error("the BPF object has no {0}")]
    Missing(&'static str),
    /// A map operation failed.
    #[error("map {map}: {}", whole(error))]
    Map {
        /// Name of the map.
        map: &'static str,
        /// Error of the kernel.
        error: MapError,
    },
    /// The memory of a map cannot be mapped into this process.
    #[error("cannot map the memory of the map {map}: {error}")]
    Memory {
        /// Name of the map.
        map: &'static str,
        /// Error of the kernel.
        error: io::Error,
    },
    /// There is no memory for the maps.
    #[error(
        "there is no memory for the maps of this configuration, about {} MiB{}: give more, or smaller sizes in \
         [data_plane] (docs/operation.md)", octets >> 20, limited(*.limit)
    )]
    NoMemory {
        /// What the large maps take, in octets.
        octets: u64,
        /// What this process may take, if that is limited.
        limit: Option<u64>,
    },
    /// There are more rules than the map holds.
    #[error("{0} policy rules are more than the {max} that the data plane holds", max = anycast_common::abi::maps::POLICY_RULES - 1)]
    TooManyRules(usize),
    /// The ring buffer cannot be watched.
    #[error("cannot watch the ring buffer: {0}")]
    Events(#[from] io::Error),
    /// aya-log could not start.
    #[error("cannot read the programs' log: {0}")]
    Log(#[from] aya_log::Error),
}

fn limited(limit: Option<u64>) -> String {
    let said = |limit| {
        format!(
            " beside all else, and {} MiB are the limit of this control group (MemoryMax= of systemd)",
            limit >> 20
        )
    };
    limit.map_or_else(String::new, said)
}

impl DataplaneError {
    /// Whether the kernel had no memory.
    #[must_use]
    pub fn is_memory(&self) -> bool {
        match self {
            Self::Load(error) => lacks_memory(error),
            Self::Map { error, .. } => lacks_memory(error),
            Self::Program { error, .. } => lacks_memory(&**error),
            Self::Memory { error, .. } | Self::Events(error) => lacks_memory(error),
            _ => false,
        }
    }
}

fn lacks_memory(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut found = Some(error);
    while let Some(error) = found {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|error| error.raw_os_error() == Some(nix::libc::ENOMEM)) {
            return true;
        }
        found = error.source();
    }
    false
}

/// Why the kernel refused a program, in one line: of the verifier's log its last words, which say why. All of it is
/// many pages.
#[must_use]
pub fn last_words(error: &ProgramError) -> String {
    let ProgramError::LoadError {
        io_error,
        verifier_log,
    } = error
    else {
        return whole(error);
    };
    let log = verifier_log.to_string();
    let is_reason =
        |line: &&str| !line.is_empty() && !STATISTICS.iter().any(|it| line.starts_with(it));
    match log.lines().map(str::trim).rev().find(is_reason) {
        Some(reason) => format!("{reason} ({io_error})"),
        None => io_error.to_string(),
    }
}

/// An error with what caused it, in one line. aya's errors name the step that failed, and have the kernel's reason as
/// their source.
fn whole(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let reason = error.to_string();
        if !said.contains(&reason) {
            said = format!("{said}: {reason}");
        }
        source = error.source();
    }
    said
}

/// What the verifier says at the end of its log, whatever it decides.
const STATISTICS: [&str; 3] = ["processed ", "verification time", "stack depth"];

/// Recognises a missing capability. The kernel reports it as EPERM at whatever step of the loading it first notices it.
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
