//! Hosts, and the frames that they send.

use std::net::Ipv6Addr;

use crate::packets::{ICMPV6, MOBILITY, Packet, SCTP, TCP, UDP};

pub(super) const DCCP: u8 = 33;
pub(super) const UDP_LITE: u8 = 136;

/// More than any packet that is quoted has.
pub(super) const WHOLE: usize = 1300;

/// Who is in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    A,
    A2,
    /// Of no prefix that the correspondent answers for.
    Stranger,
    B,
    B2,
    /// For B.
    C,
    C2,
    /// For B2.
    C3,
    Hop,
    LinkLocal,
    Multicast,
    Unspecified,
    Loopback,
}

use Host::{A, A2, B, B2, C, C2, C3, Hop, LinkLocal, Loopback, Multicast, Stranger, Unspecified};

impl Host {
    /// Who is no server has an address of its own in each case, so that none sees what another has
    /// left.
    pub(super) fn address(self, case: u16) -> Ipv6Addr {
        let client = |network, host| Ipv6Addr::new(0x2001, 0xdb8, network, 0, 0, case, 0, host);
        let server = |network, host| Ipv6Addr::new(0x2001, 0xdb8, network, 0, 0, 0, 0, host);
        match self {
            A => client(1, 0x100),
            A2 => client(1, 0x101),
            Stranger => client(2, 0x100),
            B => server(0xa, 0x53),
            B2 => server(0xa, 0x54),
            C => server(0x20, 0xc1),
            C2 => server(0x20, 0xc2),
            C3 => server(0x20, 0xc3),
            Hop => client(0x99, 1),
            LinkLocal => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1),
            Multicast => Ipv6Addr::new(0xff0e, 0, 0, 0, 0, 0, 0, 1),
            Unspecified => Ipv6Addr::UNSPECIFIED,
            Loopback => Ipv6Addr::LOCALHOST,
        }
    }

    /// What B stands for at this member, and the other way round.
    pub(super) fn partner(self) -> Self {
        match self {
            B => C,
            B2 => C3,
            C | C2 => B,
            C3 => B2,
            other => other,
        }
    }

    pub(super) fn is_client(self) -> bool {
        matches!(self, A | A2 | Stranger)
    }
}

/// Of TCP: flags and numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) flags: u8,
    pub(super) sequence: u32,
    pub(super) acknowledged: u32,
}

