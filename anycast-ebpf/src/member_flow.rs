//! What a member notes of a client's flow, packet by packet: how far it came, and who has ended it.
//!
//! The member sees all packets of its flows, and trusts what its own host sends. What comes from outside
//! counts as far as that host has shown that it takes it.

use anycast_common::abi::{
    counters::Counter,
    maps::{Address, FlowKey, MemberFlow, closed, stage},
};
use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;

use crate::{
    count::count,
    maps::MEMBER_FLOWS,
    packet::on_stack,
    segment::{Segment, is_after},
    transport::{TCP, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, Transport},
};

/// How long a flow that went back to B stays there at least: a few retransmissions of TCP.
const SETTLE: u64 = 3_000_000_000;
/// How long packets by B are taken for late ones after a flow has gone over to C.
const LATE: u64 = 100_000_000;
/// How far from what was acknowledged a sequence number may be. A host takes fewer for a reset (RFC 5961 section
/// 3.2); of one that is guessed, a 4096th is within.
const WINDOW: u32 = 1 << 20;
/// No more canaries for this binding.
const SPENT: u8 = u8::MAX;

/// What of a packet concerns its flow.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct Facts {
    /// The address that it came to.
    pub destination: [u8; 16],
    pub now: u64,
    /// Of TCP, see [`Segment`].
    pub sequence: u32,
    pub acknowledged: u32,
    pub end: u32,
    pub protocol: u8,
    /// Of TCP.
    pub flags: u8,
    pub reserved: [u8; 2],
}

impl Facts {
    #[inline(always)]
    pub(crate) fn new(
        destination: &[u8; 16],
        now: u64,
        transport: &Transport,
        segment: Option<Segment>,
    ) -> Self {
        let segment = segment.unwrap_or(Segment {
            sequence: 0,
            acknowledged: 0,
            end: 0,
        });
        Self {
            destination: *destination,
            now,
            sequence: segment.sequence,
            acknowledged: segment.acknowledged,
            end: segment.end,
            protocol: transport.protocol,
            flags: transport.flags,
            reserved: [0; 2],
        }
    }

    #[inline(always)]
    fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    /// A reset without ACK answers a segment that no socket wanted (RFC 9293 3.10.7.1).
    #[inline(always)]
    fn is_bare_reset(&self) -> bool {
        self.protocol == TCP && self.flags & (TCP_RST | TCP_ACK) == TCP_RST
    }
}

/// What [`member_by_care_of`] says of a client's packet.
pub(crate) mod came {
    /// Nothing.
    pub(crate) const AS_EVER: u32 = 0;
    /// The flow came by B until now.
    pub(crate) const OVER: u32 = 1;
    /// A bare reset that is held back, the first since the flow came by C or since a canary.
    pub(crate) const RESET: u32 = 2;
    /// Another.
    pub(crate) const RESET_AGAIN: u32 = 3;
    /// The flow is not known.
    pub(crate) const UNKNOWN: u32 = 4;
}

/// A client's packet came by C: one of [`came`]. A global function, which the verifier checks once and not for every
/// way to it.
///
/// # Safety
///
/// Both must be there. An entry stays mapped while the program runs; its fields are plain integers, and packets of one
/// flow that race write values of the same moment.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn member_by_care_of(flow: *mut MemberFlow, facts: *const Facts) -> u32 {
    if flow.is_null() || facts.is_null() {
        return came::AS_EVER;
    }
    // SAFETY: by the caller.
    let (entry, facts) = unsafe { (Entry(&mut *flow), &*facts) };
    by_care_of(entry, facts)
}

#[inline(always)]
fn by_care_of(mut entry: Entry<'_>, facts: &Facts) -> u32 {
    if facts.is_bare_reset() {
        let held = entry.holds_reset(facts.now);
        if held != came::AS_EVER {
            count(Counter::MemberResetHeld);
            return held;
        }
    }
    entry.came_in(facts);
    if entry.came_by_care_of(facts) {
        count(Counter::MemberFlowLed);
        return came::OVER;
    }
    came::AS_EVER
}

