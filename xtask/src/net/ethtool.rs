//! Sets offloads of an interface, through the ioctl that `ethtool -K` uses.

use std::io;

use anyhow::{Context as _, Result, ensure};
use nix::{
    errno::Errno,
    libc,
    sys::socket::{AddressFamily, SockFlag, SockType, socket},
};

use super::namespace::Namespace;

const SIOCETHTOOL: libc::c_ulong = 0x8946;

/// A task that an interface can leave to its hardware, or can do for the network stack.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum Offload {
    /// Checksums of sent packets. When this is off, the checksums are complete in memory, where captures and XDP see
    /// them.
    TransmitChecksum = 0x17,
    /// TCP segmentation. When this is off, packets in memory have the size of those on the wire.
    Segmentation = 0x1f,
    /// Merging of received packets (GRO). On a veth it also starts NAPI, which a device needs to accept XDP_REDIRECT.
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
        // SAFETY: `request` has the layout and at least the size of `struct ifreq`, and `value` has those of `struct
        // ethtool_value`. Both live until the call returns.
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