/// What a packet carries.
#[derive(Clone, Debug)]
pub(super) enum Upper {
    Tcp(Segment),
    /// With its checksum, or with the 0 that IPv6 does not have.
    Udp(bool),
    Echo {
        reply: bool,
    },
    Sctp,
    Dccp,
    UdpLite,
    /// GRE, ESP, or a number that nobody has.
    Other(u8),
    /// An ICMPv6 message that is neither echo nor error.
    Icmp(u8),
    Mobility(u8),
    Error {
        kind: u8,
        code: u8,
        quote: Box<Body>,
        keep: usize,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Body {
    pub(super) source: Host,
    pub(super) destination: Host,
    pub(super) upper: Upper,
    /// Of the client and of the service.
    pub(super) ports: (u16, u16),
    pub(super) data: usize,
    pub(super) extensions: Vec<(u8, u8)>,
    /// Offset in units of 8 octets, more, and identification.
    pub(super) fragment: Option<(u16, bool, u8)>,
    pub(super) hop_limit: u8,
    /// The checksum becomes 0 when B and C are exchanged.
    pub(super) zero: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) body: Body,
    pub(super) vlans: usize,
    /// Octets that the frame lacks, or has behind its packet.
    pub(super) cut: usize,
    pub(super) padding: usize,
    /// Its checksum is wrong.
    pub(super) damaged: bool,
}

impl Body {
    fn packet(&self, case: u16) -> Packet {
        let (a, b) = self.ports;
        let (from, to) = if self.source.is_client() {
            (a, b)
        } else {
            (b, a)
        };
        let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
        let octets = (1..=u8::MAX).map(|octet| octet.wrapping_mul(7));
        let data: Vec<u8> = octets.cycle().take(self.data).collect();
        let (protocol, head) = match &self.upper {
            Upper::Tcp(segment) => {
                let numbers = [segment.sequence, segment.acknowledged].map(u32::to_be_bytes);
                let rest = [0x50, segment.flags, 0xff, 0xff, 0, 0, 0, 0];
                (TCP, [&ports[..], numbers.as_flattened(), &rest].concat())
            }
            Upper::Udp(_) => {
                let length = u16::try_from(8 + self.data).expect("short");
                (UDP, [&ports[..], &length.to_be_bytes(), &[0, 0]].concat())
            }
            Upper::Echo { reply } => {
                let identifier = a.to_be_bytes();
                let kind = 128 + u8::from(*reply);
                (
                    ICMPV6,
                    vec![kind, 0, 0, 0, identifier[0], identifier[1], 0, 1],
                )
            }
            Upper::Sctp => (SCTP, [&ports[..], &[1, 2, 3, 4, 5, 6, 7, 8]].concat()),
            Upper::Dccp => (DCCP, [&ports[..], &[3, 0, 0x12, 0x34, 4, 0, 0, 7]].concat()),
            Upper::UdpLite => (UDP_LITE, [&ports[..], &[0, 8, 0xab, 0xcd]].concat()),
            Upper::Other(protocol) => (*protocol, Vec::new()),
            Upper::Icmp(kind) => (ICMPV6, vec![*kind, 0, 0, 0, 0, 0, 0, 0]),
            Upper::Mobility(kind) => (
                MOBILITY,
                vec![59, 1, *kind, 0, 0, 0, 0, 0, 7, 7, 7, 7, 7, 7, 7, 7],
            ),
            Upper::Error {
                kind,
                code,
                quote,
                keep,
            } => {
                let mut quoted = quote.packet(case).bytes();
                quoted.truncate(*keep);
                (
                    ICMPV6,
                    [vec![*kind, *code, 0, 0, 0, 0, 5, 0], quoted].concat(),
                )
            }
        };
        let whole = matches!(self.upper, Upper::Error { .. } | Upper::Mobility(_));
        let payload = if whole { head } else { [head, data].concat() };
        let mut packet = Packet::new("::", "::", protocol, payload).with(|p| {
            p.source = self.source.address(case);
            p.destination = self.destination.address(case);
            p.hop_limit = self.hop_limit;
            p.extensions = self
                .extensions
                .iter()
                .map(|&(kind, blocks)| extension(kind, blocks))
                .collect();
        });
        if self.zero {
            self.make_zero(&mut packet, case);
        }
        match self.fragment {
            Some((offset, more, identification)) => packet
                .fragment(offset * 8, more)
                .with(|p| p.extensions.last_mut().expect("it was added").1[7] = identification),
            None => packet,
        }
    }

    /// Finds the two octets of data with which the checksum becomes 0 at the other address.
    fn make_zero(&self, packet: &mut Packet, case: u16) {
        let (at, checksum) = match self.upper {
            Upper::Tcp(_) => (20, 16),
            Upper::Udp(_) => (8, 6),
            Upper::Echo { .. } => (8, 2),
            _ => return,
        };
        if packet.payload.len() < at + 2 {
            return;
        }
        packet.payload[at..at + 2].fill(0);
        let seen = packet.clone().with(|p| {
            p.source = self.source.partner().address(case);
            p.destination = self.destination.partner().address(case);
            p.extensions.clear();
        });
        let sum = seen.bytes()[40 + checksum..40 + checksum + 2].to_vec();
        packet.payload[at..at + 2].copy_from_slice(&sum);
    }
}

/// Of so many octets times eight.
fn extension(kind: u8, blocks: u8) -> (u8, Vec<u8>) {
    let mut header = vec![0; 8 * (usize::from(blocks) + 1)];
    header[1] = blocks;
    // PadN over the rest.
    header[2] = 1;
    header[3] = u8::try_from(header.len() - 4).expect("short");
    (kind, header)
}

impl Frame {
    pub(super) fn bytes(&self, case: u16) -> Vec<u8> {
        let packet = self
            .body
            .packet(case)
            .with(|p| p.vlans = vec![5; self.vlans]);
        let mut frame = packet.frame();
        let transport = frame.len() - packet.payload.len();
        if matches!(self.body.upper, Upper::Udp(false)) && packet.payload.len() >= 8 {
            frame[transport + 6..transport + 8].fill(0);
        }
        if self.damaged {
            let last = frame.len() - 1;
            frame[last] ^= 1;
        }
        frame.truncate(frame.len().saturating_sub(self.cut).max(14));
        frame.resize(frame.len() + self.padding, 0xee);
        frame
    }
}
