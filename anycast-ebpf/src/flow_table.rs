//! Pinned flows: the map `FLOWS`, by [`anycast_common::abi::flow_table`].

use anycast_common::abi::{
    counters::Counter,
    flow_table::{self, Home, Inserted, Secret, Set},
    maps::{Flow, FlowKey, state, unattended},
};

use crate::{
    count::count,
    maps::{FLOW_SECRET, FLOW_SETS, FLOWS},
};

/// A flow that is pinned.
pub(crate) struct Pinned {
    set: *mut Set,
    number: usize,
    /// To which address. A copy, which stays this flow's whatever becomes of its slot.
    pub care_of: [u8; 16],
    /// What that does to a checksum.
    pub delta: u16,
}

impl Pinned {
    /// What else is known of it.
    #[inline(always)]
    pub(crate) fn flow(&self) -> *mut Flow {
        // SAFETY: the map has the set, and slots live as long as it does.
        unsafe { &raw mut (*flow_table::slot(self.set, self.number)).flow }
    }

    /// Notes that its client was heard.
    #[inline(always)]
    pub(crate) fn heard(&self, now: u64, answered: bool) {
        // SAFETY: as above.
        unsafe { flow_table::heard(self.set, self.number, now, answered) };
    }

    /// Notes that its member was heard.
    #[inline(always)]
    pub(crate) fn answered(&self, now: u64) {
        // SAFETY: as above.
        unsafe { flow_table::answered(self.set, self.number, now) };
    }
}

/// Ends a flow, and its double, should two CPUs have pinned it at once.
///
/// # Safety
///
/// The key must be there.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn end_flow(key: *const FlowKey) -> u32 {
    if key.is_null() {
        return 0;
    }
    // SAFETY: by the caller.
    let key = unsafe { &*key };
    let home = home(key);
    for second in [false, true] {
        if let Some(set) = FLOWS.get_ptr_mut(number(&home, second)) {
            // SAFETY: the map has the set.
            unsafe {
                if let Some(found) = flow_table::find(set, &home, key) {
                    flow_table::end(set, found.number, &home);
                }
            }
        }
    }
    0
}

/// The flow, if it is pinned.
#[inline(always)]
pub(crate) fn find(key: &FlowKey) -> Option<Pinned> {
    let mut care_of = [0; 2];
    // SAFETY: both are there.
    let found = unsafe { find_flow(key, &raw mut care_of) };
    if found == NOWHERE {
        return None;
    }
    Some(Pinned {
        set: FLOWS.get_ptr_mut(found as u32)?,
        number: (found >> NUMBER) as usize,
        // SAFETY: 16 plain octets either way.
        care_of: unsafe { core::mem::transmute::<[u64; 2], [u8; 16]>(care_of) },
        delta: (found >> DELTA) as u16,
    })
}

// Where a flow is, in one register: the number of its set, and from these bits that of its slot, and the
// checksum difference.
const NUMBER: u32 = 32;
const DELTA: u32 = 40;
const NOWHERE: u64 = u64::MAX;

/// A global function, which the verifier follows once, whoever calls it and whatever it finds.
///
/// # Safety
///
/// Both must be there.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn find_flow(key: *const FlowKey, care_of: *mut [u64; 2]) -> u64 {
    // The verifier cannot know that they are there.
    if key.is_null() || care_of.is_null() {
        return NOWHERE;
    }
    // SAFETY: by the caller.
    let key = unsafe { &*key };
    let home = home(key);
    for second in [false, true] {
        let number = number(&home, second);
        let Some(set) = FLOWS.get_ptr_mut(number) else {
            return NOWHERE;
        };
        // SAFETY: the map has the set, and by the caller.
        unsafe {
            if let Some(found) = flow_table::find(set, &home, key) {
                *care_of = found.care_of;
                return u64::from(number)
                    | (found.number as u64) << NUMBER
                    | u64::from(found.delta) << DELTA;
            }
        }
    }
    NOWHERE
}

/// Binds a flow that is in no slot. `how` is one of [`state`].
#[inline(always)]
pub(crate) fn bind(key: &FlowKey, care_of: &[u8; 16], delta: u16, how: u8, now: u64) {
    let what = u64::from(how) << STATE | u64::from(delta);
    // SAFETY: both are there.
    unsafe { bind_flow(key, care_of, what, now) };
}

/// Above the checksum difference.
const STATE: u32 = 16;

/// Likewise a global function.
///
/// # Safety
///
/// Both must be there.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn bind_flow(
    key: *const FlowKey,
    care_of: *const [u8; 16],
    what: u64,
    now: u64,
) -> u32 {
    if key.is_null() || care_of.is_null() {
        return 0;
    }
    // SAFETY: by the caller. Words, because octets would be copied one by one.
    let (key, care_of) = unsafe { (&*key, *care_of.cast::<[u64; 2]>()) };
    let home = home(key);
    let (first, second) = (number(&home, false), number(&home, true));
    let (Some(first), Some(second)) = (FLOWS.get_ptr_mut(first), FLOWS.get_ptr_mut(second)) else {
        return 0;
    };
    let how = (what >> STATE) as u8;
    let led = how == state::BOUND_LED;
    let (last_out, last_in) = if led { (0, now) } else { (now, 0) };
    let flow = Flow {
        // SAFETY: 16 plain octets either way.
        care_of: unsafe { core::mem::transmute::<[u64; 2], [u8; 16]>(care_of) },
        pinned_at: now,
        last_out,
        last_in,
        delta: what as u16,
        client_closed: 0,
        member_closed: 0,
        asked_at: unattended::tick(now),
        unreachable_at: 0,
        tried_at: last_out,
        tried_sequence: 0,
        client_next: 0,
        member_next: 0,
        state: how,
        answered: 0,
        reserved: [0; 2],
    };
    // SAFETY: the map has the sets.
    let inserted = unsafe { flow_table::insert([first, second], &home, key, &flow, now) };
    if inserted == Inserted::Evicted {
        count(Counter::FlowEvicted);
    }
    count(if led {
        Counter::FlowLed
    } else {
        Counter::FlowPinned
    });
    1
}

/// Number of one of the two sets.
#[inline(always)]
fn number(home: &Home, second: bool) -> u32 {
    // Loaded anew each time: there is no room to keep it.
    let sets = FLOW_SETS.load();
    if second {
        home.second(sets)
    } else {
        home.first(sets)
    }
}

#[inline(always)]
fn home(key: &FlowKey) -> Home {
    // SAFETY: that is all that it is. A copy would be one on the stack.
    let secret = unsafe { &*(&raw const FLOW_SECRET).cast::<Secret>() };
    Home::of(key, secret)
}
