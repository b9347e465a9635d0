//! Flows: the map `FLOWS`, by [`anycast_common::abi::flow_table`].

use anycast_common::abi::{
    counters::Counter,
    flow_table::{self, Home, Inserted, Secret, Set, class},
    maps::{Flow, FlowKey, mixed, state, unattended},
};

use crate::{
    count::count,
    fast::both,
    flow_cache, hints,
    limit::now,
    maps::{FLOW_SECRET, FLOW_SETS, FLOWS},
    sketch::words,
    transport::TCP,
};

/// A flow that is remembered.
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

    /// Whether no packet of it is changed.
    #[inline(always)]
    pub(crate) fn is_open(&self) -> bool {
        let [high, low] = words(&self.care_of);
        high | low == 0
    }

    /// Whether a member opened it from C.
    #[inline(always)]
    pub(crate) fn is_own(&self) -> bool {
        // SAFETY: the memory of a slot stays mapped; it is one octet.
        unsafe { (*self.flow()).state == state::OWN }
    }

    /// Whether its member has answered by C.
    #[inline(always)]
    pub(crate) fn is_answered(&self) -> bool {
        // SAFETY: as above.
        unsafe { (*self.flow()).answered != 0 }
    }

    /// Notes that something was heard of it.
    #[inline(always)]
    pub(crate) fn heard(&self, now: u64) {
        // SAFETY: as above.
        unsafe { flow_table::heard(self.set, self.number, now) };
    }

    /// For how many ticks nothing was heard of it.
    #[inline(always)]
    pub(crate) fn silent(&self, now: u64) -> u32 {
        // SAFETY: as above.
        unsafe { flow_table::silent(self.set, self.number, now) }
    }

    /// Puts it into one of the classes of flows.
    #[inline(always)]
    pub(crate) fn rank(&self, class: u8) {
        // SAFETY: as above.
        unsafe { flow_table::rank(self.set, self.number, class) };
    }
}

/// Ends a flow, and its double, should two CPUs have kept it at once. A global function.
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
    // SAFETY: by the caller; the slots are those of the flow.
    unsafe {
        each(&*key, |set, number, home| {
            flow_table::end(set, number, home)
        })
    };
    0
}

/// Makes a bound flow open. A global function, which the verifier follows once.
///
/// # Safety
///
/// The key must be there.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn open_flow(key: *const FlowKey) -> u32 {
    if key.is_null() {
        return 0;
    }
    // SAFETY: as above.
    unsafe {
        each(&*key, |set, number, home| {
            flow_table::open(set, number, home)
        })
    };
    0
}

/// Each slot in which a flow is.
#[inline(always)]
fn each(key: &FlowKey, what: impl Fn(*mut Set, usize, &Home)) {
    let home = home(key);
    for second in [false, true] {
        if let Some(set) = FLOWS.get_ptr_mut(number(&home, second)) {
            // SAFETY: the map has the set.
            if let Some(found) = unsafe { flow_table::find(set, &home, key) } {
                what(set, found.number, &home);
            }
        }
    }
}

/// The flow, if it is remembered.
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

/// Remembers a flow that is in no slot, in one of [`state`]; `care_of` of an open one is zero. The numbers are those of
/// its packet, and of what comes after it.
#[inline(always)]
pub(crate) fn keep(
    key: &FlowKey,
    care_of: &[u8; 16],
    delta: u16,
    state: u8,
    (sequence, next): (u32, u32),
) {
    let what = u64::from(state) << STATE | u64::from(delta);
    let numbers = u64::from(next) << NEXT | u64::from(sequence);
    // SAFETY: both are there.
    unsafe { keep_flow(key, care_of, what, numbers) };
}

/// Remembers a connection that is in no slot, as one that a member opened from C.
#[inline(always)]
pub(crate) fn keep_own(key: &FlowKey) {
    // SAFETY: the key is there. Zeros would be a constant of the program, which is no memory that the verifier lets a
    // global function have.
    unsafe { keep_flow(key, core::ptr::null(), u64::from(state::OWN) << STATE, 0) };
}

/// Above the checksum difference.
const STATE: u32 = 16;
/// Above the sequence number.
const NEXT: u32 = 32;

/// A global function, which the verifier follows once. Without a care-of address it is that of an open flow.
///
/// # Safety
///
/// The key must be there.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn keep_flow(
    key: *const FlowKey,
    care_of: *const [u8; 16],
    what: u64,
    numbers: u64,
) -> u32 {
    if key.is_null() {
        return 0;
    }
    // SAFETY: by the caller. Words, because octets would be copied one by one.
    let (key, care_of) = unsafe { (&*key, care_of.cast::<[u64; 2]>().as_ref()) };
    let care_of = care_of.copied().unwrap_or_default();
    let home = home(key);
    let (first, second) = (number(&home, false), number(&home, true));
    let (Some(first), Some(second)) = (FLOWS.get_ptr_mut(first), FLOWS.get_ptr_mut(second)) else {
        return 0;
    };
    let state = (what >> STATE) as u8;
    let now = now();
    let (class, counter) = match state {
        state::OPEN => (class::OPEN, Counter::FlowOpen),
        state::OWN => (class::OPEN, Counter::FlowOwn),
        state::BOUND_LED => (class::ONCE, Counter::FlowLed),
        _ => (class::ONCE, Counter::FlowPinned),
    };
    let goes = (care_of, what as u16);
    // The packet is a client's, or its member's.
    let (out, into) = match state {
        state::BOUND_LED | state::OWN => (0, now),
        _ => (now, 0),
    };
    let tries = u8::from(state == state::BOUND_FIRST);
    let fill = |flow: *mut Flow| {
        // SAFETY: the map has the slot.
        unsafe {
            (&raw mut (*flow).care_of).cast::<[u64; 2]>().write(care_of);
            (*flow).pinned_at = now;
            (*flow).last_out = out;
            (*flow).last_in = into;
            (*flow).delta = what as u16;
            (*flow).client_closed = 0;
            (*flow).member_closed = 0;
            (*flow).asked_at = unattended::tick(now);
            (*flow).unreachable_at = 0;
            (*flow).tried_at = out;
            (*flow).tried_sequence = numbers as u32;
            (*flow).client_next = (numbers >> NEXT) as u32;
            (*flow).member_next = 0;
            (*flow).state = state;
            (*flow).answered = 0;
            (*flow).tried = tries;
            (*flow).reserved = 0;
        }
    };
    // SAFETY: the map has the sets.
    let inserted =
        unsafe { flow_table::insert_with([first, second], &home, key, goes, class, now, fill) };
    match inserted {
        Inserted::Free => {}
        Inserted::Evicted => {
            count(Counter::FlowEvicted);
        }
        Inserted::EvictedOpen => {
            count(Counter::FlowOpenEvicted);
        }
        Inserted::Refused => {
            count(Counter::FlowOpenNoRoom);
            return 0;
        }
    }
    // The first datagram that is bound finds no entry that passes: an open flow would go on.
    if !state::is_open(state) && (key.protocol == TCP || state == state::BOUND_LED) {
        hints::is_led(flow_cache::hash(
            both(mixed(words(&key.client)), mixed(words(&key.anycast))),
            hints::ports(key),
        ));
    }
    count(counter);
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
