//! Ports and flags of the transport header, and where its checksum is.

use anycast_common::abi::maps::FlowKey;

use crate::packet::{Bytes, MAX_OFFSET, Upper};

/// Hop-by-Hop Options header (RFC 8200 section 4.3).
pub(crate) const HOP_BY_HOP: u8 = 0;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
const DCCP: u8 = 33;
pub(crate) const ICMPV6: u8 = 58;
const SCTP: u8 = 132;
pub(crate) const MOBILITY: u8 = 135;
pub(crate) const UDP_LITE: u8 = 136;

pub(crate) const ECHO_REQUEST: u8 = 128;
pub(crate) const ECHO_REPLY: u8 = 129;

pub(crate) const TCP_FIN: u8 = 0x01;
pub(crate) const TCP_SYN: u8 = 0x02;
pub(crate) const TCP_RST: u8 = 0x04;
pub(crate) const TCP_ACK: u8 = 0x10;

/// The transport header, as far as flows need it.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct Transport {
    /// Offset in the frame of the checksum that covers the addresses; 0 when there is none.
    pub checksum: usize,
    pub protocol: u8,
    pub source_port: [u8; 2],
    pub destination_port: [u8; 2],
    /// TCP flags; 0 for other protocols.
    pub flags: u8,
    /// An ICMPv6 echo message: its type; 0 for other protocols.
    pub echo: u8,
    pub reserved: u8,
}

impl Transport {
    /// A protocol without ports or checksum.
    #[inline(always)]
    pub(crate) fn of(protocol: u8) -> Self {
        Self {
            checksum: 0,
            protocol,
            source_port: [0; 2],
            destination_port: [0; 2],
            flags: 0,
            echo: 0,
            reserved: 0,
        }
    }

    /// Reads the header. `None`: not a flow that is ever rewritten (Neighbor Discovery, MLD,
    /// mobility, ICMPv6 errors) or cut short.
    #[inline(always)]
    pub(crate) fn read(packet: &impl Bytes, upper: Upper) -> Option<Self> {
        let mut transport = Self::of(upper.protocol);
        match upper.protocol {
            TCP => {
                let header = packet.read::<[u8; 20]>(upper.offset)?;
                transport.ports(header[0], header[1], header[2], header[3]);
                transport.flags = header[13];
                transport.checksum = upper.offset + 16;
            }
            UDP | UDP_LITE => {
                let header = packet.read::<[u8; 8]>(upper.offset)?;
                transport.ports(header[0], header[1], header[2], header[3]);
                transport.checksum = upper.offset + 6;
            }
            DCCP => {
                let header = packet.read::<[u8; 12]>(upper.offset)?;
                transport.ports(header[0], header[1], header[2], header[3]);
                transport.checksum = upper.offset + 6;
            }
            SCTP => {
                // CRC32c over the SCTP packet alone.
                let header = packet.read::<[u8; 12]>(upper.offset)?;
                transport.ports(header[0], header[1], header[2], header[3]);
            }
            ICMPV6 => {
                // Echo: the identifier stands for the client's port.
                let header = packet.read::<[u8; 8]>(upper.offset)?;
                transport.echo = header[0];
                match header[0] {
                    ECHO_REQUEST => transport.source_port = [header[4], header[5]],
                    ECHO_REPLY => transport.destination_port = [header[4], header[5]],
                    _ => return None,
                }
                transport.checksum = upper.offset + 2;
            }
            MOBILITY => return None,
            _ => {}
        }
        Some(transport)
    }

    #[inline(always)]
    fn ports(&mut self, s0: u8, s1: u8, d0: u8, d1: u8) {
        self.source_port = [s0, s1];
        self.destination_port = [d0, d1];
    }

    /// [`Transport::checksum`], of which the verifier can tell that it lies within the headers. The mask stands for a
    /// comparison, which the compiler would merge with the one whether there is a checksum at all.
    #[inline(always)]
    pub(crate) fn place(&self) -> usize {
        self.checksum & MAX_OFFSET
    }

    /// A TCP segment that opens a connection.
    #[inline(always)]
    pub(crate) fn opens(&self) -> bool {
        self.protocol == TCP && self.flags & (TCP_SYN | TCP_ACK) == TCP_SYN
    }

    /// The flow of a packet from the client.
    #[inline(always)]
    pub(crate) fn flow_from_client(&self, client: &[u8; 16], anycast: &[u8; 16]) -> FlowKey {
        FlowKey {
            client: *client,
            anycast: *anycast,
            client_port: self.source_port,
            service_port: self.destination_port,
            protocol: self.protocol,
            reserved: [0; 3],
        }
    }

    /// The flow of a packet to the client.
    #[inline(always)]
    pub(crate) fn flow_to_client(&self, client: &[u8; 16], anycast: &[u8; 16]) -> FlowKey {
        FlowKey {
            client: *client,
            anycast: *anycast,
            client_port: self.destination_port,
            service_port: self.source_port,
            protocol: self.protocol,
            reserved: [0; 3],
        }
    }
}
