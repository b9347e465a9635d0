//! Asks the driver of an interface, through the ioctl that `ethtool` uses.

use std::{ffi::CStr, os::fd::AsRawFd as _};

use nix::{errno::Errno, libc, net::if_::if_indextoname};
use socket2::{Domain, Socket, Type};

const SIOCETHTOOL: libc::c_ulong = 0x8946;
const SIOCGIFMTU: libc::c_ulong = 0x8921;
const GET_DRIVER_INFO: u32 = 3;
const GET_RECEIVE_CHECKSUM: u32 = 0x14;
const GET_FLAGS: u32 = 0x25;
const GET_CHANNELS: u32 = 0x3c;
/// `ETH_FLAG_RXVLAN`
const VLAN_TAGS_OFF: u32 = 1 << 8;
/// `ETH_FLAG_LRO`
const LARGE_RECEIVE: u32 = 1 << 15;

/// Of Ethernet. Every driver that has XDP has it with such packets.
pub(in crate::shell) const USUAL_MTU: i32 = 1500;

/// `struct ethtool_drvinfo`
#[repr(C)]
struct Info {
    command: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}

/// The first octets of `struct ifreq`.
#[repr(C)]
struct Request<T> {
    name: [u8; 16],
    question: *mut T,
    rest: [u8; 16],
}

/// `struct ethtool_value`
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// `struct ethtool_channels`
#[derive(Default)]
#[repr(C)]
struct Numbers {
    command: u32,
    max_rx: u32,
    max_tx: u32,
    max_other: u32,
    max_combined: u32,
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

/// Queues by which a device receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shell) struct Channels {
    /// How many there are.
    pub receiving: u32,
    /// How many it can have.
    pub most: u32,
    /// Whether `ethtool -L` sets them together with those by which it sends.
    pub are_combined: bool,
}

/// Puts a question, whose first word is its command, to the driver, which writes its answer there.
///
/// # Safety
///
/// The kernel must write no more than a `T` for this command.
pub(super) unsafe fn ask<T>(ifindex: u32, question: &mut T) -> Option<()> {
    let name = if_indextoname(ifindex).ok()?;
    let mut request = Request {
        name: [0; 16],
        question: &raw mut *question,
        rest: [0; 16],
    };
    let name = name.as_bytes();
    request.name.get_mut(..name.len())?.copy_from_slice(name);
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None).ok()?;
    // SAFETY: the request has at least the size of `struct ifreq`, and the caller answers for the question; both live
    // until the call returns.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
    Errno::result(result).ok().map(drop)
}

fn value(ifindex: u32, command: u32) -> Option<u32> {
    let mut value = Value { command, data: 0 };
    // SAFETY: the commands of this file that have one number as their answer write such a structure.
    unsafe { ask(ifindex, &mut value) }?;
    Some(value.data)
}

/// Whether the device takes VLAN tags of 802.1Q off frames, and gives them to the kernel apart (`rxvlan`).
pub(super) fn takes_tags_off(ifindex: u32) -> bool {
    value(ifindex, GET_FLAGS).is_some_and(|flags| flags & VLAN_TAGS_OFF != 0)
}

/// Whether the device is an end of a pair that this machine itself has made, without a wire.
pub(in crate::shell) fn is_pair(ifindex: u32) -> bool {
    of(ifindex).is_some_and(|driver| matches!(driver.as_str(), "veth" | "netkit"))
}

/// Whether it is a bond, which hands a program at XDP on to its ports.
pub(in crate::shell) fn is_bond(ifindex: u32) -> bool {
    of(ifindex).is_some_and(|driver| driver == "bonding")
}

/// Whether the device gives the kernel packets whose checksums are open, as a guest of the same host has sent them. A
/// program at XDP cannot tell them from others.
pub(in crate::shell) fn leaves_checksums_open(ifindex: u32) -> bool {
    let is_virtio = of(ifindex).is_some_and(|driver| driver == "virtio_net");
    is_virtio && value(ifindex, GET_RECEIVE_CHECKSUM).is_some_and(|on| on != 0)
}

