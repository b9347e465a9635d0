//! Programs on interfaces.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd as _, BorrowedFd},
    path::PathBuf,
};

use anycast_common::abi::{programs, roles};
use aya::{
    Ebpf,
    programs::{ProgramError, SchedClassifier, Xdp},
    sys::SyscallError,
};
use serde::{Deserialize, Serialize};

use super::{
    DataplaneError,
    link::{Hook, Link},
    pins::{self, Pins},
};

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

impl Mode {
    /// What is tried, in turn.
    const fn hooks(self) -> &'static [Hook] {
        match self {
            Self::Auto => &[Hook::Native, Hook::Generic],
            Self::Native => &[Hook::Native],
            Self::Generic => &[Hook::Generic],
        }
    }
}

/// What was attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attached {
    /// Name of the XDP program.
    pub program: &'static str,
    /// `native` or `generic`.
    pub mode: &'static str,
    /// Why this mode.
    pub reason: String,
    /// It took the place of an earlier run's program, with no packet in between.
    pub replaced: bool,
}

/// The links of each interface. Where they are not pinned, dropping one detaches its program.
#[derive(Default)]
pub(super) struct Links(HashMap<u32, Vec<Held>>);

/// A link, and where it is pinned.
struct Held {
    _link: Link,
    pin: Option<PathBuf>,
    /// An earlier run made it.
    adopted: bool,
}

impl Links {
    pub(super) fn attach(
        &mut self,
        ebpf: &mut Ebpf,
        pins: Option<&Pins>,
        ifindex: u32,
        roles: u8,
        mode: Mode,
    ) -> Result<Attached, DataplaneError> {
        // A second program on the interface would be refused as somebody else's.
        self.0.remove(&ifindex);
        let member = roles & roles::MEMBER != 0;
        if let Some(pins) = pins {
            // A link cannot change its hook, and one of another role would stay for ever.
            for hook in Hook::ALL {
                let wanted = match hook {
                    Hook::Egress => member,
                    Hook::Native | Hook::Generic => mode.hooks().contains(&hook),
                };
                if !wanted || roles & pins::ROLES == 0 {
                    pins::detach(&pins.link(ifindex, hook))?;
                }
            }
        }
        let pins = pins.filter(|_| roles & pins::ROLES != 0);
        let mut held = Vec::new();
        if member {
            let program = egress(ebpf)?;
            let program = program
                .fd()
                .map_err(|error| program_error(programs::MEMBER_EGRESS, error))?;
            let link = Held::hang(program.as_fd(), pins, ifindex, Hook::Egress);
            held.push(link.map_err(|error| DataplaneError::Attach {
                program: programs::MEMBER_EGRESS,
                ifindex,
                error,
            })?);
        }
        match attach_xdp(ebpf, pins, ifindex, roles, mode) {
            Ok((link, attached)) => {
                held.push(link);
                self.0.insert(ifindex, held);
                Ok(attached)
            }
            Err(error) => {
                held.into_iter().for_each(Held::undo);
                Err(error)
            }
        }
    }

    /// Takes back what this run attached; programs of an earlier one that it replaced stay, for their
    /// sessions.
    pub(super) fn undo(&mut self) {
        self.0
            .drain()
            .flat_map(|(_, held)| held)
            .for_each(Held::undo);
    }

    /// For good: the pins go as well.
    pub(super) fn detach(&mut self, ifindex: u32) {
        for held in self.0.remove(&ifindex).into_iter().flatten() {
            held.detach();
        }
    }
}

impl Held {
    /// Puts a program in place of that of the pinned link, or on the interface.
    fn hang(
        program: BorrowedFd<'_>,
        pins: Option<&Pins>,
        ifindex: u32,
        hook: Hook,
    ) -> io::Result<Self> {
        let pin = pins.map(|pins| pins.link(ifindex, hook));
        if let Some(path) = &pin {
            if pins::is_attached(path) {
                let link = Link::from_pin(path)?;
                link.update(program)?;
                return Ok(Self {
                    _link: link,
                    pin,
                    adopted: true,
                });
            }
            // Of an interface that is gone, the number of which this one has.
            pins::detach(path).map_err(io::Error::other)?;
        }
        let link = Link::create(program, ifindex, hook)?;
        let pin = pin.filter(|path| {
            let pinned = link.pin(path);
            if let Err(error) = &pinned {
                tracing::warn!(ifindex, %error, "cannot pin a program: it ends with the daemon");
            }
            pinned.is_ok()
        });
        Ok(Self {
            _link: link,
            pin,
            adopted: false,
        })
    }

    /// Takes back what was begun; a program that was there stays.
    fn undo(self) {
        if !self.adopted {
            self.detach();
        }
    }

    fn detach(self) {
        if let Some(path) = &self.pin
            && let Err(error) = pins::detach(path)
        {
            tracing::warn!(%error, "cannot remove a pin");
        }
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
    pins: Option<&Pins>,
    ifindex: u32,
    roles: u8,
    mode: Mode,
) -> Result<(Held, Attached), DataplaneError> {
    let name = name(roles)?;
    let program = xdp(ebpf, roles)?;
    let program = program.fd().map_err(|error| program_error(name, error))?;
    // What an earlier run found to be possible is not tried again, for that would take a moment
    // without a program.
    let pinned = pins.and_then(|pins| {
        let mut hooks = mode.hooks().windows(1);
        hooks.find(|hook| pins::is_attached(&pins.link(ifindex, hook[0])))
    });
    let mut refused = None;
    for hook in pinned.unwrap_or(mode.hooks()) {
        let error = match Held::hang(program.as_fd(), pins, ifindex, *hook) {
            Ok(held) => {
                let attached = Attached {
                    program: name,
                    mode: hook.name(),
                    reason: reason(mode, held.adopted, refused.as_ref()),
                    replaced: held.adopted,
                };
                return Ok((held, attached));
            }
            Err(error) => error,
        };
        let error = match error.raw_os_error() {
            Some(libc_errno::EBUSY | libc_errno::EEXIST) => {
                return Err(DataplaneError::Busy { ifindex });
            }
            Some(libc_errno::EOPNOTSUPP) if *hook == Hook::Native => {
                DataplaneError::NotNative { ifindex }
            }
            _ => DataplaneError::Attach {
                program: name,
                ifindex,
                error,
            },
        };
        if mode == Mode::Auto && *hook == Hook::Native {
            tracing::warn!(ifindex, "generic XDP, which is slow: {error}");
        }
        refused = Some(error);
    }
    Err(refused.unwrap_or(DataplaneError::NotNative { ifindex }))
}

/// Why an interface has the mode that it has, for `status`.
fn reason(mode: Mode, adopted: bool, refused: Option<&DataplaneError>) -> String {
    match (mode, refused) {
        (Mode::Native | Mode::Generic, _) => "configured".to_owned(),
        (Mode::Auto, _) if adopted => "auto: that of the program before".to_owned(),
        (Mode::Auto, None) => "auto: the driver has it".to_owned(),
        (Mode::Auto, Some(DataplaneError::Attach { error, .. })) => {
            format!("auto: native is refused: {error}")
        }
        (Mode::Auto, Some(_)) => "auto: the driver has no native XDP".to_owned(),
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

/// The few error numbers that mean something to us.
mod libc_errno {
    use nix::errno::Errno;

    pub(super) const EPERM: i32 = Errno::EPERM as i32;
    pub(super) const EBUSY: i32 = Errno::EBUSY as i32;
    pub(super) const EEXIST: i32 = Errno::EEXIST as i32;
    pub(super) const EOPNOTSUPP: i32 = Errno::EOPNOTSUPP as i32;
}
