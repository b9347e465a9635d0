//! The table of pinned flows. This process maps it into its memory, and reads and writes it in the same way as the
//! programs.

use std::{io, os::fd::AsFd};

use anycast_common::abi::{
    flow_table::{self, Home, SLOTS, Secret, Set, class},
    globals,
    maps::{Flow, FlowKey, state},
    roles::CORRESPONDENT,
};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Map, MapData, MapInfo},
};
use rand::{TryRng as _, rngs::SysRng};

use super::{
    access::failed, error::DataplaneError, flow_memory::Memory, needed::FLOWS as MAP, pace::Pace,
    pins::Pins,
};
use crate::model::sizes::Sizes;

/// A flow that was silent for so many nanoseconds while another gateway saw one of the same ends with another member is
/// not that one.
const SILENT: u64 = 60_000_000_000;
/// Sets that are read between two looks at whether others want the processor. They take a tenth of a millisecond.
const STEP: u32 = 256;

/// What the programs have to know about the table before it exists.
pub(super) struct Keeper {
    sets: u32,
    secret: Secret,
}

impl Keeper {
    /// Uses the table of an earlier run if it is pinned, or else makes a new one.
    pub(super) fn new(
        sizes: &Sizes,
        roles: u8,
        pins: Option<&Pins>,
    ) -> Result<Self, DataplaneError> {
        let path = pins.and_then(|pins| {
            let maps = pins.maps(roles);
            maps.into_iter().find(|(map, _)| *map == MAP)
        });
        // A table that was never marked as ready was never used.
        if let Some((_, path)) = path
            && let Ok(info) = MapInfo::from_pin(path)
        {
            let fd = info.fd().map_err(failed(MAP))?;
            let memory = Memory::map(fd.as_fd(), info.max_entries())?;
            let sets = memory.entries - 1;
            let secret = memory.secret();
            return Ok(Self {
                sets,
                secret: secret.map_or_else(new_secret, Ok)?,
            });
        }
        let sets = match roles & CORRESPONDENT {
            0 => 0,
            _ => flow_table::sets(sizes.flows),
        };
        Ok(Self {
            sets,
            secret: new_secret()?,
        })
    }

    pub(super) fn set<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        loader
            .override_global(globals::FLOW_SETS, &self.sets, true)
            .override_global(globals::FLOW_SECRET, &self.secret, true);
    }

    /// Gives the table, ready for the programs.
    pub(super) fn take(&self, ebpf: &mut Ebpf) -> Result<FlowTable, DataplaneError> {
        let Some(Map::Array(data)) = ebpf.take_map(MAP) else {
            return Err(DataplaneError::Missing(MAP));
        };
        let entries = data.info().map_err(failed(MAP))?.max_entries();
        let memory = Memory::map(data.fd().as_fd(), entries)?;
        memory.set_secret(self.secret);
        Ok(FlowTable {
            memory,
            secret: self.secret,
            _map: data,
        })
    }
}

fn new_secret() -> Result<Secret, DataplaneError> {
    let mut secret = Secret::default();
    for word in &mut secret {
        *word = SysRng.try_next_u64().map_err(io::Error::other)?;
    }
    Ok(secret)
}

/// In which of its sets a flow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    First,
    Second,
}

/// The table of pinned flows.
#[derive(Debug)]
pub(super) struct FlowTable {
    memory: Memory,
    secret: Secret,
    /// The map is kept open, since programs that are loaded later get it by its file descriptor.
    _map: MapData,
}

impl FlowTable {
    /// Remembers a flow, or replaces what is known of it.
    pub(super) fn set(&self, key: &FlowKey, flow: &Flow) {
        self.remove(key);
        self.add(&self.home(key), key, flow);
    }

    /// Remembers a flow that is not in the table.
    fn add(&self, home: &Home, key: &FlowKey, flow: &Flow) {
        let class = match flow.state {
            state if state::is_open(state) => class::OPEN,
            _ if flow.answered == 0 => class::ONCE,
            _ => class::of(key.protocol),
        };
        if let [Some(first), Some(second)] = self.sets_of(home) {
            let now = flow.last_out.max(flow.last_in);
            // SAFETY: the sets exist, since the table's own size gave their numbers.
            unsafe { flow_table::insert([first, second], home, key, flow, class, now) };
        }
    }

