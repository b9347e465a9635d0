//! Many changes of the maps of bindings by few system calls. A gateway that takes over a million of them from another
//! would spend as much time on the way into the kernel as there.

use anycast_common::abi::maps::{Binding, BindingKey, CareOf, CareOfKey, Client, FlowKey};
use aya::{Pod, maps::IterableMap as _};
use std::os::fd::AsFd as _;

use super::{
    access::{Hash, octets, pair, set},
    error::DataplaneError,
    maps::Maps,
};
use crate::{core::MapAction, shell::bpf};

/// Entries of a call: so many that it costs each of them little, and so few that they are still in the processor's
/// caches when the kernel reads them. A million wait for nobody else either.
const MOST: usize = 1024;

/// Flows that are looked up before the first of them is written.
const TOGETHER: usize = 32;

/// Clients of a call. Between reading their entries and writing them, what the programs note there is lost, so they are
/// fewer.
const CLIENTS: usize = 32;

/// Entries that wait to be written together, each with the action that wants it.
struct Batch<'a, K, V> {
    keys: Vec<K>,
    values: Vec<V>,
    actions: Vec<&'a MapAction>,
}

impl<'a, K: Pod, V: Pod> Batch<'a, K, V> {
    const fn new() -> Self {
        Self {
            keys: Vec::new(),
            values: Vec::new(),
            actions: Vec::new(),
        }
    }

    fn push(&mut self, action: &'a MapAction, (key, value): (K, V)) {
        self.keys.push(key);
        self.values.push(value);
        self.actions.push(action);
    }

    /// Writes and forgets all entries, in their order. One that the kernel refuses is tried alone, so that its error
    /// is its own, and keeps none of the others from being written.
    fn write(
        &mut self,
        name: &'static str,
        map: &mut Hash<K, V>,
        failed: &mut impl FnMut(&MapAction, DataplaneError),
    ) {
        let mut done = 0;
        while let Some((keys, values)) = self.keys.get(done..).zip(self.values.get(done..))
            && let ([_, ..], [first, ..]) = (keys, values)
        {
            if let [key] = keys {
                if let Err(error) = set(name, map, key, *first) {
                    failed(self.actions[done], error);
                }
                break;
            }
            let descriptor = map.map().fd().as_fd();
            // SAFETY: the map was opened with these types, whose sizes were compared with its own.
            let Err((written, _)) = (unsafe { bpf::update_all(descriptor, keys, values) }) else {
                break;
            };
            done += written;
            if let Err(error) = set(name, map, self.keys[done], self.values[done]) {
                failed(self.actions[done], error);
            }
            done += 1;
        }
        self.keys.clear();
        self.values.clear();
        self.actions.clear();
    }
}

/// Changes of entries of clients that wait to be made together, in their order. A handshake that ends makes two of one
/// entry, one after the other.
struct Clients<'a> {
    changes: Vec<(BindingKey, &'a MapAction)>,
    batch: Batch<'a, BindingKey, Client>,
}

impl<'a> Clients<'a> {
    /// Makes the changes, to what `known` says that there is.
    fn change(&mut self, known: impl Fn(&BindingKey) -> Client) {
        let Self { changes, batch } = self;
        for (key, action) in changes.drain(..) {
            let place = batch.keys.iter().rposition(|waiting| *waiting == key);
            if let Some(value) = place.and_then(|place| batch.values.get_mut(place)) {
                *value = changed(*value, action);
            } else {
                batch.push(action, (key, changed(known(&key), action)));
            }
        }
    }

    fn write(&mut self, maps: &mut Maps, failed: &mut impl FnMut(&MapAction, DataplaneError)) {
        self.change(|key| maps.client(key));
        self.batch.write("CLIENTS", &mut maps.clients, failed);
    }
}

/// What waits: pairs (A, C), bindings, which steer no flow to C before its answers come back, and clients of a member.
struct Waiting<'a> {
    care_of: Batch<'a, CareOfKey, CareOf>,
    bindings: Batch<'a, BindingKey, Binding>,
    clients: Clients<'a>,
}

impl Waiting<'_> {
    fn is_full(&self) -> bool {
        self.care_of.keys.len().max(self.bindings.keys.len()) >= MOST
            || self.clients.changes.len() >= CLIENTS
    }

    fn write(&mut self, maps: &mut Maps, failed: &mut impl FnMut(&MapAction, DataplaneError)) {
        self.care_of.write("CARE_OF", &mut maps.care_of, failed);
        self.bindings.write("BINDINGS", &mut maps.bindings, failed);
        self.clients.write(maps, failed);
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
    /// Changes the maps as [`Maps::apply`] does. An action that fails stops no other one.
    pub fn apply_all(
        &mut self,
        actions: &[MapAction],
        mut failed: impl FnMut(&MapAction, DataplaneError),
    ) {
        let mut waiting = Waiting {
            care_of: Batch::new(),
            bindings: Batch::new(),
            clients: Clients {
                changes: Vec::new(),
                batch: Batch::new(),
            },
        };
        for (number, action) in actions.iter().enumerate() {
            if number % TOGETHER == 0 {
                let together = actions.iter().skip(number).take(TOGETHER);
                self.flows.look_up(together.filter_map(adopted));
            }
            let result = match *action {
                MapAction::SetCareOf {
                    client,
                    care_of,
                    anycast,
                    expires,
                } => self
                    .way_back(client, care_of, anycast, expires)
                    .map(|entry| waiting.care_of.push(action, entry)),
                MapAction::SetBinding {
                    client,
                    anycast,
                    care_of,
                    expires,
                } => self
                    .steering(client, anycast, care_of, expires)
                    .map(|entry| waiting.bindings.push(action, entry)),
                MapAction::QuietClient {
                    client, anycast, ..
                }
                | MapAction::LeadClient {
                    client, anycast, ..
                } => {
                    let change = (pair(client, anycast), action);
                    waiting.clients.changes.push(change);
                    Ok(())
                }
                _ => {
                    waiting.write(self, &mut failed);
                    self.apply(action)
                }
            };
            if let Err(error) = result {
                failed(action, error);
            }
            if waiting.is_full() {
                waiting.write(self, &mut failed);
            }
        }
        waiting.write(self, &mut failed);
    }
}

/// The flow that an action takes over from another gateway.
const fn adopted(action: &MapAction) -> Option<&FlowKey> {
    match action {
        MapAction::AdoptFlow { key, .. } => Some(key),
        _ => None,
    }
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
        let mut clients = Clients {
            changes: Vec::new(),
            batch: Batch::new(),
        };
        for (action, number) in actions.iter().zip([1, 2, 1, 1]) {
            clients.changes.push((pair(client(number), B), action));
        }
        let noted = Client {
            tried: 3,
            ..Client::UNKNOWN
        };
        clients.change(|_| noted);
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
        assert_eq!(clients.batch.values, [first, second]);
        assert_eq!(
            clients.batch.keys,
            [1, 2].map(|number| pair(client(number), B))
        );
        assert_eq!(clients.batch.actions, [&actions[0], &actions[1]]);
        assert!(clients.changes.is_empty());
    }
}
