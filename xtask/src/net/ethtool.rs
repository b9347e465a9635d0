//! Sets offloads of an interface, and reads what its driver counts, through the ioctl that `ethtool` uses.

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
const GET_STRINGS: u32 = 0x1b;
const GET_STATISTICS: u32 = 0x1d;
const GET_SET_INFO: u32 = 0x37;
/// `ETH_SS_STATS`
const NAMES_OF_STATISTICS: u32 = 1;
/// More than a driver of these cards has.
const MOST: usize = 1024;
/// `ETH_GSTRING_LEN`
const NAME: usize = 32;
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

/// `struct ethtool_sset_info`, for one set of names.
#[repr(C)]
struct SetInfo {
    command: u32,
    reserved: u32,
    sets: u64,
    count: u32,
}

/// `struct ethtool_gstrings`
#[repr(C)]
struct Names {
    command: u32,
    set: u32,
    count: u32,
    names: [[u8; NAME]; MOST],
}

/// `struct ethtool_stats`
#[repr(C)]
struct Statistics {
    command: u32,
    count: u32,
    values: [u64; MOST],
}

#[repr(C)]
struct Request<T> {
    name: [u8; 16],
    question: *mut T,
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

/// What the driver counts (`ethtool -S`), but for what is 0.
pub fn statistics(namespace: &Namespace, interface: &str) -> Result<Vec<(String, u64)>> {
    let mut info = SetInfo {
        command: GET_SET_INFO,
        reserved: 0,
        sets: 1 << NAMES_OF_STATISTICS,
        count: 0,
    };
    // SAFETY: the kernel writes one number for each set that was asked for, behind the set's bits.
    unsafe { put(namespace, interface, &mut info) }?;
    let count = info.count as usize;
    ensure!(
        info.sets == 0 || count <= MOST,
        "{interface} has {count} statistics"
    );
    if info.sets == 0 || count == 0 {
        return Ok(Vec::new());
    }
    let mut names = Box::new(Names {
        command: GET_STRINGS,
        set: NAMES_OF_STATISTICS,
        count: info.count,
        names: [[0; NAME]; MOST],
    });
    // SAFETY: the kernel writes as many names as it has just said; a driver has them from its start.
    unsafe { put(namespace, interface, &mut *names) }?;
    let mut values = Box::new(Statistics {
        command: GET_STATISTICS,
        count: info.count,
        values: [0; MOST],
    });
    // SAFETY: the kernel writes as many numbers as there are names.
    unsafe { put(namespace, interface, &mut *values) }?;
    let pairs = names.names.iter().zip(values.values).take(count);
    let told = pairs.filter(|(_, value)| *value != 0);
    Ok(told
        .map(|(name, value)| {
            let name = name.split(|octet| *octet == 0).next().unwrap_or_default();
            (String::from_utf8_lossy(name).into_owned(), value)
        })
        .collect())
}

/// Puts a command that has one number to the driver, and gives the number that is there afterwards.
fn ask(namespace: &Namespace, interface: &str, command: u32, data: u32) -> Result<u32> {
    let mut value = Value { command, data };
    // SAFETY: the commands of this file that have one number write such a structure.
    unsafe { put(namespace, interface, &mut value) }?;
    Ok(value.data)
}

/// Puts a question, whose first word is its command, to the driver, which writes its answer there.
///
/// # Safety
///
/// The kernel must write no more than a `T` for this command.
unsafe fn put<T: Send>(namespace: &Namespace, interface: &str, question: &mut T) -> Result<()> {
    namespace.run(|| {
        ensure!(interface.len() < 16, "{interface} is no interface name");
        let mut request = Request {
            name: [0; 16],
            question: &raw mut *question,
            rest: [0; 16],
        };
        request.name[..interface.len()].copy_from_slice(interface.as_bytes());
        let socket = socket(
            AddressFamily::Inet6,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            None,
        )?;
        // SAFETY: `request` has the layout and at least the size of `struct ifreq`, and the caller answers for the
        // question. Both live until the call returns.
        let result = unsafe {
            libc::ioctl(
                std::os::fd::AsRawFd::as_raw_fd(&socket),
                SIOCETHTOOL as _,
                &raw mut request,
            )
        };
        Errno::result(result).map_err(io::Error::from)?;
        Ok(())
    })
}
