//! What the kernel says about devices: which of them accept frames that XDP redirects to them, and which have native
//! XDP.
//!
//! A frame that is redirected to any other device is lost without an error. The kernel tells which devices accept them
//! through the generic netlink family `netdev` (Linux 6.3). Frames for devices that it does not report are left to the
//! kernel's forwarding.

use std::{
    collections::BTreeSet,
    io::{self, Read as _, Write as _},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

pub(super) const AF_NETLINK: i32 = 16;
const NETLINK_GENERIC: i32 = 16;
const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
const NETDEV_XDP_ACT_BASIC: u64 = 1;
const NETDEV_XDP_ACT_NDO_XMIT: u64 = 4;
const NETDEV_XDP_ACT_RX_SG: u64 = 32;
const NETDEV_XDP_ACT_NDO_XMIT_SG: u64 = 64;

const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// Length of a netlink header: length, type, flags, sequence number and port.
const HEADER: usize = 16;
/// Length of a generic netlink header: command, version and two reserved octets.
const GENERIC: usize = 4;
/// How long to wait for an answer. The kernel answers within the system call, so this only protects against a kernel
/// that does not.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Indices of the devices in this network namespace that accept redirected frames.
///
/// # Errors
///
/// When the kernel does not know the family, or its answer cannot be read.
pub(super) fn redirect_targets() -> io::Result<BTreeSet<u32>> {
    with_feature(NETDEV_XDP_ACT_NDO_XMIT)
}

/// Those of them that accept frames of several buffers, too.
///
/// # Errors
///
/// As [`redirect_targets`].
pub(super) fn targets_of_whole() -> io::Result<BTreeSet<u32>> {
    with_feature(NETDEV_XDP_ACT_NDO_XMIT_SG)
}

/// Indices of the devices in this network namespace whose driver has XDP.
///
/// # Errors
///
/// As [`redirect_targets`].
pub(super) fn native() -> io::Result<BTreeSet<u32>> {
    with_feature(NETDEV_XDP_ACT_BASIC)
}

/// Those of them whose driver gives programs frames of several buffers.
///
/// # Errors
///
/// As [`redirect_targets`].
pub(super) fn natives_of_whole() -> io::Result<BTreeSet<u32>> {
    let whole = with_feature(NETDEV_XDP_ACT_RX_SG)?;
    Ok(native()?.intersection(&whole).copied().collect())
}

fn with_feature(feature: u64) -> io::Result<BTreeSet<u32>> {
    let mut socket = Socket::new(
        Domain::from(AF_NETLINK),
        Type::RAW,
        Some(Protocol::from(NETLINK_GENERIC)),
    )?;
    socket.set_read_timeout(Some(PATIENCE))?;

    let name = attribute(CTRL_ATTR_FAMILY_NAME, b"netdev\0");
    socket.write_all(&message(GENL_ID_CTRL, 0, CTRL_CMD_GETFAMILY, &name))?;
    let mut family = None;
    answers(&mut socket, false, GENERIC, |attributes| {
        for (kind, value) in attributes {
            if kind == CTRL_ATTR_FAMILY_ID {
                family = number(value).and_then(|id| u16::try_from(id).ok());
            }
        }
    })?;
    let family = family.ok_or(io::ErrorKind::InvalidData)?;

    socket.write_all(&message(family, NLM_F_DUMP, NETDEV_CMD_DEV_GET, &[]))?;
    let mut found = BTreeSet::new();
    answers(&mut socket, true, GENERIC, |attributes| {
        let (mut index, mut features) = (None, 0);
        for (kind, value) in attributes {
            match kind {
                NETDEV_A_DEV_IFINDEX => index = number(value),
                NETDEV_A_DEV_XDP_FEATURES => features = number(value).unwrap_or(0),
                _ => {}
            }
        }
        if let Some(index) = index.and_then(|index| u32::try_from(index).ok())
            && features & feature != 0
        {
            found.insert(index);
        }
    })?;
    Ok(found)
}

fn message(kind: u16, flags: u16, command: u8, attributes: &[u8]) -> Vec<u8> {
    let mut body = vec![command, 1, 0, 0];
    body.extend(attributes);
    request(kind, flags, &body)
}

/// A request of netlink for everything of a kind.
pub(super) fn dump(kind: u16, body: &[u8]) -> Vec<u8> {
    request(kind, NLM_F_DUMP, body)
}

fn request(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = HEADER + body.len();
    let mut message = Vec::with_capacity(length);
    message.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut attribute = Vec::from(length.to_ne_bytes());
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(value);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

/// Passes the attributes of each answer, which come behind `header` octets, to `sink`, until the end of the dump, or
/// for the one answer.
pub(super) fn answers(
    socket: &mut Socket,
    dump: bool,
    header: usize,
    mut sink: impl FnMut(Vec<(u16, &[u8])>),
) -> io::Result<()> {
    let mut buffer = vec![0; 65536];
    loop {
        let length = socket.read(&mut buffer)?;
        let mut rest = &buffer[..length];
        while let Some((kind, body, next)) = next_message(rest) {
            rest = next;
            match kind {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => {
                    let code = body
                        .first_chunk()
                        .map_or(0, |code| i32::from_ne_bytes(*code));
                    if code == 0 {
                        return Ok(());
                    }
                    return Err(io::Error::from_raw_os_error(-code));
                }
                _ => sink(attributes(body.get(header..).unwrap_or_default())),
            }
        }
        if !dump {
            return Ok(());
        }
    }
}

/// Splits the first message off: its type, its body and the octets after it.
fn next_message(octets: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(*octets.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(*octets.get(4..)?.first_chunk()?);
    let body = octets.get(HEADER..length)?;
    let next = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, body, next))
}

pub(super) fn attributes(mut octets: &[u8]) -> Vec<(u16, &[u8])> {
    let mut attributes = Vec::new();
    while let Some(length) = octets.first_chunk() {
        let length = usize::from(u16::from_ne_bytes(*length));
        let (Some(kind), Some(value)) = (
            octets.get(2..).and_then(<[u8]>::first_chunk),
            octets.get(4..length),
        ) else {
            break;
        };
        // The two upper bits of the type are flags.
        attributes.push((u16::from_ne_bytes(*kind) & 0x3fff, value));
        octets = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    attributes
}

pub(super) fn number(value: &[u8]) -> Option<u64> {
    match value.len() {
        1 => value.first().copied().map(u64::from),
        2 => Some(u16::from_ne_bytes(value.try_into().ok()?).into()),
        4 => Some(u32::from_ne_bytes(value.try_into().ok()?).into()),
        8 => Some(u64::from_ne_bytes(value.try_into().ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_end_where_the_octets_do() {
        let mut octets = attribute(3, &[1, 2, 3, 4, 5]);
        octets.extend(attribute(7, &9_u32.to_ne_bytes()));
        let found = attributes(&octets);
        assert_eq!(
            found,
            [(3, &[1, 2, 3, 4, 5][..]), (7, &9_u32.to_ne_bytes()[..])]
        );
        for cut in 0..octets.len() {
            assert!(attributes(&octets[..cut]).len() < 2);
        }
        assert_eq!(attributes(&[0; 8]), []);
    }

    #[test]
    fn the_kernel_tells_or_says_that_it_cannot() {
        // Every namespace has a loopback interface, which does not accept redirected frames.
        if let Ok(targets) = redirect_targets() {
            assert!(!targets.contains(&1), "{targets:?}");
        }
    }
}
