//! The answer to a Test Init, and what it is made of.

use anycast_common::abi::maps::NodeKey;

use crate::{packet::Ipv6, sha1::Sha1};

/// A frame with a Home or Care-of Test (RFC 6275 sections 6.1.5 and 6.1.6). Its words are not aligned.
#[repr(C, packed(2))]
#[derive(Clone, Copy)]
pub struct Frame {
    pub ethernet_destination: [u16; 3],
    pub ethernet_source: [u16; 3],
    pub ethertype: u16,
    pub(crate) ip: Ipv6,
    pub payload_proto: u8,
    pub header_len: u8,
    pub mh_type: u8,
    pub reserved: u8,
    pub checksum: u16,
    pub nonce_index: [u8; 2],
    pub cookie: [u32; 2],
    pub token: [u32; 2],
}

/// Where an answer is made.
#[repr(C, align(8))]
pub struct Answer {
    pub key: NodeKey,
    pub sha1: Sha1,
    pub frame: Frame,
    pub reserved: u16,
}
