//! Settings of the correspondent role.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;

use crate::core::{fleet, flows, rate::Rate};

/// Settings of the correspondent role.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The clients that it answers for.
    pub client_prefixes: Vec<Ipv6Net>,
    /// Largest number of live bindings.
    pub max_bindings: usize,
    /// Largest number of bindings of the clients of one /64.
    pub max_per_prefix: usize,
    /// Largest number of bindings to one care-of address.
    pub max_per_member: usize,
    /// Largest number of pairs (A, C) in the data plane, including those whose flows outlive the binding.
    pub max_care_of: usize,
    /// Anycast prefixes that may be bound. An empty list allows every address.
    pub allow: Vec<Ipv6Net>,
    /// How many messages are answered.
    pub limits: Limits,
    /// When bound flows end.
    pub flows: flows::Limits,
    /// The fleet that this correspondent belongs to.
    pub fleet: Option<fleet::Settings>,
}

/// How many messages a correspondent answers. An answer goes to an address that may be forged. It is one packet for one
/// packet, and hardly larger. The limits bound the work and the reflection.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Test Inits from all sources, and as many Binding Updates.
    pub whole: Rate,
    /// Those from one /64.
    pub per_prefix: Rate,
    /// Those to one client, kept by the data plane.
    pub per_client: Rate,
    /// Those to all clients that sent no packet recently, kept by the data plane.
    pub unsolicited: Rate,
    /// Binding Errors and Parameter Problems (RFC 6275 section 9.3.3, RFC 4443 section 2.4 (f)).
    pub errors: Rate,
    /// Largest number of /64s that are remembered.
    pub max_prefixes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // 100000 clients that are bound anew as soon as they can, each 16 s, are 6250
            // handshakes a second, of two Test Inits and one Binding Update.
            whole: Rate::per_second(20_000, 40_000),
            // All members of a group ask from one address, on behalf of all clients of this correspondent; care-of
            // addresses may be in the same /64.
            per_prefix: Rate::per_second(15_000, 30_000),
            // A host that asks for two dozen anycast addresses in a second.
            per_client: Rate::per_second(50, 100),
            unsolicited: Rate::per_second(1000, 2000),
            errors: Rate::per_second(10, 10),
            max_prefixes: 4096,
        }
    }
}

/// Number of sequence numbers that are remembered for each permitted binding. A binding lasts for 16 seconds, and its
/// number is needed for 240. When older numbers are forgotten earlier, it is enough that nonces, each of which is used
/// for 30 seconds, are younger.
const SEQUENCES: usize = 8;
/// The lowest number of sequence numbers that are remembered, of some 32 octets each.
const LEAST_SEQUENCES: usize = 1 << 16;

impl Settings {
    /// Largest number of sequence numbers that are remembered.
    pub(super) fn sequences(&self) -> usize {
        let many = self.max_bindings.saturating_mul(SEQUENCES);
        many.max(LEAST_SEQUENCES)
    }

    /// Whether `address` is a client of this correspondent.
    pub(super) fn is_client(&self, address: Ipv6Addr) -> bool {
        contains(&self.client_prefixes, address)
    }

    /// Whether `anycast` may be bound.
    pub(super) fn may_bind(&self, anycast: Ipv6Addr) -> bool {
        self.allow.is_empty() || contains(&self.allow, anycast)
    }
}

/// Whether one of these prefixes contains the address. They are compared as whole numbers: the order of `Ipv6Addr`, by
/// which `Ipv6Net` finds it out, goes by groups of 16 bits, and several prefixes are asked for each message.
pub(in crate::core) fn contains(prefixes: &[Ipv6Net], address: Ipv6Addr) -> bool {
    let mut prefixes = prefixes.iter();
    prefixes.any(|prefix| {
        let differ = prefix.addr().to_bits() ^ address.to_bits();
        differ & prefix.netmask().to_bits() == 0
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_what_the_prefix_says(address: u128, bit in 0_u32..128, length in 0_u8..=128) {
            // A prefix around an address that is the same but for one bit.
            let of = Ipv6Addr::from_bits(address ^ (1 << bit));
            let prefix = Ipv6Net::new_assert(of, length);
            for address in [address, address.swap_bytes()].map(Ipv6Addr::from_bits) {
                prop_assert_eq!(contains(&[prefix], address), prefix.contains(&address));
            }
        }
    }
}
