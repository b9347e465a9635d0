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
const GET_RECEIVE_CHECKSUM: u32 = 0x14;
const GET_FLAGS: u32 = 0x25;
const SET_FLAGS: u32 = 0x26;
/// `ETH_FLAG_RXVLAN`
const VLAN_TAGS_OFF: u32 = 1 << 8;
/// `ETH_FLAG_LRO`
const LARGE_RECEIVE: u32 = 1 << 15;

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
    ask(namespace, interface, offload as u32, u32::from(on))
        .with_context(|| format!("cannot set {offload:?} of {interface}"))?;
    Ok(())
}

/// Has the device take VLAN tags off frames (`rxvlan`), or leave them there.
pub fn take_tags_off(namespace: &Namespace, interface: &str, on: bool) -> Result<()> {
    set_flag(namespace, interface, VLAN_TAGS_OFF, on)
        .with_context(|| format!("cannot turn rxvlan of {interface} on or off"))
}

/// Has the device merge received packets (`lro`), or not. It is off where packets are forwarded.
pub fn merge_in_device(namespace: &Namespace, interface: &str, on: bool) -> Result<()> {
    set_flag(namespace, interface, LARGE_RECEIVE, on)
        .with_context(|| format!("cannot turn lro of {interface} on or off"))
}

fn set_flag(namespace: &Namespace, interface: &str, flag: u32, on: bool) -> Result<()> {
    let flags = ask(namespace, interface, GET_FLAGS, 0)?;
    let wanted = if on { flags | flag } else { flags & !flag };
    ask(namespace, interface, SET_FLAGS, wanted).map(drop)
}

/// The offloads on the way in that are on, as `ethtool -K` names them.
pub fn receive(namespace: &Namespace, interface: &str) -> Result<Vec<&'static str>> {
    let flags = ask(namespace, interface, GET_FLAGS, 0)?;
    let checksum = ask(namespace, interface, GET_RECEIVE_CHECKSUM, 0)?;
    let all = [
        ("rx", checksum != 0),
        ("lro", flags & LARGE_RECEIVE != 0),
        ("rxvlan", flags & VLAN_TAGS_OFF != 0),
    ];
    let on = all.into_iter().filter(|(_, on)| *on);
    Ok(on.map(|(name, _)| name).collect())
}

/// Puts a command that has one number to the driver, and gives the number that is there afterwards.
fn ask(namespace: &Namespace, interface: &str, command: u32, data: u32) -> Result<u32> {
    namespace.run(|| {
        ensure!(interface.len() < 16, "{interface} is no interface name");
        let mut value = Value { command, data };
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
        Errno::result(result).map_err(io::Error::from)?;
        Ok(value.data)
    })
}
