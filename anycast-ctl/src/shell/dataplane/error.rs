//! Why the data plane could not do something.

use std::{fmt, io};

use aya::{maps::MapError, programs::ProgramError};

use super::{kernel::Lacking, pins::PinsError};
use anycast_common::abi::maps::POLICY_RULES;

const MOST_RULES: u32 = POLICY_RULES - 1;

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
    /// There is no memory for the maps or the programs.
    #[error("{}{error}", .needed.map_or_else(String::new, |needed| format!("{needed}: ")))]
    NoMemory {
        /// What the large maps take, where that is much.
        needed: Option<NoRoom>,
        /// What the kernel refused.
        error: Box<DataplaneError>,
    },
    /// There are more rules than the map holds.
    #[error("{0} policy rules are more than the {max} that the data plane holds", max = MOST_RULES)]
    TooManyRules(usize),
    /// The ring buffer cannot be watched.
    #[error("cannot watch the ring buffer: {0}")]
    Events(#[from] io::Error),
    /// aya-log could not start.
    #[error("cannot read the programs' log: {0}")]
    Log(#[from] aya_log::Error),
}

/// More than there is, and what helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom {
    /// What the large maps take, in octets.
    pub octets: u64,
    /// What this process may take, if that is limited.
    pub limit: Option<u64>,
}

impl fmt::Display for NoRoom {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            to,
            "there is no memory for the maps of this configuration, about {} MiB{}: give more, or smaller sizes in \
             [data_plane] (docs/operation.md)",
            self.octets >> 20,
            limited(self.limit)
        )
    }
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
    /// The same, with what the large maps take where the kernel had no memory. Those of a router take none that is
    /// worth a word.
    #[must_use]
    pub fn with_room(self, room: NoRoom) -> Self {
        if !self.is_memory() {
            return self;
        }
        Self::NoMemory {
            needed: (room.octets >= 1 << 20).then_some(room),
            error: Box::new(self),
        }
    }

    fn is_memory(&self) -> bool {
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

#[cfg(test)]
mod tests {
    use aya::sys::SyscallError;

    use super::*;

    fn refused(errno: i32) -> DataplaneError {
        DataplaneError::Map {
            map: "LOCAL_CARE_OF",
            error: MapError::SyscallError(SyscallError {
                call: "bpf_map_update_elem",
                io_error: io::Error::from_raw_os_error(errno),
            }),
        }
    }

    #[test]
    fn what_the_kernel_refused_is_said_beside_the_memory_that_maps_take() {
        let room = |octets| NoRoom {
            octets,
            limit: Some(64 << 20),
        };
        for (errno, octets, sentence) in [
            (nix::libc::ENOMEM, 300 << 20, Some("about 300 MiB")),
            // A router's.
            (nix::libc::ENOMEM, 1000, None),
            (nix::libc::E2BIG, 300 << 20, None),
        ] {
            let said = refused(errno).with_room(room(octets)).to_string();
            assert!(said.contains("LOCAL_CARE_OF"), "{said}");
            let reason = io::Error::from_raw_os_error(errno).to_string();
            assert!(said.contains(&reason), "{said}");
            assert_eq!(
                said.contains("there is no memory"),
                sentence.is_some(),
                "{said}"
            );
            assert!(
                sentence.is_none_or(|sentence| said.contains(sentence)),
                "{said}"
            );
        }
    }
}
