//! What both sides of the kernel boundary must agree on.
//!
//! [`wire`] is the bytes on the network: IPv6, MLD (RFC 2710) carrying anycast addresses
//! (draft-haberman-ipngwg-host-anycast) and the Mobility Header (RFC 6275) carrying anycast bindings
//! (draft-haberman-ipv6-anycast-rr). [`abi`] is the bytes between the eBPF programs and the
//! controller: map keys and values, ring-buffer records and counters.
#![no_std]

pub mod abi;
pub mod wire;
