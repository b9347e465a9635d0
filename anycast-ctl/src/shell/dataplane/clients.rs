//! Many changes of the entries of a member's clients by few system calls.

use anycast_common::abi::maps::{BindingKey, Client};

use super::{
    access::{octets, pair},
    batch::Batch,
    error::DataplaneError,
    maps::Maps,
};
use crate::core::MapAction;

/// Clients of a call. Between reading their entries and writing them, what the programs note there is lost, so they are
/// fewer than entries of other maps.
const TOGETHER: usize = 32;

/// Whose entry an action changes. `None` for one that changes anything else.
pub(super) fn client_of(action: &MapAction) -> Option<BindingKey> {
    match *action {
        MapAction::QuietClient {
            client, anycast, ..
        }
        | MapAction::LeadClient {
            client, anycast, ..
        } => Some(pair(client, anycast)),
        _ => None,
    }
}

/// A client's entry after an action on it.
pub(super) const fn changed(client: Client, action: &MapAction) -> Client {
    match *action {
        MapAction::QuietClient { until, .. } => Client {
            quiet_until: until.as_nanos(),
            ..client
        },
        MapAction::LeadClient { care_of, until, .. } => Client {
            lead_until: until.as_nanos(),
            care_of: octets(care_of),
            ..client
        },
        _ => client,
    }
}

impl Maps {
    /// Makes changes of entries of clients, in their order. A change that fails stops no other one.
    pub(super) fn write_clients(
        &mut self,
        actions: &[MapAction],
        failed: &mut impl FnMut(&MapAction, DataplaneError),
    ) {
        for together in actions.chunks(TOGETHER) {
            let mut batch = entries(together, |key| self.client(key));
            batch.write("CLIENTS", &mut self.clients, failed);
        }
    }
}

/// The entries after these actions, where `known` says what there is. A handshake that ends makes two changes of one
/// entry, one after the other.
fn entries(
    actions: &[MapAction],
    known: impl Fn(&BindingKey) -> Client,
) -> Batch<'_, BindingKey, Client> {
    let mut batch = Batch::new();
    for action in actions {
        let Some(key) = client_of(action) else {
            continue;
        };
        match batch.last_mut(&key) {
            Some(value) => *value = changed(*value, action),
            None => batch.push(action, (key, changed(known(&key), action))),
        }
    }
    batch
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;
    use crate::core::Time;

    const B: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);
    const C: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, 0xc1);

    fn client(number: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, number)
    }

    #[test]
    fn changes_of_one_client_are_one_entry_and_keep_what_the_programs_noted() {
        let quiet = |number, until| MapAction::QuietClient {
            client: client(number),
            anycast: B,
            until: Time::from_nanos(until),
        };
        let lead = |number, until| MapAction::LeadClient {
            client: client(number),
            anycast: B,
            care_of: C,
            until: Time::from_nanos(until),
        };
        let actions = [quiet(1, 5), quiet(2, 6), lead(1, 7), quiet(1, 8)];
        let noted = Client {
            tried: 3,
            ..Client::UNKNOWN
        };
        let batch = entries(&actions, |_| noted);
        let first = Client {
            quiet_until: 8,
            lead_until: 7,
            care_of: octets(C),
            ..noted
        };
        let second = Client {
            quiet_until: 6,
            ..noted
        };
        let keys = [1, 2].map(|number| pair(client(number), B));
        let expected = [
            (keys[0], first, &actions[0]),
            (keys[1], second, &actions[1]),
        ];
        assert_eq!(batch.waiting().collect::<Vec<_>>(), expected);
    }
}
