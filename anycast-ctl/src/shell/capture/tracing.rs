//! Programs that the kernel calls before and after another BPF program. aya's `FEntry` and `FExit` are for functions of
//! the kernel, so they are loaded here, by the instructions that aya's own parser gives.

use std::{
    collections::HashSet,
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd},
};

use anycast_common::abi::{
    capture::{maps, programs},
    counters::Counter,
};
use aya::maps::MapData;
use aya_obj::Object;
use nix::libc;

use super::{
    error::CaptureError,
    program::{Handle, Program},
    verdict::Hook,
};
use crate::shell::bpf;

const PROG_LOAD: libc::c_long = 5;
const LINK_CREATE: libc::c_long = 28;

/// `BPF_PROG_TYPE_TRACING`
const TRACING: u32 = 26;
/// `BPF_TRACE_FENTRY`
const FENTRY: u32 = 24;
/// `BPF_TRACE_FEXIT`
const FEXIT: u32 = 25;
/// Octets for what the verifier says of a program that it refuses.
const LOG: usize = 1 << 20;
/// Octets of an instruction.
const INSTRUCTION: usize = 8;

/// Programs that are called before and after another, until this is dropped.
#[derive(Debug)]
pub(super) struct Traced {
    /// Whether its counters are those of this version.
    pub(super) known: bool,
    /// In this order: what is called afterwards goes first, so that none has to do without the other.
    _links: [OwnedFd; 2],
}

impl Traced {
    /// Loads the programs for this one and attaches them. `own` are the maps of the capture.
    pub(super) fn new(
        object: &Object,
        own: &[(&str, &MapData)],
        program: &Program,
    ) -> Result<Self, CaptureError> {
        let handle = Handle::open(program.id)?;
        let counters = handle.counters()?;
        let function = handle.function(&program.name)?;
        let mut object = object.clone();
        let fds: Vec<(&str, RawFd)> = own
            .iter()
            .copied()
            .chain([(maps::COUNTERS, &counters)])
            .map(|(name, map)| (name, map.fd().as_fd().as_raw_fd()))
            .collect();
        let text: HashSet<usize> = object.functions.keys().map(|(at, _)| *at).collect();
        let declared = object.maps.clone();
        let known = declared.iter().filter_map(|(name, map)| {
            let (_, fd) = fds.iter().find(|(own, _)| own == name)?;
            Some((name.as_str(), *fd, map))
        });
        object.relocate_maps(known, &text)?;
        object.relocate_calls(&text)?;
        let (before, after) = match program.hook {
            Hook::Xdp => (programs::XDP_BEFORE, programs::XDP_AFTER),
            Hook::Tcx => (programs::TCX_BEFORE, programs::TCX_AFTER),
        };
        let attach = |name, kind| {
            let target = (handle.0.as_fd(), function);
            let loaded = load(&object, name, kind, target)?;
            link(&loaded, kind, program.cookie()).map_err(CaptureError::from)
        };
        let after = attach(after, FEXIT)?;
        let before = attach(before, FENTRY)?;
        Ok(Self {
            known: counters.info()?.max_entries() as usize == Counter::ALL.len(),
            _links: [before, after],
        })
    }
}

/// The attribute of `PROG_LOAD`.
#[repr(C)]
#[derive(Default)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    ifindex: u32,
    attach_type: u32,
    btf: u32,
    function_size: u32,
    functions: u64,
    function_count: u32,
    line_size: u32,
    lines: u64,
    line_count: u32,
    target_function: u32,
    target: u32,
    relocations: u32,
}

fn load(
    object: &Object,
    name: &str,
    attach_type: u32,
    (target, function): (BorrowedFd<'_>, u32),
) -> Result<OwnedFd, CaptureError> {
    let program = object.programs.get(name).ok_or(CaptureError::NoObject)?;
    let code = object.functions.get(&program.function_key());
    let code = &code.ok_or(CaptureError::NoObject)?.instructions;
    debug_assert_eq!(size_of_val(code.as_slice()), code.len() * INSTRUCTION);
    let mut attribute = Load {
        kind: TRACING,
        count: u32::try_from(code.len()).map_err(io::Error::other)?,
        instructions: code.as_ptr() as u64,
        license: program.license.as_ptr() as u64,
        attach_type,
        target_function: function,
        target: target.as_raw_fd().cast_unsigned(),
        ..Load::default()
    };
    // A name has up to 15 octets, and one that ends with zero.
    let octets = attribute.name.iter_mut().take(15);
    octets.zip(name.bytes()).for_each(|(at, octet)| *at = octet);
    // SAFETY: the instructions, the license and the descriptors live until the call returns a descriptor.
    let error = match unsafe { bpf::open(PROG_LOAD, &attribute) } {
        Ok(loaded) => return Ok(loaded),
        Err(error) => error,
    };
    let mut log = vec![0_u8; LOG];
    attribute.log_level = 1;
    attribute.log_size = u32::try_from(LOG).unwrap_or(0);
    attribute.log = log.as_mut_ptr() as u64;
    // SAFETY: as above, and there is room for as many octets as the kernel is told.
    if let Ok(loaded) = unsafe { bpf::open(PROG_LOAD, &attribute) } {
        return Ok(loaded);
    }
    let log = log.split(|octet| *octet == 0).next().unwrap_or_default();
    let log = String::from_utf8_lossy(log).into_owned();
    tracing::debug!(%log, program = name, "the verifier");
    let said = log.lines().rev().find(|line| {
        !line.is_empty() && !line.starts_with("processed ") && !line.starts_with("verification ")
    });
    match said {
        Some(said) => Err(CaptureError::Refused {
            said: said.to_owned(),
            error,
        }),
        // It did not look at the program.
        None => Err(CaptureError::NoTracing(error)),
    }
}

/// Attaches a program to what it was loaded for.
fn link(program: &OwnedFd, attach_type: u32, cookie: u64) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Create {
        program: RawFd,
        target: u32,
        attach_type: u32,
        flags: u32,
        target_function: u32,
        padding: u32,
        cookie: u64,
    }
    let attribute = Create {
        program: program.as_raw_fd(),
        target: 0,
        attach_type,
        flags: 0,
        target_function: 0,
        padding: 0,
        cookie,
    };
    // SAFETY: the attribute holds no pointer, and the call returns a descriptor.
    unsafe { bpf::open(LINK_CREATE, &attribute) }
}
