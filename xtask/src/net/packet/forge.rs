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
    [from, to]: [[u8; 6]; 2],
    source: SocketAddrV6,
    destination: SocketAddrV6,
    payload: &[u8],
) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap_or(u16::MAX);
    let ports = [source.port(), destination.port(), length, 0].map(u16::to_be_bytes);
    let mut datagram = [ports.as_flattened(), payload].concat();
    let addresses = [source.ip().octets(), destination.ip().octets()].concat();
    let checksum = match !ones_complement_sum(&addresses, &datagram, 17) {
        0 => u16::MAX, // RFC 768: zero would say that there is none.
        checksum => checksum,
    };
    datagram[6..8].copy_from_slice(&checksum.to_be_bytes());

    let mut frame = [&to[..], &from, &[0x86, 0xdd, 0x60, 0, 0, 0]].concat();
    frame.extend(length.to_be_bytes());
    frame.extend([17, 64]); // UDP; hop limit 64.
    frame.extend(addresses);
    frame.extend(datagram);
    frame
}