    /// Looks where these flows may be. The table fits no cache of a processor: these looks wait for memory all at once,
    /// and those of what is then done with each flow one after the other.
    pub(super) fn look_up<'a>(&self, keys: impl Iterator<Item = &'a FlowKey>) {
        for set in keys.flat_map(|key| self.sets_of(&self.home(key))).flatten() {
            // SAFETY: the set exists.
            let _ = unsafe { flow_table::is_free(set, 0) };
        }
    }

    /// Takes over what another gateway knows of a bound flow. A flow that is bound here stays with its member, unless
    /// that never answered it and the other did. Gives whether its packets may go another way now.
    pub(super) fn adopt(&self, key: &FlowKey, theirs: &Flow) -> bool {
        let home = self.home(key);
        let Some((set, number, ours)) = self.find_at(&home, key) else {
            self.add(&home, key, theirs);
            return true;
        };
        // Another gateway, which has not seen a member open it from C, may take it for one that is led to C.
        if ours.state == state::OWN && theirs.answered == 0 {
            return false;
        }
        let over = |flow: &Flow| flow.client_closed & flow.member_closed != 0;
        let anew = over(&ours) && !over(theirs) && theirs.last_out > ours.last_out;
        if state::is_open(ours.state) || anew {
            self.set(key, theirs);
            return true;
        }
        if ours.care_of != theirs.care_of {
            // Or it is another flow between the same ends, of which the other gateway alone saw the beginning.
            let silent = ours.last_out.max(ours.last_in).saturating_add(SILENT);
            let later = theirs.last_out.max(theirs.last_in) > silent;
            let moves = (ours.answered == 0 || later) && theirs.answered != 0;
            if moves {
                self.set(key, theirs);
            }
            return moves;
        }
        // SAFETY: the set exists, and others write plain integers of the same slot at the same time, as programs do.
        unsafe {
            let flow = &raw mut (*flow_table::slot(set, number)).flow;
            let last_out = ours.last_out.max(theirs.last_out);
            let last_in = ours.last_in.max(theirs.last_in);
            (*flow).last_out = last_out;
            (*flow).last_in = last_in;
            (*flow).client_closed |= theirs.client_closed;
            (*flow).member_closed |= theirs.member_closed;
            if ours.tried == 0 && theirs.tried != 0 {
                (*flow).tried_sequence = theirs.tried_sequence;
                (*flow).client_next = theirs.client_next;
                (*flow).tried = 1;
            }
            if ours.answered == 0 && proves(&ours, theirs) {
                (*flow).answered = 1;
                flow_table::rank(set, number, class::of(key.protocol));
            }
            // What others heard may be older than what was heard here.
            flow_table::heard(set, number, last_out.max(last_in));
        }
        false
    }

    /// Makes a flow open that is bound to this address and was never answered. Gives whether it did.
    pub(super) fn open(&self, key: &FlowKey, care_of: [u8; 16]) -> bool {
        let Some((set, number, flow)) = self.find(key) else {
            return false;
        };
        let unproven = flow.care_of == care_of && flow.answered == 0;
        if unproven && !state::is_open(flow.state) {
            // SAFETY: the set exists.
            unsafe { flow_table::open(set, number, &self.home(key)) };
        }
        unproven
    }

    /// Removes the pin of a flow, if it has one.
    pub(super) fn remove(&self, key: &FlowKey) {
        self.remove_if(key, |_| true);
    }

    /// Removes the pin of a flow if `same` accepts its present state. Gives whether the pin was removed.
    pub(super) fn remove_if(&self, key: &FlowKey, same: impl Fn(&Flow) -> bool) -> bool {
        let mut removed = false;
        // Two CPUs may have pinned the flow at the same time, so that it is there twice.
        let home = self.home(key);
        for _ in 0..2 {
            let found = self.find_at(&home, key);
            let Some((set, number, _)) = found.filter(|(.., flow)| same(flow)) else {
                break;
            };
            // SAFETY: the set exists.
            unsafe { flow_table::end(set, number, &home) };
            removed = true;
        }
        removed
    }

    /// How many flows fit, where they spread evenly.
    pub(super) fn room(&self) -> usize {
        usize::try_from(self.sets()).unwrap_or(usize::MAX) * SLOTS
    }

    /// Gives those that were in use at this time of the kernel's clock or later, and others by chance. Most of a large
    /// table is not read for that: the head of a set says to the second when its flows were in use. Flows that are
    /// pinned or end meanwhile may be missed. One that two CPUs pinned at the same time may be there twice: then that
    /// which is not in its first set is [`Place::Second`], and does not count. `wanted` says by its state whether a
    /// flow is wanted, and is also asked about some that are being written.
    pub(super) fn since(
        &self,
        time: u64,
        pace: &mut Pace,
        mut wanted: impl FnMut(u8) -> bool,
        mut found: impl FnMut(Place, FlowKey, Flow),
    ) {
        let sets = self.sets();
        for number in 0..sets {
            let Some(set) = self.memory.set(number) else {
                continue;
            };
            if number.is_multiple_of(STEP) {
                pace.step();
            }
            for slot in 0..SLOTS {
                // SAFETY: the set exists.
                let known = unsafe { self.used_since(time, set, slot, &mut wanted) };
                if let Some((home, key, flow)) = known {
                    match number == home.first(sets) {
                        true => found(Place::First, key, flow),
                        false if number == home.second(sets) => found(Place::Second, key, flow),
                        false => {}
                    }
                }
            }
        }
    }

    /// The flow in a slot, as the programs see it, if it was in use at this time or later. A slot that is being written
    /// does not count.
    ///
    /// # Safety
    ///
    /// `set` must point to a set of the table.
    unsafe fn used_since(
        &self,
        time: u64,
        set: *mut Set,
        number: usize,
        wanted: impl FnOnce(u8) -> bool,
    ) -> Option<(Home, FlowKey, Flow)> {
        // SAFETY: by the caller.
        unsafe {
            let is_silent = || time != 0 && flow_table::silent(set, number, time) != 0;
            if flow_table::is_free(set, number) || is_silent() {
                return None;
            }
            let slot = flow_table::slot(set, number);
            let flow = &raw const (*slot).flow;
            let used = (&raw const (*flow).last_out).read_volatile();
            let used = used.max((&raw const (*flow).last_in).read_volatile());
            if used.max((&raw const (*flow).pinned_at).read_volatile()) < time {
                return None;
            }
            if !wanted((&raw const (*flow).state).read_volatile()) {
                return None;
            }
            let key = (&raw const (*slot).key).read_volatile();
            let home = self.home(&key);
            if flow_table::find(set, &home, &key)?.number != number {
                return None;
            }
            let slot = slot.read_volatile();
            (slot.key == key && slot.is_whole(&home)).then_some((home, key, slot.flow))
        }
    }

    /// Position and state of a flow, if it is pinned.
    fn find(&self, key: &FlowKey) -> Option<(*mut Set, usize, Flow)> {
        self.find_at(&self.home(key), key)
    }

    fn find_at(&self, home: &Home, key: &FlowKey) -> Option<(*mut Set, usize, Flow)> {
        self.sets_of(home).into_iter().flatten().find_map(|set| {
            // SAFETY: the set exists.
            unsafe {
                let found = flow_table::find(set, home, key)?;
                let slot = flow_table::slot(set, found.number).read_volatile();
                (slot.key == *key && slot.is_whole(home)).then_some((set, found.number, slot.flow))
            }
        })
    }

    fn sets_of(&self, home: &Home) -> [Option<*mut Set>; 2] {
        let sets = self.sets();
        [home.first(sets), home.second(sets)].map(|number| self.memory.set(number))
    }

    fn home(&self, key: &FlowKey) -> Home {
        Home::of(key, &self.secret)
    }

    fn sets(&self) -> u32 {
        self.memory.entries - 1
    }
}

/// Whether another gateway has seen the member answer: it says so, or packets of the member pass there and those of the
/// client here, where the first of the flow went to the member already. What was bound in mid-stream needs the former.
fn proves(ours: &Flow, theirs: &Flow) -> bool {
    let first = ours.state == state::BOUND_FIRST && theirs.last_in >= ours.pinned_at;
    theirs.answered != 0 || first && theirs.last_in != 0
}
