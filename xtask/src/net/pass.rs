//! An XDP program that passes every packet.
//!
//! A veth accepts frames that are redirected to its peer only while it runs NAPI, and it runs NAPI while it has an XDP
//! program. So the far ends of a correspondent's links get the smallest program that there is.

use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};
use nix::{libc, net::if_::if_nametoindex};

use super::{bpf, namespace::Namespace};

const PROG_LOAD: libc::c_long = 5;
const LINK_CREATE: libc::c_long = 28;
const PROG_TYPE_XDP: u32 = 6;
const ATTACH_TYPE_XDP: u32 = 37;
const FLAGS_DRV_MODE: u32 = 1 << 2;
/// `BPF_F_XDP_HAS_FRAGS`: without it the link has room for no packet of more than a page.
const HAS_FRAGS: u32 = 1 << 5;

/// `r0 = 2 /* XDP_PASS */; exit`
const PROGRAM: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 2, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];
const LICENSE: &[u8] = b"Dual MIT/GPL\0";

/// The program on an interface. It is detached when this value is dropped.
#[derive(Debug)]
pub struct Pass {
    _link: OwnedFd,
}

impl Pass {
    /// Attaches the program in native mode.
    pub fn attach(namespace: &Namespace, interface: &str) -> Result<Self> {
        namespace.run(|| {
            let load = bpf::Load {
                kind: PROG_TYPE_XDP,
                instructions: PROGRAM.len().try_into()?,
                program: PROGRAM.as_ptr() as u64,
                license: LICENSE.as_ptr() as u64,
                log: [0; 2],
                kernel_version: 0,
                flags: HAS_FRAGS,
                name: *b"pass\0\0\0\0\0\0\0\0\0\0\0\0",
            };
            // SAFETY: the attribute points only to constants.
            let program = unsafe { bpf::open(PROG_LOAD, &load) }
                .context("cannot load an XDP program, which needs root (CAP_BPF, CAP_NET_ADMIN)")?;
            let attach = bpf::Attach {
                program: std::os::fd::AsRawFd::as_raw_fd(&program),
                ifindex: if_nametoindex(interface)?,
                kind: ATTACH_TYPE_XDP,
                flags: FLAGS_DRV_MODE,
            };
            // SAFETY: the attribute holds no pointer.
            let link = unsafe { bpf::open(LINK_CREATE, &attach) }
                .with_context(|| format!("cannot attach an XDP program to {interface}"))?;
            Ok(Self { _link: link })
        })
    }
}
