//! What an ICMPv6 error quotes.

use crate::transport::Transport;

/// The packet that an error quotes.
#[repr(C, align(8))]
pub struct Quote {
    pub source: [u8; 16],
    pub destination: [u8; 16],
    /// Offset of its IPv6 header in the frame.
    pub offset: usize,
    /// Of a later fragment, the protocol alone.
    pub transport: Transport,
    /// That of the fragments of its packet, network order.
    pub identification: u32,
    /// It is a later fragment, which has no ports.
    pub later: bool,
    pub reserved: [u8; 3],
}
