//! Finds the driver of an interface, through the ioctl that `ethtool -i` uses.

use std::{ffi::CStr, os::fd::AsRawFd as _};

use nix::{errno::Errno, libc, net::if_::if_indextoname};
use socket2::{Domain, Socket, Type};

const SIOCETHTOOL: libc::c_ulong = 0x8946;
const GET_DRIVER_INFO: u32 = 3;

/// `struct ethtool_drvinfo`
#[repr(C)]
struct Info {
    command: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}

/// The first octets of `struct ifreq`.
#[repr(C)]
struct Request {
    name: [u8; 16],
    info: *mut Info,
    rest: [u8; 16],
}

/// Name of the interface's driver. `None` where the kernel does not tell it.
pub(super) fn of(ifindex: u32) -> Option<String> {
    let name = if_indextoname(ifindex).ok()?;
    let mut info = Info {
        command: GET_DRIVER_INFO,
        driver: [0; 32],
        rest: [0; 160],
    };
    let mut request = Request {
        name: [0; 16],
        info: &raw mut info,
        rest: [0; 16],
    };
    let name = name.as_bytes();
    request.name.get_mut(..name.len())?.copy_from_slice(name);
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None).ok()?;
    // SAFETY: both structures have the layout and at least the size that the kernel expects, and both live until the
    // call returns.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
    Errno::result(result).ok()?;
    let driver = CStr::from_bytes_until_nul(&info.driver).ok()?;
    Some(driver.to_str().ok()?.to_owned())
}

/// Whether native XDP turns off the offloads of the device: merging and splitting of segments (GRO, LRO, GSO), and
/// checksums that are left open. This is so for virtual devices.
pub(super) fn gives_up_offloads(driver: &str) -> bool {
    matches!(driver, "veth" | "virtio_net" | "tun")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_not_there_has_no_driver() {
        assert_eq!(of(u32::MAX), None);
        assert!(gives_up_offloads("veth") && !gives_up_offloads("ixgbe"));
    }
}
