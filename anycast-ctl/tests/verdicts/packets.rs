//! Frames made by hand, with checksums computed in full: nothing of the product is in here, so
//! that an error there cannot hide itself.

use std::net::Ipv6Addr;

pub const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMPV6: u8 = 58;
pub const SCTP: u8 = 132;
pub const UDP_LITE: u8 = 136;
pub const MOBILITY: u8 = 135;

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;

/// An IPv6 packet in the making.
#[derive(Clone, Debug)]
pub struct Packet {
    pub source: Ipv6Addr,
    pub destination: Ipv6Addr,
    pub hop_limit: u8,
    /// Extension headers: their type and their bytes, whose first octet is filled in.
    pub extensions: Vec<(u8, Vec<u8>)>,
    pub protocol: u8,
    pub payload: Vec<u8>,
    pub vlans: Vec<u16>,
    /// Where the checksum that covers the addresses is in the payload.
    checksum: Option<usize>,
}

impl Packet {
    pub fn new(source: &str, destination: &str, protocol: u8, payload: Vec<u8>) -> Self {
        let checksum = match protocol {
            TCP => Some(16),
            UDP | UDP_LITE => Some(6),
            ICMPV6 => Some(2),
            MOBILITY => Some(4),
            _ => None,
        };
        Self {
            source: address(source),
            destination: address(destination),
            hop_limit: 64,
            extensions: Vec::new(),
            protocol,
            payload,
            vlans: Vec::new(),
            checksum,
        }
    }

    /// The same with a payload that is complete, checksum and all.
    pub fn raw(source: &str, destination: &str, protocol: u8, payload: Vec<u8>) -> Self {
        Self {
            checksum: None,
            ..Self::new(source, destination, protocol, payload)
        }
    }

    pub fn tcp(source: &str, destination: &str, ports: (u16, u16), flags: u8) -> Self {
        let mut payload = Vec::new();
        payload.extend(ports.0.to_be_bytes());
        payload.extend(ports.1.to_be_bytes());
        payload.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        payload.extend(b"some data of the stream");
        Self::new(source, destination, TCP, payload)
    }

    /// The same TCP segment with these numbers, and so much data.
    pub fn numbered(mut self, sequence: u32, acknowledged: u32, data: &[u8]) -> Self {
        self.payload.truncate(20);
        self.payload[4..8].copy_from_slice(&sequence.to_be_bytes());
        self.payload[8..12].copy_from_slice(&acknowledged.to_be_bytes());
        self.payload.extend(data);
        self
    }

    pub fn udp(source: &str, destination: &str, ports: (u16, u16), data: &[u8]) -> Self {
        let mut payload = Vec::new();
        payload.extend(ports.0.to_be_bytes());
        payload.extend(ports.1.to_be_bytes());
        payload.extend(u16::try_from(8 + data.len()).expect("short").to_be_bytes());
        payload.extend([0, 0]);
        payload.extend(data);
        Self::new(source, destination, UDP, payload)
    }

    /// UDP-Lite (RFC 3828) whose checksum covers everything. Its data make it come to 0 from this source, which is sent
    /// as 0xffff.
    pub fn udp_lite_zero(source: &str, destination: &str, ports: (u16, u16)) -> Self {
        let mut payload = Vec::new();
        payload.extend(ports.0.to_be_bytes());
        payload.extend(ports.1.to_be_bytes());
        payload.extend([0; 6]);
        let mut packet = Self::new(source, destination, UDP_LITE, payload);
        let bytes = packet.bytes();
        // The checksum of the packet without data is what is left to add.
        packet.payload[8..10].copy_from_slice(&bytes[46..48]);
        packet
    }

    pub fn echo(source: &str, destination: &str, reply: bool, identifier: u16) -> Self {
        let mut payload = vec![if reply { 129 } else { 128 }, 0, 0, 0];
        payload.extend(identifier.to_be_bytes());
        payload.extend([0, 1]);
        payload.extend(b"ping");
        Self::new(source, destination, ICMPV6, payload)
    }

    pub fn icmpv6(source: &str, destination: &str, message_type: u8, rest: &[u8]) -> Self {
        let mut payload = vec![message_type, 0, 0, 0];
        payload.extend(rest);
        Self::new(source, destination, ICMPV6, payload)
    }

    /// An MLDv1 message as RFC 2710 has it: hop limit 1 and Router Alert.
    pub fn mld(source: &str, destination: &str, message_type: u8, group: &str) -> Self {
        let mut payload = vec![message_type, 0, 0, 0, 0, 0, 0, 0];
        payload.extend(address(group).octets());
        Self {
            hop_limit: 1,
            extensions: vec![(0, vec![0, 0, 5, 2, 0, 0, 1, 0])],
            ..Self::new(source, destination, ICMPV6, payload)
        }
    }

    pub fn report(source: &str, group: &str) -> Self {
        Self::mld(source, "ff02::2", 131, group)
    }

    pub fn mobility(source: &str, destination: &str, mh_type: u8) -> Self {
        let mut payload = vec![59, 1, mh_type, 0, 0, 0, 0, 0];
        payload.extend([7; 8]);
        Self::new(source, destination, MOBILITY, payload)
    }

    pub fn fragment(mut self, offset: u16, more: bool) -> Self {
        let mut header = vec![0, 0];
        header.extend((offset | u16::from(more)).to_be_bytes());
        header.extend([0, 0, 0, 9]);
        self.extensions.push((44, header));
        self
    }

    /// The same with other fields, through a closure.
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The IPv6 packet.
    pub fn bytes(&self) -> Vec<u8> {
        let mut payload = self.payload.clone();
        if let Some(offset) = self.checksum
            && payload.len() >= offset + 2
        {
            payload[offset..offset + 2].fill(0);
            let mut sum = checksum(self.source, self.destination, self.protocol, &payload);
            if matches!(self.protocol, UDP | UDP_LITE) && sum == 0 {
                sum = 0xffff;
            }
            payload[offset..offset + 2].copy_from_slice(&sum.to_be_bytes());
        }
        let mut rest = Vec::new();
        for (index, (_, bytes)) in self.extensions.iter().enumerate() {
            let mut bytes = bytes.clone();
            bytes[0] = self
                .extensions
                .get(index + 1)
                .map_or(self.protocol, |(next, _)| *next);
            rest.extend(bytes);
        }
        rest.extend(payload);
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend(u16::try_from(rest.len()).expect("short").to_be_bytes());
        packet.push(
            self.extensions
                .first()
                .map_or(self.protocol, |(next, _)| *next),
        );
        packet.push(self.hop_limit);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        packet.extend(rest);
        packet
    }

    /// The Ethernet frame.
    pub fn frame(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        frame.extend(OUR_MAC);
        frame.extend(CLIENT_MAC);
        for tag in &self.vlans {
            frame.extend([0x81, 0]);
            frame.extend(tag.to_be_bytes());
        }
        frame.extend([0x86, 0xdd]);
        frame.extend(self.bytes());
        frame
    }
}

pub fn address(text: &str) -> Ipv6Addr {
    text.parse().expect("an IPv6 address")
}

/// RFC 8200 section 8.1, word by word.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, payload: &[u8]) -> u16 {
    let mut octets = Vec::new();
    octets.extend(source.octets());
    octets.extend(destination.octets());
    octets.extend(u32::try_from(payload.len()).expect("short").to_be_bytes());
    octets.extend([0, 0, 0, protocol]);
    octets.extend(payload);
    if octets.len() % 2 == 1 {
        octets.push(0);
    }
    let mut sum: u32 = octets
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}