/// The client's host has no socket for what it got from C: one of [`came`]. A global function, which the verifier
/// follows once.
///
/// # Safety
///
/// As above.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn member_refused(flow: *mut MemberFlow, now: u64) -> u32 {
    if flow.is_null() {
        return came::AS_EVER;
    }
    // SAFETY: by the caller.
    let held = unsafe { Entry(&mut *flow).holds_reset(now) };
    if held != came::AS_EVER {
        count(Counter::MemberResetHeld);
    }
    held
}

/// A client's packet came by B. A global function, which the verifier follows once.
///
/// # Safety
///
/// As above.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn member_by_anycast(flow: *mut MemberFlow, facts: *const Facts) -> u32 {
    if flow.is_null() || facts.is_null() {
        return 0;
    }
    // SAFETY: by the caller.
    let (mut entry, facts) = unsafe { (Entry(&mut *flow), &*facts) };
    entry.came_by_anycast(facts.now);
    entry.came_in(facts);
    1
}

/// A packet of this host leaves. Not 0: all of it is new to the client. A global function, which the verifier follows
/// once.
///
/// # Safety
///
/// As above.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn member_answers(flow: *mut MemberFlow, facts: *const Facts) -> u32 {
    if flow.is_null() || facts.is_null() {
        return 0;
    }
    // SAFETY: by the caller.
    let (mut entry, facts) = unsafe { (Entry(&mut *flow), &*facts) };
    u32::from(entry.went_out(facts))
}

/// Whether a packet of this host leaves from B although its flow comes by C: a reset that the host made by itself, see
/// RFC 9293 section 3.10.7.1. Where a member's programs do not run, the host says the same from C of connections that
/// live, so a correspondent does not believe that.
#[inline(always)]
pub(crate) fn disowns(facts: &Facts) -> bool {
    let answers_a_syn = facts.protocol == TCP && facts.has(TCP_RST) && facts.sequence == 0;
    facts.is_bare_reset() || answers_a_syn
}

/// Remembers a flow that a client opens just now: by B, or by the care-of address that is given. A global function,
/// which the verifier follows once. 0: there is no room for it.
///
/// # Safety
///
/// The key must be there, and the address or none.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn member_flow_opened(key: *const FlowKey, care_of: *const Address) -> u32 {
    // SAFETY: by the caller, and the clock has no arguments.
    let (key, care_of, now) =
        unsafe { (key.as_ref(), care_of.as_ref(), bpf_ktime_get_coarse_ns()) };
    let Some(key) = key else {
        return 0;
    };
    let mut flow = opened(now);
    if let Some(care_of) = care_of {
        flow.care_of = *care_of;
        flow.by_anycast = 0;
    }
    u32::from(MEMBER_FLOWS.insert(&on_stack(key), &flow, 0).is_ok())
}

/// A flow that a client opens just now.
#[inline(always)]
pub(crate) fn opened(now: u64) -> MemberFlow {
    MemberFlow {
        care_of: [0; 16],
        last_in: now,
        settles_at: 0,
        asks_at: 0,
        acknowledged: 0,
        sent: 0,
        client_end: 0,
        led_in: 0,
        by_anycast: 1,
        client_closed: 0,
        member_closed: 0,
        stage: stage::OPENED,
        canaries: 0,
        reserved: [0; 3],
    }
}

struct Entry<'a>(&'a mut MemberFlow);

