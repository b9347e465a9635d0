//! Programs on interfaces.

use std::{collections::HashMap, io};

use anycast_common::abi::{programs, roles};
use aya::{
    Ebpf,
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode,
        tc::{SchedClassifierLink, TcAttachOptions},
        xdp::XdpLink,
    },
    sys::SyscallError,
};
use serde::{Deserialize, Serialize};

use super::DataplaneError;

/// How XDP is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Native where the driver has it, else generic.
    #[default]
    Auto,
    /// In the driver, or not at all.
    Native,
    /// In the kernel's stack: works everywhere, costs an skb per packet.
    Generic,
}

/// What was attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attached {
    /// Name of the XDP program.
    pub program: &'static str,
    /// `native` or `generic`.
    pub mode: &'static str,
}

/// The links of each interface; dropping one detaches its program.
#[derive(Default)]
pub(super) struct Links(HashMap<u32, Link>);

struct Link {
    _xdp: XdpLink,
    _egress: Option<SchedClassifierLink>,
}

impl Links {
    pub(super) fn attach(
        &mut self,
        ebpf: &mut Ebpf,
        ifindex: u32,
        roles: u8,
        mode: Mode,
    ) -> Result<Attached, DataplaneError> {
        // A second program on the interface would be refused as somebody else's.
        self.0.remove(&ifindex);
        let egress = if roles & roles::MEMBER == 0 {
            None
        } else {
            Some(attach_egress(ebpf, ifindex)?)
        };
        let (xdp, attached) = attach_xdp(ebpf, ifindex, roles, mode)?;
        self.0.insert(
            ifindex,
            Link {
                _xdp: xdp,
                _egress: egress,
            },
        );
        Ok(attached)
    }

    pub(super) fn detach(&mut self, ifindex: u32) {
        self.0.remove(&ifindex);
    }
}

/// The XDP program of a union of roles, loaded.
pub(super) fn xdp(ebpf: &mut Ebpf, roles: u8) -> Result<&mut Xdp, DataplaneError> {
    let name = name(roles)?;
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

/// The egress program of a member, loaded.
pub(super) fn egress(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier, DataplaneError> {
    let name = programs::MEMBER_EGRESS;
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

fn name(roles: u8) -> Result<&'static str, DataplaneError> {
    programs::XDP
        .get(usize::from(roles))
        .copied()
        .ok_or(DataplaneError::Missing("program for these roles"))
}

fn program_error(program: &'static str, error: ProgramError) -> DataplaneError {
    if errno(&error) == Some(libc_errno::EPERM) {
        return DataplaneError::Privilege;
    }
    DataplaneError::Program {
        program,
        error: Box::new(error),
    }
}

fn attach_xdp(
    ebpf: &mut Ebpf,
    ifindex: u32,
    roles: u8,
    mode: Mode,
) -> Result<(XdpLink, Attached), DataplaneError> {
    let name = name(roles)?;
    let program = xdp(ebpf, roles)?;
    let tries: &[(XdpMode, &'static str)] = match mode {
        Mode::Auto => &[(XdpMode::Driver, "native"), (XdpMode::Skb, "generic")],
        Mode::Native => &[(XdpMode::Driver, "native")],
        Mode::Generic => &[(XdpMode::Skb, "generic")],
    };
    let mut last = DataplaneError::NotNative { ifindex };
    for (xdp_mode, mode) in tries {
        match program
            .attach_to_if_index(ifindex, *xdp_mode)
            .and_then(|link| program.take_link(link))
        {
            Ok(link) => {
                let attached = Attached {
                    program: name,
                    mode,
                };
                return Ok((link, attached));
            }
            Err(error) => {
                last = match errno(&error) {
                    Some(libc_errno::EBUSY | libc_errno::EEXIST) => {
                        return Err(DataplaneError::Busy { ifindex });
                    }
                    Some(libc_errno::EOPNOTSUPP) if *xdp_mode == XdpMode::Driver => {
                        DataplaneError::NotNative { ifindex }
                    }
                    _ => DataplaneError::Attach {
                        program: name,
                        ifindex,
                        error: Box::new(error),
                    },
                };
            }
        }
    }
    Err(last)
}

fn attach_egress(ebpf: &mut Ebpf, ifindex: u32) -> Result<SchedClassifierLink, DataplaneError> {
    let attach_error = |error| DataplaneError::Attach {
        program: programs::MEMBER_EGRESS,
        ifindex,
        error: Box::new(error),
    };
    let name = nix::net::if_::if_indextoname(ifindex)
        .map_err(|errno| DataplaneError::Events(errno.into()))?;
    let program = egress(ebpf)?;
    let link = program
        .attach_with_options(
            &name.to_string_lossy(),
            TcAttachType::Egress,
            TcAttachOptions::TcxOrder(LinkOrder::default()),
        )
        .map_err(attach_error)?;
    program.take_link(link).map_err(attach_error)
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

/// The few error numbers that mean something to us.
mod libc_errno {
    use nix::errno::Errno;

    pub(super) const EPERM: i32 = Errno::EPERM as i32;
    pub(super) const EBUSY: i32 = Errno::EBUSY as i32;
    pub(super) const EEXIST: i32 = Errno::EEXIST as i32;
    pub(super) const EOPNOTSUPP: i32 = Errno::EOPNOTSUPP as i32;
}
