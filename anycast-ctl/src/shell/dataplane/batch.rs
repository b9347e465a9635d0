//! Many changes of the maps of bindings by few system calls. A gateway that takes over a million of them from another
//! would spend as much time on the way into the kernel as there.

use anycast_common::abi::maps::{Binding, BindingKey, CareOf, CareOfKey, FlowKey};
use aya::{Pod, maps::IterableMap as _};
use std::os::fd::AsFd as _;

use super::{
    access::{Hash, set},
    error::DataplaneError,
    maps::Maps,
};
use crate::{core::MapAction, shell::bpf};

/// Entries of a call: so many that it costs each of them little, and so few that they are still in the processor's
/// caches when the kernel reads them. A million wait for nobody else either.
const MOST: usize = 1024;

/// Flows that are looked up before the first of them is written.
const TOGETHER: usize = 32;

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

/// What waits: pairs (A, C), and bindings, which steer no flow to C before its answers come back.
struct Waiting<'a> {
    care_of: Batch<'a, CareOfKey, CareOf>,
    bindings: Batch<'a, BindingKey, Binding>,
}

impl Waiting<'_> {
    fn most(&self) -> usize {
        self.care_of.keys.len().max(self.bindings.keys.len())
    }

    fn write(&mut self, maps: &mut Maps, failed: &mut impl FnMut(&MapAction, DataplaneError)) {
        self.care_of.write("CARE_OF", &mut maps.care_of, failed);
        self.bindings.write("BINDINGS", &mut maps.bindings, failed);
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
                _ => {
                    waiting.write(self, &mut failed);
                    self.apply(action)
                }
            };
            if let Err(error) = result {
                failed(action, error);
            }
            if waiting.most() >= MOST {
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