impl Entry<'_> {
    /// A packet of the client.
    #[inline(always)]
    fn came_in(&mut self, facts: &Facts) {
        let flow = &mut *self.0;
        flow.last_in = facts.now;
        if facts.protocol != TCP {
            if flow.stage == stage::ANSWERED {
                flow.stage = stage::GOES_ON;
            }
            return;
        }
        if facts.has(TCP_SYN) {
            // On a connection that lives, the host says what it makes of it (RFC 9293 section 3.10.7.4).
            if flow.is_closed() {
                flow.stage = stage::OPENED;
            }
            return;
        }
        let within = facts.sequence.wrapping_sub(flow.acknowledged) < WINDOW;
        if facts.has(TCP_RST) {
            if within {
                flow.client_closed |= closed::RESET;
                flow.member_closed |= closed::RESET;
            } else {
                count(Counter::MemberResetDoubted);
            }
            return;
        }
        if facts.has(TCP_FIN) && is_after(facts.end, flow.acknowledged) {
            flow.client_end = facts.end;
            flow.client_closed |= closed::ASKED;
        }
        if facts.has(TCP_ACK)
            && flow.stage == stage::ANSWERED
            && flow.sent.wrapping_sub(facts.acknowledged) < WINDOW
        {
            flow.stage = stage::GOES_ON;
        }
        if within {
            self.is_not_reset();
        }
    }

    /// A packet of this host. True: all of it is new to the client.
    #[inline(always)]
    fn went_out(&mut self, facts: &Facts) -> bool {
        let flow = &mut *self.0;
        if facts.protocol != TCP {
            if flow.stage == stage::OPENED {
                flow.stage = stage::ANSWERED;
            }
            return true;
        }
        if facts.has(TCP_RST) {
            flow.client_closed |= closed::RESET;
            flow.member_closed |= closed::RESET;
            return false;
        }
        if facts.has(TCP_SYN) {
            // The host has taken a new connection, whatever was on these ports before.
            flow.stage = stage::ANSWERED;
            flow.client_closed = 0;
            flow.member_closed = 0;
            flow.acknowledged = facts.acknowledged;
            flow.sent = facts.end;
            return false;
        }
        if flow.stage == stage::OPENED {
            // It was under way when it was noted.
            flow.stage = stage::ANSWERED;
            flow.sent = facts.sequence;
        }
        flow.acknowledged = facts.acknowledged;
        if flow.client_closed & closed::ASKED != 0 {
            // A FIN has ended what the client sends when it is acknowledged, and nothing behind it.
            if facts.acknowledged == flow.client_end {
                flow.client_closed = closed::ENDED;
            } else if is_after(facts.acknowledged, flow.client_end) {
                flow.client_closed &= !closed::ASKED;
            }
        }
        let is_new = !is_after(flow.sent, facts.sequence);
        if is_after(facts.end, flow.sent) {
            flow.sent = facts.end;
        }
        let ends = facts.has(TCP_FIN);
        if ends {
            flow.member_closed |= closed::ENDED;
        }
        self.is_not_reset();
        is_new && !ends
    }

    /// It goes on, so what looked like a reset was none.
    #[inline(always)]
    fn is_not_reset(&mut self) {
        let flow = &mut *self.0;
        if (flow.client_closed | flow.member_closed) & closed::RESET != 0 {
            flow.client_closed &= !closed::RESET;
            flow.member_closed &= !closed::RESET;
        }
    }

    /// The client's packet came by C. True: it did not before.
    #[inline(always)]
    fn came_by_care_of(&mut self, facts: &Facts) -> bool {
        let flow = &mut *self.0;
        // Another C of the same B, after the client was bound anew.
        if flow.care_of != facts.destination {
            flow.care_of = facts.destination;
        }
        if flow.by_anycast == 0 || facts.now < flow.settles_at {
            return false;
        }
        flow.by_anycast = 0;
        flow.settles_at = facts.now + LATE;
        true
    }

    /// The client's packet came by B.
    #[inline(always)]
    fn came_by_anycast(&mut self, now: u64) {
        let flow = &*self.0;
        if flow.by_anycast == 0 && now >= flow.settles_at {
            self.return_to_anycast(now);
        }
    }

    /// Whether a bare reset by C is to be held back: one of [`came`].
    ///
    /// A correspondent that lost its pins lets segments from C through to the client, which resets
    /// them although the connection lives, under B; and so does one that does not know the binding by which a canary
    /// was sent. The first such reset moves the flow to B. A client that is really gone resets what it gets from there
    /// too, and is believed once the flow settled.
    #[inline(always)]
    fn holds_reset(&mut self, now: u64) -> u32 {
        let flow = &*self.0;
        if flow.by_anycast == 0 || (flow.canaries != 0 && flow.canaries != SPENT) {
            self.return_to_anycast(now);
            return came::RESET;
        }
        if now < flow.settles_at {
            return came::RESET_AGAIN;
        }
        came::AS_EVER
    }

    #[inline(always)]
    fn return_to_anycast(&mut self, now: u64) {
        let flow = &mut *self.0;
        flow.by_anycast = 1;
        flow.settles_at = now + SETTLE;
        flow.canaries = SPENT;
        count(Counter::MemberFlowReturned);
    }
}
