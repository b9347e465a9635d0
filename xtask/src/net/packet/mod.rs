//! Parses captured frames. The lab has its own parser for this, since a proof about the product must not depend on the
//! product's parser.

pub mod forge;

use std::{fmt, net::Ipv6Addr};

/// ICMPv6 types of MLDv1.
pub mod mld {
    /// Multicast Listener Query.
    pub const QUERY: u8 = 130;
    /// Multicast Listener Report.
    pub const REPORT: u8 = 131;
    /// Multicast Listener Done.
    pub const DONE: u8 = 132;
    /// Version 2 Multicast Listener Report. The lab reads only its type.
    pub const V2_REPORT: u8 = 143;
    /// Types of Multicast Router Discovery (RFC 4286): Advertisement, Solicitation, Termination.
    pub const MRD: std::ops::RangeInclusive<u8> = 151..=153;
}

/// ICMPv6 types of Neighbor Discovery.
pub mod neighbor {
    /// Neighbor Solicitation.
    pub const SOLICITATION: u8 = 135;
    /// Neighbor Advertisement.
    pub const ADVERTISEMENT: u8 = 136;
}

/// Types of Mobility Header messages.
pub mod mobility {
    /// Home Test Init.
    pub const HOTI: u8 = 1;
    /// Care-of Test Init.
    pub const COTI: u8 = 2;
    /// Home Test.
    pub const HOT: u8 = 3;
    /// Care-of Test.
    pub const COT: u8 = 4;
    /// Binding Update.
    pub const BU: u8 = 5;
    /// Binding Acknowledgement.
    pub const BA: u8 = 6;
}

/// TCP flags.
pub mod tcp {
    /// The sender has no more data to send.
    pub const FIN: u8 = 1;
    /// The first segment of a connection.
    pub const SYN: u8 = 2;
    /// The connection is reset.
    pub const RST: u8 = 4;
}

/// An IPv6 packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
    /// Hop limit.
    pub hop_limit: u8,
    /// Number of octets behind the IPv6 header.
    pub length: u16,
    /// Whether the checksum of an ICMPv6 or Mobility Header message is correct. `None` if the message was not captured
    /// whole, and for TCP and UDP, whose checksums the receiver verifies.
    pub intact: Option<bool>,
    /// Content of the packet.
    pub upper: Upper,
}

/// Content of an IPv6 packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upper {
    /// A TCP segment.
    Tcp {
        /// Source and destination port.
        ports: (u16, u16),
        /// Its flags.
        flags: u8,
    },
    /// A UDP datagram with its source and destination port.
    Udp(u16, u16),
    /// An MLDv1 message: its type and its Multicast Address field.
    Mld(u8, Ipv6Addr),
    /// A Neighbor Solicitation or Advertisement.
    Neighbor(Neighbor),
    /// Another ICMPv6 message: its type and code.
    Icmp(u8, u8),
    /// A Mobility Header message.
    Mobility(Mobility),
    /// Another protocol, which the lab does not parse.
    Other(u8),
}

/// A Neighbor Solicitation (135) or Advertisement (136).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// Its type.
    pub kind: u8,
    /// The flags of an Advertisement: R 0x80, S 0x40, O 0x20.
    pub flags: u8,
    /// The address that the message is about.
    pub target: Ipv6Addr,
    /// The Ethernet address in its first option.
    pub mac: Option<[u8; 6]>,
}

/// A Mobility Header message, with the fields that the lab needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mobility {
    /// Its type.
    pub kind: u8,
    /// Sequence number of a Binding Update or Acknowledgement.
    pub sequence: u16,
    /// The flag word of a Binding Update; the status of an Acknowledgement.
    pub flags: u16,
    /// The lifetime of a Binding Update or Acknowledgement.
    pub lifetime: u16,
    /// The Alternate Care-of Address option of a Binding Update.
    pub care_of: Option<Ipv6Addr>,
}

impl Packet {
    /// Reads an Ethernet frame. `None` when it is not IPv6 or cut too short.
    pub fn read(frame: &[u8]) -> Option<Self> {
        if u16_at(frame, 12)? != 0x86dd {
            return None;
        }
        let ip = frame.get(14..)?;
        let mut next = *ip.get(6)?;
        let mut rest = ip.get(40..)?;
        // Hop-by-Hop, Destination Options.
        while next == 0 || next == 60 {
            let octets = 8 * (usize::from(*rest.get(1)?) + 1);
            next = *rest.first()?;
            rest = rest.get(octets..)?;
        }
        let end = (40 + usize::from(u16_at(ip, 4)?)).checked_sub(ip.len() - rest.len())?;
        let whole = rest.get(..end).filter(|_| next == 58 || next == 135);
        Some(Self {
            intact: whole.map(|message| checksum_holds(ip.get(8..40), message, next)),
            source: address_at(ip, 8)?,
            destination: address_at(ip, 24)?,
            hop_limit: *ip.get(7)?,
            length: u16_at(ip, 4)?,
            upper: Upper::read(next, rest)?,
        })
    }
}

