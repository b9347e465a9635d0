//! What the kernel must have, asked before anything is loaded: a verifier's refusal would say it in another way.

use std::{fmt, fs, path::Path};

use anycast_common::abi::roles::{CORRESPONDENT, MEMBER};
use aya::{
    programs::{ProgramError, SchedClassifier, TcAttachType},
    sys::SyscallError,
};
use nix::errno::Errno;

/// Types of the kernel, by which it knows what a program's functions take.
const TYPES: &str = "/sys/kernel/btf/vmlinux";
/// Part of every sysfs.
const SYSFS: &str = "/sys/kernel";
/// Every network namespace has it.
const LOOPBACK: &str = "lo";

/// What a kernel lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Its own types (BTF).
    Types,
    /// TCX programs.
    Tcx,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Types => {
                "has no /sys/kernel/btf/vmlinux, by which it checks the functions of the programs: \
                 it was built without CONFIG_DEBUG_INFO_BTF"
            }
            Self::Tcx => {
                "has no TCX, by which members and correspondents see what leaves: \
                 Linux 6.6 and newer has it, with CONFIG_NET_XGRESS"
            }
        })
    }
}

/// A kernel that lacks something.
#[derive(Clone, Debug)]
pub struct Lacking {
    /// What `uname -r` says.
    pub release: String,
    /// What it lacks.
    pub missing: Missing,
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Linux {} {}", self.release, self.missing)
    }
}

/// This kernel, if it lacks what these roles need.
pub(super) fn lacking(roles: u8) -> Option<Lacking> {
    // Where no sysfs is mounted, nothing says whether the kernel has types.
    let types = Path::new(TYPES).exists() || !Path::new(SYSFS).exists();
    let missing = missing(roles, types, has_tcx)?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim().to_owned();
    Some(Lacking { release, missing })
}

fn missing(roles: u8, types: bool, tcx: impl FnOnce() -> bool) -> Option<Missing> {
    if !types {
        return Some(Missing::Types);
    }
    (roles & (MEMBER | CORRESPONDENT) != 0 && !tcx()).then_some(Missing::Tcx)
}

/// Whether the kernel knows TCX. What it says for another reason is said again by what is done next.
fn has_tcx() -> bool {
    match SchedClassifier::query_tcx(LOOPBACK, TcAttachType::Ingress) {
        Err(ProgramError::SyscallError(SyscallError { io_error, .. })) => {
            io_error.raw_os_error() != Some(Errno::EINVAL as i32)
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use anycast_common::abi::roles::ROUTER;

    use super::*;

    #[test]
    fn a_router_needs_no_tcx_and_the_others_do() {
        for roles in 1..=ROUTER | MEMBER | CORRESPONDENT {
            let wanted = (roles != ROUTER).then_some(Missing::Tcx);
            assert_eq!(missing(roles, true, || false), wanted, "{roles}");
            assert_eq!(missing(roles, true, || true), None, "{roles}");
        }
    }

    #[test]
    fn every_role_needs_types() {
        for roles in 1..=ROUTER | MEMBER | CORRESPONDENT {
            assert_eq!(missing(roles, false, || true), Some(Missing::Types));
        }
    }
}
