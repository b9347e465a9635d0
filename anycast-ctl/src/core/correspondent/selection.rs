//! Which bindings and flows are meant.

use std::net::Ipv6Addr;

/// Selects bindings and flows, by the addresses that are given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The client, A.
    pub client: Option<Ipv6Addr>,
    /// The anycast address, B.
    pub anycast: Option<Ipv6Addr>,
    /// The member's unicast address, C.
    pub care_of: Option<Ipv6Addr>,
}

impl Selection {
    /// Selects all bindings and flows of a care-of address.
    pub(super) fn of(care_of: Ipv6Addr) -> Self {
        Self {
            care_of: Some(care_of),
            ..Self::default()
        }
    }

    /// Whether a binding or flow is selected.
    #[must_use]
    pub fn holds(&self, client: Ipv6Addr, anycast: Ipv6Addr, care_of: Ipv6Addr) -> bool {
        let is = |wanted: Option<Ipv6Addr>, address| wanted.is_none_or(|wanted| wanted == address);
        is(self.client, client) && is(self.anycast, anycast) && is(self.care_of, care_of)
    }
}
