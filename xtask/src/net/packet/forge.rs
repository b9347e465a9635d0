//! Builds forged frames. The lab has its own code for this, and does not use the product's.

use std::net::{Ipv6Addr, SocketAddrV6};

use super::ones_complement_sum;

/// `ff02::2`, to which Reports and Dones of anycast addresses go (draft host-anycast).
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
const ALL_ROUTERS_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 2];
/// Hop-by-Hop Options with Router Alert and PadN (RFC 2711), before ICMPv6.
const ROUTER_ALERT: [u8; 8] = [58, 0, 5, 2, 0, 0, 1, 0];

/// An MLDv1 message of this type about `group`, as `source` would send it.
pub fn mld(kind: u8, source: Ipv6Addr, mac: [u8; 6], group: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    message.extend(group.octets());
    let addresses = [source.octets(), ALL_ROUTERS.octets()].concat();
    let checksum = !ones_complement_sum(&addresses, &message, 58);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());

    let length = u16::try_from(ROUTER_ALERT.len() + message.len()).unwrap_or(u16::MAX);
    let mut frame = [&ALL_ROUTERS_MAC[..], &mac, &[0x86, 0xdd, 0x60, 0, 0, 0]].concat();
    frame.extend(length.to_be_bytes());
    frame.extend([0, 1]); // Hop-by-Hop Options; hop limit 1.
    frame.extend(addresses);
    frame.extend(ROUTER_ALERT);
    frame.extend(message);
    frame
}

/// A UDP datagram in one Ethernet frame, as its sender would make it.
pub fn udp(
    way: [[u8; 6]; 2],
    source: SocketAddrV6,
    destination: SocketAddrV6,
    payload: &[u8],
) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap_or(u16::MAX);
    let ports = [source.port(), destination.port(), length, 0].map(u16::to_be_bytes);
    let mut datagram = [ports.as_flattened(), payload].concat();
    let checksum = match checksum([source.ip(), destination.ip()], &datagram, 17) {
        0 => u16::MAX, // RFC 768: zero would say that there is none.
        checksum => checksum,
    };
    datagram[6..8].copy_from_slice(&checksum.to_be_bytes());
    frame(way, [source.ip(), destination.ip()], 17, &datagram)
}

/// A TCP segment without data, with these flags, sequence and acknowledgement number.
pub fn tcp(
    way: [[u8; 6]; 2],
    source: SocketAddrV6,
    destination: SocketAddrV6,
    flags: u8,
    [sequence, acknowledgement]: [u32; 2],
) -> Vec<u8> {
    let ports = [source.port(), destination.port()].map(u16::to_be_bytes);
    let numbers = [sequence, acknowledgement].map(u32::to_be_bytes);
    let mut segment = [ports.as_flattened(), numbers.as_flattened()].concat();
    // Five words of header; a window of 1024; no checksum yet, nothing urgent.
    segment.extend([5 << 4, flags, 4, 0, 0, 0, 0, 0]);
    let checksum = checksum([source.ip(), destination.ip()], &segment, 6);
    segment[16..18].copy_from_slice(&checksum.to_be_bytes());
    frame(way, [source.ip(), destination.ip()], 6, &segment)
}

/// An ICMPv6 error of this type and code, about the packet in a frame that [`tcp`] or [`udp`] has made.
pub fn icmp_error(
    way: [[u8; 6]; 2],
    source: &Ipv6Addr,
    destination: &Ipv6Addr,
    [kind, code]: [u8; 2],
    about: &[u8],
) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0, 0, 0, 0, 0];
    message.extend(about.get(14..).unwrap_or_default());
    let checksum = checksum([source, destination], &message, 58);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    frame(way, [source, destination], 58, &message)
}

/// A packet of this protocol in one frame from one Ethernet address to another.
pub fn frame(
    [from, to]: [[u8; 6]; 2],
    [source, destination]: [&Ipv6Addr; 2],
    protocol: u8,
    payload: &[u8],
) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    let mut frame = [&to[..], &from, &[0x86, 0xdd, 0x60, 0, 0, 0]].concat();
    frame.extend(length.to_be_bytes());
    frame.extend([protocol, 64]); // Hop limit 64.
    frame.extend(source.octets());
    frame.extend(destination.octets());
    frame.extend(payload);
    frame
}

fn checksum([source, destination]: [&Ipv6Addr; 2], message: &[u8], protocol: u8) -> u16 {
    let addresses = [source.octets(), destination.octets()].concat();
    !ones_complement_sum(&addresses, message, protocol)
}
