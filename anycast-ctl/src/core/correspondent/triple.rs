//! What the addresses of a binding are called together, and their order.

use std::{
    cmp::Ordering,
    hash::{Hash, Hasher},
    net::Ipv6Addr,
};

use crate::core::fleet::Pins;

/// The pair (A, B). One of its bindings steers its new flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    /// The client, A.
    pub(super) client: Ipv6Addr,
    /// The anycast address, B.
    pub(super) anycast: Ipv6Addr,
}

/// The triple (A, B, C) of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Triple {
    /// The client, A.
    pub(super) client: Ipv6Addr,
    /// The anycast address, B.
    pub(super) anycast: Ipv6Addr,
    /// The member's unicast address, C.
    pub(super) care_of: Ipv6Addr,
}

/// The pair (A, C), by which answers come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Back {
    /// The client, A.
    pub(super) client: Ipv6Addr,
    /// The member's unicast address, C.
    pub(super) care_of: Ipv6Addr,
}

impl Pair {
    /// The triple of this pair and the member with `care_of`.
    pub(super) const fn with(self, care_of: Ipv6Addr) -> Triple {
        let Self { client, anycast } = self;
        Triple {
            client,
            anycast,
            care_of,
        }
    }

    /// The triple by which an update without a care-of address is numbered: B is used as C, as in the authenticator.
    pub(super) const fn unnamed(self) -> Triple {
        self.with(self.anycast)
    }
}

impl Triple {
    /// The triple whose flows another gateway tells, or is told.
    pub(super) const fn of(pins: &Pins) -> Self {
        Self {
            client: pins.client,
            anycast: pins.anycast,
            care_of: pins.care_of,
        }
    }

    /// The pair (A, B) of the triple.
    pub(super) const fn pair(self) -> Pair {
        Pair {
            client: self.client,
            anycast: self.anycast,
        }
    }

    /// The pair (A, C) of the triple.
    pub(super) const fn back(self) -> Back {
        Back {
            client: self.client,
            care_of: self.care_of,
        }
    }
}

/// Addresses are compared and hashed as whole numbers, which is their order. That of `Ipv6Addr` goes by groups of 16
/// bits, which takes several times as long, and with a million bindings most of the time that a binding takes.
macro_rules! in_order {
    ($type:ty: $($part:ident),+) => {
        impl Ord for $type {
            fn cmp(&self, other: &Self) -> Ordering {
                [$(self.$part.to_bits()),+].cmp(&[$(other.$part.to_bits()),+])
            }
        }

        impl PartialOrd for $type {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Hash for $type {
            fn hash<H: Hasher>(&self, hasher: &mut H) {
                $(hasher.write_u128(self.$part.to_bits());)+
            }
        }
    };
}

in_order!(Pair: client, anycast);
in_order!(Triple: client, anycast, care_of);
in_order!(Back: client, care_of);