impl Upper {
    fn read(protocol: u8, bytes: &[u8]) -> Option<Self> {
        Some(match protocol {
            6 => Self::Tcp {
                ports: (u16_at(bytes, 0)?, u16_at(bytes, 2)?),
                flags: *bytes.get(13)?,
            },
            17 => Self::Udp(u16_at(bytes, 0)?, u16_at(bytes, 2)?),
            58 => match *bytes.first()? {
                kind @ mld::QUERY..=mld::DONE => Self::Mld(kind, address_at(bytes, 8)?),
                kind @ (neighbor::SOLICITATION | neighbor::ADVERTISEMENT) => {
                    Self::Neighbor(Neighbor {
                        kind,
                        flags: *bytes.get(4)?,
                        target: address_at(bytes, 8)?,
                        mac: bytes.get(26..32).and_then(|mac| mac.try_into().ok()),
                    })
                }
                kind => Self::Icmp(kind, *bytes.get(1)?),
            },
            135 => Self::Mobility(Mobility::read(bytes)?),
            other => Self::Other(other),
        })
    }

    /// The mobility message of a packet that contains one.
    pub fn mobility(&self) -> Option<Mobility> {
        match self {
            Self::Mobility(message) => Some(*message),
            _ => None,
        }
    }
}

impl Mobility {
    fn read(bytes: &[u8]) -> Option<Self> {
        let kind = *bytes.get(2)?;
        let message = Self {
            kind,
            ..Self::default()
        };
        Some(match kind {
            mobility::BU => Self {
                sequence: u16_at(bytes, 6)?,
                flags: u16_at(bytes, 8)?,
                lifetime: u16_at(bytes, 10)?,
                care_of: option(bytes.get(12..)?, 3).and_then(|data| address_at(data, 0)),
                ..message
            },
            mobility::BA => Self {
                sequence: u16_at(bytes, 8)?,
                flags: u16::from(*bytes.get(6)?),
                lifetime: u16_at(bytes, 10)?,
                ..message
            },
            _ => message,
        })
    }
}

impl fmt::Display for Upper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { ports, flags } => {
                write!(f, "TCP {} > {}", ports.0, ports.1)?;
                for (flag, name) in [(tcp::SYN, " SYN"), (tcp::FIN, " FIN"), (tcp::RST, " RST")] {
                    f.write_str(if flags & flag != 0 { name } else { "" })?;
                }
                Ok(())
            }
            Self::Udp(source, destination) => write!(f, "UDP {source} > {destination}"),
            Self::Mld(mld::QUERY, group) if group.is_unspecified() => f.write_str("General Query"),
            Self::Mld(mld::QUERY, group) => write!(f, "Address-Specific Query {group}"),
            Self::Mld(mld::REPORT, group) => write!(f, "Report {group}"),
            Self::Mld(_, group) => write!(f, "Done {group}"),
            Self::Neighbor(Neighbor { kind, target, .. }) => match *kind {
                neighbor::SOLICITATION => write!(f, "Neighbor Solicitation {target}"),
                _ => write!(f, "Neighbor Advertisement {target}"),
            },
            Self::Icmp(kind, code) => write!(f, "ICMPv6 type {kind} code {code}"),
            Self::Mobility(message) => message.fmt(f),
            Self::Other(protocol) => write!(f, "protocol {protocol}"),
        }
    }
}

impl fmt::Display for Mobility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sequence,
            flags,
            lifetime,
            ..
        } = *self;
        match self.kind {
            mobility::HOTI => f.write_str("HoTI"),
            mobility::COTI => f.write_str("CoTI"),
            mobility::HOT => f.write_str("HoT"),
            mobility::COT => f.write_str("CoT"),
            mobility::BU => {
                write!(f, "BU   sequence {sequence} lifetime {lifetime} flags ")?;
                let names = ["A", "H", "S", "D", "L", "E"].into_iter().enumerate();
                let set = names.filter(|(bit, _)| flags & (0x8000 >> bit) != 0);
                f.write_str(&set.map(|(_, name)| name).collect::<String>())?;
                match self.care_of {
                    Some(care_of) => write!(f, ", care-of {care_of}"),
                    None => f.write_str(", no care-of address"),
                }
            }
            mobility::BA => write!(
                f,
                "BA   sequence {sequence} lifetime {lifetime} status {flags}"
            ),
            other => write!(f, "Mobility Header type {other}"),
        }
    }
}

/// Whether a checksum is correct: the message, including its checksum, and the pseudo-header add up to all ones (RFC
/// 8200 section 8.1).
fn checksum_holds(addresses: Option<&[u8]>, message: &[u8], protocol: u8) -> bool {
    ones_complement_sum(addresses.unwrap_or_default(), message, protocol) == 0xffff
}

fn ones_complement_sum(addresses: &[u8], message: &[u8], protocol: u8) -> u16 {
    let words = |bytes: &[u8]| -> u64 {
        let word =
            |pair: &[u8]| u64::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u64::from);
        bytes.chunks(2).map(word).sum()
    };
    let mut sum = words(addresses) + words(message) + message.len() as u64 + u64::from(protocol);
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}

/// The data of the first mobility option of this type.
fn option(mut options: &[u8], kind: u8) -> Option<&[u8]> {
    loop {
        if *options.first()? == 0 {
            options = options.get(1..)?; // Pad1
            continue;
        }
        let end = 2 + usize::from(*options.get(1)?);
        if options[0] == kind {
            return options.get(2..end);
        }
        options = options.get(end..)?;
    }
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    let pair = bytes.get(offset..offset + 2)?;
    Some(u16::from_be_bytes([pair[0], pair[1]]))
}

fn address_at(bytes: &[u8], offset: usize) -> Option<Ipv6Addr> {
    let octets: [u8; 16] = bytes.get(offset..offset + 16)?.try_into().ok()?;
    Some(octets.into())
}

#[cfg(test)]
mod tests;
