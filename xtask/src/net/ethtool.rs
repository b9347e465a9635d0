//! Offloads of an interface, by the ioctl that `ethtool -K` uses.

use std::io;

use anyhow::{Context as _, Result, ensure};
use nix::{
    errno::Errno,
    libc,
    sys::socket::{AddressFamily, SockFlag, SockType, socket},
};

use super::namespace::Namespace;

const SIOCETHTOOL: libc::c_ulong = 0x8946;

/// What an interface may leave to its hardware, or do for its stack.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum Offload {
    /// Checksums of sent packets. Off: they are complete in memory, where captures and XDP see them.
    TransmitChecksum = 0x17,
    /// TCP segmentation. Off: packets in memory are those of the wire.
    Segmentation = 0x1f,
    /// Merging of received packets. On a veth it also starts NAPI, which XDP_REDIRECT to it needs.
    Merge = 0x2c,
}

#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

#[repr(C)]
struct Request {
    name: [u8; 16],
    value: *mut Value,
    rest: [u8; 16],
}

/// Turns an offload on or off.
pub fn set(namespace: &Namespace, interface: &str, offload: Offload, on: bool) -> Result<()> {
    namespace.run(|| {
        ensure!(interface.len() < 16, "{interface} is no interface name");
        let mut value = Value {
            command: offload as u32,
            data: u32::from(on),
        };
        let mut request = Request {
            name: [0; 16],
            value: &raw mut value,
            rest: [0; 16],
        };
        request.name[..interface.len()].copy_from_slice(interface.as_bytes());
        let socket = socket(
            AddressFamily::Inet6,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            None,
        )?;
        // SAFETY: `request` has the layout and at least the size of `struct ifreq`, and `value`
        // that of `struct ethtool_value`; both live until the call returns.
        let result = unsafe {
            libc::ioctl(
                std::os::fd::AsRawFd::as_raw_fd(&socket),
                SIOCETHTOOL as _,
                &raw mut request,
            )
        };
        Errno::result(result)
            .map_err(io::Error::from)
            .with_context(|| format!("cannot set {offload:?} of {interface}"))?;
        Ok(())
    })
}