/// The MTU, and whether the driver is vmxnet3, where it is one at which the device drops what is large for a while
/// after XDP has come.
///
/// Of vmxnet3 that was seen alone, at an MTU of 3050: sessions stood still for minutes, and it counted a few `xdp
/// drops`. As to virtio_net, Linux has put a ring of receive buffers there before, without the room that XDP wants, and
/// virtio_net copies what comes by one of these to a page of its own. It drops a frame that leaves no room there, or
/// has a further buffer that is larger than a page: buffers have grown to a page and more where large packets came.
/// Frames of the usual size fit the smallest buffer.
pub(in crate::shell) fn drops_large_at_first(ifindex: u32) -> Option<(i32, bool)> {
    let driver =
        of(ifindex).filter(|driver| matches!(driver.as_str(), "virtio_net" | "vmxnet3"))?;
    let mtu = mtu(ifindex).filter(|mtu| *mtu > USUAL_MTU)?;
    Some((mtu, driver == "vmxnet3"))
}

/// Offloads on the way in that are on, of those for the sake of which drivers refuse XDP.
pub(super) fn offloads(ifindex: u32) -> Vec<&'static str> {
    let flags = value(ifindex, GET_FLAGS).unwrap_or(0);
    let mut on = Vec::new();
    if value(ifindex, GET_RECEIVE_CHECKSUM).unwrap_or(0) != 0 {
        on.push("rx");
    }
    if flags & LARGE_RECEIVE != 0 {
        on.push("lro");
    }
    if flags & VLAN_TAGS_OFF != 0 {
        on.push("rxvlan");
    }
    on
}

/// The queues of a device. `None` where its driver does not tell.
pub(in crate::shell) fn channels(ifindex: u32) -> Option<Channels> {
    let mut numbers = Numbers {
        command: GET_CHANNELS,
        ..Numbers::default()
    };
    // SAFETY: it has the layout and the size that the kernel expects.
    unsafe { ask(ifindex, &mut numbers) }?;
    Some(Channels {
        receiving: numbers.rx.saturating_add(numbers.combined),
        most: numbers.max_rx.max(numbers.max_combined),
        are_combined: numbers.max_combined > 0,
    })
}

/// Octets of the largest packet. Not from /sys, which may be that of another network namespace.
pub(in crate::shell) fn mtu(ifindex: u32) -> Option<i32> {
    /// `struct ifreq`
    #[repr(C)]
    struct Mtu {
        name: [u8; 16],
        mtu: i32,
        rest: [u8; 20],
    }
    let name = if_indextoname(ifindex).ok()?;
    let mut request = Mtu {
        name: [0; 16],
        mtu: 0,
        rest: [0; 20],
    };
    let name = name.as_bytes();
    request.name.get_mut(..name.len())?.copy_from_slice(name);
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None).ok()?;
    // SAFETY: the request has the layout and the size of `struct ifreq`, and lives until the call returns.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGIFMTU as _, &raw mut request) };
    Errno::result(result).ok()?;
    Some(request.mtu)
}

/// Name of the interface's driver. `None` where the kernel does not tell it.
pub(in crate::shell) fn of(ifindex: u32) -> Option<String> {
    let mut info = Info {
        command: GET_DRIVER_INFO,
        driver: [0; 32],
        rest: [0; 160],
    };
    // SAFETY: it has the layout and the size that the kernel expects.
    unsafe { ask(ifindex, &mut info) }?;
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
        assert_eq!((of(u32::MAX), mtu(u32::MAX)), (None, None));
        assert_eq!(channels(u32::MAX), None);
        assert!(!takes_tags_off(u32::MAX) && !is_pair(u32::MAX));
        assert_eq!(drops_large_at_first(u32::MAX), None);
        assert!(gives_up_offloads("veth") && !gives_up_offloads("ixgbe"));
    }
}
