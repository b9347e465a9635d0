//! A frame as the model reads it, by RFC 8200 and by what `docs/protocol.md` says is looked at.

use std::net::Ipv6Addr;

use super::frame::{DCCP, UDP_LITE};
use crate::packets::{ICMPV6, SCTP, TCP, UDP};

const HOP_BY_HOP: u8 = 0;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
/// Routing, AH, no next header: nothing behind these is looked at.
const OPAQUE: [u8; 3] = [43, 51, 59];
/// Extension headers that are walked.
const MOST: usize = 6;

/// Where an IPv6 packet's parts are in a frame.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// Of the IPv6 header.
    pub(super) ip: usize,
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
    pub(super) hop_limit: u8,
    /// What is behind the extension headers, or behind the fragment header of a later fragment.
    pub(super) protocol: u8,
    /// Where that begins, and where the packet ends.
    pub(super) upper: usize,
    pub(super) end: usize,
    pub(super) fragment: Option<Fragment>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment {
    pub(super) first: bool,
    pub(super) last: bool,
    pub(super) identification: u32,
    /// Next Header of the Fragment header, which all fragments have in common.
    pub(super) protocol: u8,
}

/// A transport header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transport {
    /// Source and destination port.
    pub(super) ports: (u16, u16),
    /// Where the checksum is that covers the addresses.
    pub(super) checksum: Option<usize>,
    /// Flags of a TCP segment.
    pub(super) flags: u8,
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn address_at(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    let octets: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
    Some(octets.into())
}

impl View {
    /// `None`: not IPv6, or nothing that is looked into. A frame may be padded, or lack a part of its
    /// packet, which whoever receives it will drop.
    pub(super) fn frame(frame: &[u8]) -> Option<Self> {
        let mut at = 12;
        let tags = [0x8100, 0x88a8];
        while tags.contains(&u16_at(frame, at)?) && at < 20 {
            at += 4;
        }
        if u16_at(frame, at)? != 0x86dd {
            return None;
        }
        Self::packet(frame, at + 2)
    }

    /// The packet in a frame or in a quote, which may end before the packet does.
    pub(super) fn packet(bytes: &[u8], ip: usize) -> Option<Self> {
        if bytes.get(ip)? >> 4 != 6 {
            return None;
        }
        let mut view = Self {
            ip,
            source: address_at(bytes, ip + 8)?,
            destination: address_at(bytes, ip + 24)?,
            hop_limit: *bytes.get(ip + 7)?,
            protocol: *bytes.get(ip + 6)?,
            upper: ip + 40,
            end: ip + 40 + usize::from(u16_at(bytes, ip + 4)?),
            fragment: None,
        };
        view.walk(&bytes[..bytes.len().min(view.end)])?;
        Some(view)
    }

    fn walk(&mut self, bytes: &[u8]) -> Option<()> {
        for walked in 0.. {
            let header = match self.protocol {
                HOP_BY_HOP | DESTINATION_OPTIONS => {
                    8 * (usize::from(*bytes.get(self.upper + 1)?) + 1)
                }
                FRAGMENT => {
                    let offset = u16_at(bytes, self.upper + 2)?;
                    let high = u16_at(bytes, self.upper + 4)?;
                    let low = u16_at(bytes, self.upper + 6)?;
                    self.fragment = Some(Fragment {
                        first: offset >> 3 == 0,
                        last: offset & 1 == 0,
                        identification: u32::from(high) << 16 | u32::from(low),
                        protocol: bytes[self.upper],
                    });
                    8
                }
                opaque if OPAQUE.contains(&opaque) => return None,
                _ => return Some(()),
            };
            if walked == MOST || self.upper + header > bytes.len() {
                return None;
            }
            self.protocol = bytes[self.upper];
            self.upper += header;
            if self.is_later() {
                return (!self.is_at_extension()).then_some(());
            }
        }
        None
    }

    fn is_at_extension(&self) -> bool {
        let walked = [HOP_BY_HOP, DESTINATION_OPTIONS, FRAGMENT];
        walked.contains(&self.protocol) || OPAQUE.contains(&self.protocol)
    }

    /// A fragment that has no transport header.
    pub(super) fn is_later(&self) -> bool {
        self.fragment.is_some_and(|fragment| !fragment.first)
    }

    /// The first of several fragments.
    pub(super) fn is_first(&self) -> bool {
        self.fragment
            .is_some_and(|fragment| fragment.first && !fragment.last)
    }

    /// The transport header, when it is whole.
    pub(super) fn transport(&self, bytes: &[u8]) -> Option<Transport> {
        let upper = bytes.get(self.upper..bytes.len().min(self.end))?;
        let whole = |octets| (upper.len() >= octets).then_some(());
        let ports = || Some((u16_at(upper, 0)?, u16_at(upper, 2)?));
        let transport = |ports, checksum: Option<usize>| Transport {
            ports,
            checksum: checksum.map(|at| self.upper + at),
            flags: 0,
        };
        Some(match self.protocol {
            TCP => {
                whole(20)?;
                Transport {
                    flags: upper[13],
                    ..transport(ports()?, Some(16))
                }
            }
            UDP | UDP_LITE => {
                whole(8)?;
                transport(ports()?, Some(6))
            }
            DCCP => {
                whole(12)?;
                transport(ports()?, Some(6))
            }
            SCTP => {
                whole(12)?;
                transport(ports()?, None)
            }
            ICMPV6 => {
                whole(8)?;
                // The identifier is the port of who asks.
                let identifier = u16_at(upper, 4)?;
                match upper[0] {
                    128 => transport((identifier, 0), Some(2)),
                    129 => transport((0, identifier), Some(2)),
                    _ => return None,
                }
            }
            _ => transport((0, 0), None),
        })
    }
}
