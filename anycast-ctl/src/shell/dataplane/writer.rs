//! A thread that changes entries of maps while the daemon's loop goes on: a gateway that takes over a million bindings
//! and flows from another needs as much time to enter them into the maps as the core does to take them.
//!
//! Changes are made in the order in which they are given. Who needs to find them in the maps waits for them.

use std::{
    io, mem,
    os::fd::AsFd as _,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{SendError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use anycast_common::abi::maps::{Binding, BindingKey, CareOf, CareOfKey};
use aya::{
    Pod,
    maps::{HashMap, IterableMap as _, Map, MapData},
};

use super::{
    access::{Hash, failed},
    batch::{BINDINGS, CARE_OF, Tables},
    error::DataplaneError,
};
use crate::core::MapAction;

/// Parts of the changes that wait. Who has more waits until there is room, so they take little memory.
const WAITING: usize = 4;

/// A change that failed.
pub(super) type Failed = (MapAction, DataplaneError);

/// How much is not done yet, and what has failed.
#[derive(Debug, Default)]
pub(super) struct Pending {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Parts that were given and are not in the maps.
    parts: usize,
    failed: Vec<Failed>,
    /// Whether packets of a flow may go another way since then than what is cached says.
    turned: bool,
}

impl Pending {
    /// Waits until all that was given is in the maps.
    pub(super) fn wait(&self) {
        let state = self.lock();
        let done = self.changed.wait_while(state, |state| state.parts > 0);
        drop(done.unwrap_or_else(PoisonError::into_inner));
    }

    /// What has failed since the last time.
    pub(super) fn failed(&self) -> Vec<Failed> {
        mem::take(&mut self.lock().failed)
    }

    /// Whether what is cached has to end, since the last time.
    pub(super) fn turned(&self) -> bool {
        mem::take(&mut self.lock().turned)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Changes that are made one after the other. They count as pending until this is dropped, whatever becomes of the
/// thread.
pub(super) struct Part {
    actions: Vec<MapAction>,
    written: bool,
    turned: bool,
    failed: Vec<Failed>,
    pending: Arc<Pending>,
}

impl Part {
    fn new(actions: Vec<MapAction>, pending: &Arc<Pending>) -> Self {
        pending.lock().parts += 1;
        Self {
            actions,
            written: false,
            turned: false,
            failed: Vec::new(),
            pending: Arc::clone(pending),
        }
    }

    fn write(&mut self, tables: &mut Tables<'_>) {
        let actions: Vec<_> = self.actions.iter().collect();
        let failed = &mut self.failed;
        self.turned = tables.write(&actions, |action, error| {
            failed.push((action.clone(), error));
        });
        self.written = true;
    }

    /// Gives the changes back, for somebody else to make them.
    fn take(mut self) -> Vec<MapAction> {
        mem::take(&mut self.actions)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.written {
            let aborted = || {
                let error = io::Error::other("the thread that writes maps has aborted");
                failed(CARE_OF)(error.into())
            };
            let lost = self.actions.drain(..);
            self.failed.extend(lost.map(|action| (action, aborted())));
        }
        let mut state = self.pending.lock();
        state.parts -= 1;
        state.failed.append(&mut self.failed);
        state.turned |= self.turned;
        self.pending.changed.notify_all();
    }
}

/// The thread. It begins with the first part, and ends with this when all is done.
#[derive(Default)]
pub(super) enum Writer {
    #[default]
    NotYet,
    Runs {
        parts: Option<SyncSender<Part>>,
        thread: Option<JoinHandle<()>>,
    },
    /// There is none, and all is done at once.
    Missing,
}

impl Writer {
    fn start(tables: &Tables<'_>) -> Result<Self, DataplaneError> {
        let mut care_of: Hash<CareOfKey, CareOf> = again(CARE_OF, tables.care_of)?;
        let mut bindings: Hash<BindingKey, Binding> = again(BINDINGS, tables.bindings)?;
        let flows = Arc::clone(tables.flows);
        let (parts, given) = sync_channel::<Part>(WAITING);
        let run = move || {
            let mut tables = Tables {
                care_of: &mut care_of,
                bindings: &mut bindings,
                flows: &flows,
            };
            for mut part in given {
                part.write(&mut tables);
            }
        };
        let thread = thread::Builder::new().name("maps".to_owned()).spawn(run);
        let thread = thread.map_err(|error| failed(CARE_OF)(error.into()))?;
        Ok(Self::Runs {
            parts: Some(parts),
            thread: Some(thread),
        })
    }

    /// Has the thread make these changes, each of one entry of these maps. Gives them back where there is none.
    pub(super) fn write(
        &mut self,
        actions: Vec<MapAction>,
        tables: &Tables<'_>,
        pending: &Arc<Pending>,
    ) -> Result<(), Vec<MapAction>> {
        if matches!(self, Self::NotYet) {
            *self = Self::start(tables).unwrap_or_else(|error| {
                tracing::warn!(%error, "no thread writes maps: the loop does it");
                Self::Missing
            });
        }
        let Self::Runs {
            parts: Some(parts), ..
        } = self
        else {
            return Err(actions);
        };
        let given = parts.send(Part::new(actions, pending));
        given.map_err(|SendError(part)| {
            *self = Self::Missing;
            part.take()
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Self::Runs { parts, thread } = self {
            *parts = None;
            if thread.take().is_some_and(|thread| thread.join().is_err()) {
                tracing::error!("the thread that writes maps has aborted");
            }
        }
    }
}

/// The same map once more, for another thread.
fn again<K: Pod, V: Pod>(
    name: &'static str,
    map: &Hash<K, V>,
) -> Result<Hash<K, V>, DataplaneError> {
    let descriptor = map.map().fd().as_fd().try_clone_to_owned();
    let descriptor = descriptor.map_err(|error| failed(name)(error.into()))?;
    let data = MapData::from_fd(descriptor).map_err(failed(name))?;
    HashMap::try_from(Map::HashMap(data)).map_err(failed(name))
}
