//! Many changes of the maps of bindings by few system calls. A gateway that takes over a million of them from another
//! would spend as much time on the way into the kernel as there.

use std::{os::fd::AsFd as _, sync::Arc};

use anycast_common::abi::maps::{Binding, BindingKey, CareOf, CareOfKey, FlowKey};
use aya::{Pod, maps::IterableMap as _};
use nix::libc::ENOENT;

use super::{
    access::{Hash, remove, set},
    entry::Entry,
    error::DataplaneError,
    flow_table::FlowTable,
};
use crate::{core::MapAction, shell::bpf};

/// Entries of a call: so many that it costs each of them little, and so few that they are still in the processor's
/// caches when the kernel reads them. A million wait for nobody else either.
const MOST: usize = 1024;

/// Flows that are looked up before the first of them is written.
const TOGETHER: usize = 32;

/// The maps that are written.
pub(super) struct Tables<'a> {
    pub(super) care_of: &'a mut Hash<CareOfKey, CareOf>,
    pub(super) bindings: &'a mut Hash<BindingKey, Binding>,
    pub(super) flows: &'a Arc<FlowTable>,
}

impl Tables<'_> {
    /// Makes changes that are [entries](Entry), in their order as far as it matters: a pair (A, C) is there before what
    /// steers flows to C, and as long as it. A change that fails stops no other one. Gives whether packets of a flow
    /// may go another way now than what is cached says.
    pub(super) fn write(
        &mut self,
        actions: &[&MapAction],
        mut failed: impl FnMut(&MapAction, DataplaneError),
    ) -> bool {
        let mut turned = false;
        let mut waiting = Waiting::new();
        for together in actions.chunks(TOGETHER) {
            self.flows
                .look_up(together.iter().copied().filter_map(adopted));
            for action in together {
                match Entry::of(action) {
                    Some(Entry::CareOf(entry)) => {
                        waiting.adds(self, &mut failed);
                        waiting.care_of.push(action, entry);
                    }
                    Some(Entry::Binding(entry)) => {
                        waiting.adds(self, &mut failed);
                        waiting.bindings.push(action, entry);
                    }
                    Some(Entry::NoCareOf(key)) => {
                        waiting.removes(self, &mut failed);
                        waiting.no_care_of.push(action, (key, ()));
                    }
                    Some(Entry::NoBinding(key)) => {
                        waiting.removes(self, &mut failed);
                        waiting.no_bindings.push(action, (key, ()));
                    }
                    Some(Entry::Flow(key, flow)) => {
                        waiting.write(self, &mut failed);
                        turned |= self.flows.adopt(&key, &flow);
                    }
                    None => {}
                }
                if waiting.most() >= MOST {
                    waiting.write(self, &mut failed);
                }
            }
        }
        waiting.write(self, &mut failed);
        turned
    }
}

/// The flow that an action takes over from another gateway.
const fn adopted(action: &MapAction) -> Option<&FlowKey> {
    match action {
        MapAction::AdoptFlow { key, .. } => Some(key),
        _ => None,
    }
}

/// Entries that wait to be changed together, each with the action that wants it.
pub(super) struct Batch<'a, K, V> {
    keys: Vec<K>,
    values: Vec<V>,
    actions: Vec<&'a MapAction>,
}

impl<'a, K: Pod, V> Batch<'a, K, V> {
    pub(super) const fn new() -> Self {
        Self {
            keys: Vec::new(),
            values: Vec::new(),
            actions: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, action: &'a MapAction, (key, value): (K, V)) {
        self.keys.push(key);
        self.values.push(value);
        self.actions.push(action);
    }

    /// What is to be written of this key, if that waits already.
    pub(super) fn last_mut(&mut self, key: &K) -> Option<&mut V>
    where
        K: PartialEq,
    {
        let place = self.keys.iter().rposition(|waiting| waiting == key)?;
        self.values.get_mut(place)
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> impl Iterator<Item = (K, V, &'a MapAction)>
    where
        V: Copy,
    {
        let entries = self.keys.iter().zip(&self.values).zip(&self.actions);
        entries.map(|((key, value), action)| (*key, *value, *action))
    }

    fn clear(&mut self) {
        self.keys.clear();
        self.values.clear();
        self.actions.clear();
    }
}

impl<K: Pod, V: Pod> Batch<'_, K, V> {
    /// Writes and forgets all entries, in their order. One that the kernel refuses is tried alone, so that its error
    /// is its own, and keeps none of the others from being written.
    pub(super) fn write(
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
        self.clear();
    }
}

impl<K: Pod> Batch<'_, K, ()> {
    /// Removes and forgets all entries. One that is not there is no error, and one that the kernel refuses is tried
    /// alone, as above.
    fn remove<V: Pod>(
        &mut self,
        name: &'static str,
        map: &mut Hash<K, V>,
        failed: &mut impl FnMut(&MapAction, DataplaneError),
    ) {
        let mut done = 0;
        while let Some(keys @ [_, ..]) = self.keys.get(done..) {
            let descriptor = map.map().fd().as_fd();
            // SAFETY: the map was opened with this type, whose size was compared with its own.
            let Err((removed, error)) = (unsafe { bpf::remove_all(descriptor, keys) }) else {
                break;
            };
            done += removed;
            if error.raw_os_error() != Some(ENOENT)
                && let Err(error) = remove(name, map, &self.keys[done])
            {
                failed(self.actions[done], error);
            }
            done += 1;
        }
        self.clear();
    }
}

/// What waits: pairs (A, C), and bindings, which steer no flow to C before its answers come back; or what is to go, in
/// the other order.
struct Waiting<'a> {
    care_of: Batch<'a, CareOfKey, CareOf>,
    bindings: Batch<'a, BindingKey, Binding>,
    no_bindings: Batch<'a, BindingKey, ()>,
    no_care_of: Batch<'a, CareOfKey, ()>,
}

impl Waiting<'_> {
    const fn new() -> Self {
        Self {
            care_of: Batch::new(),
            bindings: Batch::new(),
            no_bindings: Batch::new(),
            no_care_of: Batch::new(),
        }
    }

    fn most(&self) -> usize {
        let sets = self.care_of.keys.len().max(self.bindings.keys.len());
        let removes = self.no_care_of.keys.len().max(self.no_bindings.keys.len());
        sets.max(removes)
    }

    /// Something is to be added. What is to go goes first, as it may be the same.
    fn adds(
        &mut self,
        tables: &mut Tables<'_>,
        failed: &mut impl FnMut(&MapAction, DataplaneError),
    ) {
        if !self.no_bindings.keys.is_empty() || !self.no_care_of.keys.is_empty() {
            self.write(tables, failed);
        }
    }

    /// Something is to go. What is to be added is there first.
    fn removes(
        &mut self,
        tables: &mut Tables<'_>,
        failed: &mut impl FnMut(&MapAction, DataplaneError),
    ) {
        if !self.care_of.keys.is_empty() || !self.bindings.keys.is_empty() {
            self.write(tables, failed);
        }
    }

    fn write(
        &mut self,
        tables: &mut Tables<'_>,
        failed: &mut impl FnMut(&MapAction, DataplaneError),
    ) {
        self.care_of.write(CARE_OF, tables.care_of, failed);
        self.bindings.write(BINDINGS, tables.bindings, failed);
        self.no_bindings.remove(BINDINGS, tables.bindings, failed);
        self.no_care_of.remove(CARE_OF, tables.care_of, failed);
    }
}

pub(super) const CARE_OF: &str = "CARE_OF";
pub(super) const BINDINGS: &str = "BINDINGS";
