//! Loads programs of the object when they are needed.

use std::io;

use anycast_common::abi::{programs, roles};
use aya::{
    Ebpf,
    programs::{ProgramError, SchedClassifier, Xdp},
    sys::SyscallError,
};
use nix::errno::Errno;

use super::{error::DataplaneError, link::AttachPoint};
use crate::model::program::Framing;

/// Loads the XDP program for a union of roles.
pub(super) fn xdp(ebpf: &mut Ebpf, roles: u8) -> Result<&mut Xdp, DataplaneError> {
    let name = name(AttachPoint::Native, roles, Framing::Ethernet)?;
    let program: &mut Xdp = ebpf
        .program_mut(name)
        .ok_or(DataplaneError::Missing(name))?
        .try_into()
        .map_err(|error| program_error(name, error))?;
    if program.fd().is_err() {
        program.load().map_err(|error| program_error(name, error))?;
    }
    Ok(program)
}

/// Loads the TCX program of this name.
pub(super) fn tcx<'a>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<&'a mut SchedClassifier, DataplaneError> {
    let program: &mut SchedClassifier = ebpf
        .program_mut(name)
        .ok_or(DataplaneError::Missing(name))?
        .try_into()
        .map_err(|error| program_error(name, error))?;
    if program.fd().is_err() {
        program.load().map_err(|error| program_error(name, error))?;
    }
    Ok(program)
}

/// Name of the program for incoming packets at this attach point, of a device whose packets begin like this.
pub(super) fn name(
    point: AttachPoint,
    roles: u8,
    framing: Framing,
) -> Result<&'static str, DataplaneError> {
    let names = match (point, framing) {
        (AttachPoint::Native | AttachPoint::Generic, _) => &programs::XDP,
        (_, Framing::Bare) => &programs::TCX_BARE,
        (AttachPoint::Ingress | AttachPoint::Egress, _) => &programs::TCX,
    };
    names
        .get(usize::from(roles))
        .copied()
        .filter(|name| !name.is_empty())
        .ok_or(DataplaneError::Missing("program for these roles"))
}

/// Name of the program for outgoing packets, if these roles need one. A correspondent needs it wherever packets come
/// in, for the ICMPv6 errors of its own kernel and for packets of a client's own host.
pub(super) const fn egress_name(roles: u8, framing: Framing) -> Option<&'static str> {
    let bare = matches!(framing, Framing::Bare);
    match (
        roles & roles::MEMBER != 0,
        roles & roles::CORRESPONDENT != 0,
    ) {
        (true, true) if bare => Some(programs::BOTH_EGRESS_BARE),
        (true, false) if bare => Some(programs::MEMBER_EGRESS_BARE),
        (false, true) if bare => Some(programs::CORRESPONDENT_EGRESS_BARE),
        (true, true) => Some(programs::BOTH_EGRESS),
        (true, false) => Some(programs::MEMBER_EGRESS),
        (false, true) => Some(programs::CORRESPONDENT_EGRESS),
        (false, false) => None,
    }
}

pub(super) fn program_error(program: &'static str, error: ProgramError) -> DataplaneError {
    if errno(&error) == Some(Errno::EPERM as i32) {
        return DataplaneError::Privilege;
    }
    tracing::debug!(program, "the kernel refuses the program: {error}");
    DataplaneError::Program {
        program,
        error: Box::new(error),
    }
}

fn errno(error: &ProgramError) -> Option<i32> {
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.raw_os_error();
        }
        if let Some(SyscallError { io_error, .. }) = error.downcast_ref::<SyscallError>() {
            return io_error.raw_os_error();
        }
        source = error.source();
    }
    None
}
