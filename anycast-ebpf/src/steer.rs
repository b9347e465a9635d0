//! Which way a packet of a flow goes at a correspondent.
//!
//! Global functions, which the verifier follows once, whoever calls them and whatever they find. So they take a
//! [`Question`] in memory and answer in it, and know nothing of packets.

use anycast_common::{
    abi::{
        counters::Counter,
        maps::{CareOfKey, Flow, FlowKey, state, unattended},
    },
    wire::checksum,
};
use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;

use crate::{
    admission,
    count::count,
    flow_table,
    maps::{ATTENDED, BINDINGS, CARE_OF},
    transport::{ECHO_REQUEST, TCP_FIN, TCP_RST, Transport},
};

/// A packet, as far as it matters where it goes.
#[repr(C, align(8))]
pub struct Question {
    /// The flow, if the packet is its client's. After [`Question::turn`], if it is its member's: with C for B, which
    /// the answer puts right.
    pub key: FlowKey,
    /// C, in the answer.
    pub address: [u8; 16],
    /// What it does to a checksum (RFC 1624).
    pub delta: u16,
    /// TCP flags; 0 for other protocols.
    pub flags: u8,
    /// 1: the packet opens a flow, and is not an answer to anything.
    pub opens: u8,
    /// Zero.
    pub reserved: u32,
}

impl Question {
    #[inline(always)]
    pub(crate) fn about(transport: &Transport, source: &[u8; 16], destination: &[u8; 16]) -> Self {
        Self {
            key: transport.flow_from_client(source, destination),
            address: [0; 16],
            delta: 0,
            flags: transport.flags,
            opens: u8::from(transport.opens() || transport.echo == ECHO_REQUEST),
            reserved: 0,
        }
    }

    /// Looks at the packet from the other end.
    #[inline(always)]
    pub(crate) fn turn(&mut self) {
        let key = &mut self.key;
        core::mem::swap(&mut key.client, &mut key.anycast);
        core::mem::swap(&mut key.client_port, &mut key.service_port);
    }

    #[inline(always)]
    fn opens_connection(&self) -> bool {
        self.opens != 0 && self.flags != 0
    }

    #[inline(always)]
    fn closes(&self) -> bool {
        self.flags & (TCP_FIN | TCP_RST) != 0
    }

    #[inline(always)]
    fn resets(&self) -> bool {
        self.flags & TCP_RST != 0
    }
}

/// What is to become of the packet.
pub(crate) mod answer {
    /// It is none of these.
    pub(crate) const UNKNOWN: u32 = 0;
    /// It gets the address of the answer.
    pub(crate) const REWRITE: u32 = 1;
    /// So it does, but the next one may not.
    pub(crate) const REWRITE_ONCE: u32 = 2;
}

/// A -> B: to the member that the flow is bound to, or that the client is, which binds the flow.
///
/// # Safety
///
/// The question must be there.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn steer_from_client(question: *mut Question) -> u32 {
    if question.is_null() {
        return answer::UNKNOWN;
    }
    // SAFETY: by the caller.
    from_client(unsafe { &mut *question })
}

#[inline(always)]
fn from_client(question: &mut Question) -> u32 {
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    if let Some(pinned) = flow_table::find(&question.key) {
        let flow = pinned.flow();
        // A SYN opens a new flow on the ports of an old one: the binding decides anew.
        if question.opens_connection() {
            count(Counter::FlowRestarted);
        // SAFETY: the memory of a slot stays mapped; its fields are plain integers, and racing
        // writers store times of the same moment. A slot that is evicted just now may hold another flow: its
        // times are touched, or it is taken for closed.
        } else if unsafe { is_abandoned(flow, now) } {
            count(Counter::FlowAbandoned);
        } else {
            // SAFETY: as above.
            unsafe {
                (*flow).last_out = now;
                if question.closes() {
                    (*flow).client_closed = 1;
                }
                pinned.heard(now, (*flow).last_in != 0);
            }
            question.address = pinned.care_of;
            question.delta = pinned.delta;
            return answer::REWRITE;
        }
        // SAFETY: the key is there.
        unsafe { flow_table::end_flow(&raw const question.key) };
    }
    // SAFETY: the controller replaces bindings whole, and the copies are made at once.
    let binding = unsafe { BINDINGS.get(question.key.binding()) };
    let Some(binding) = binding.filter(|binding| now < binding.expires) else {
        // SAFETY: the key is there.
        unsafe { admission::expect_messages(&raw const question.key) };
        return answer::UNKNOWN;
    };
    // Nothing follows a reset, so it is not worth a pin; it must not go elsewhere than the flow.
    if question.resets() {
        return answer::UNKNOWN;
    }
    question.address = binding.care_of;
    question.delta = binding.delta;
    let Question {
        key,
        address,
        delta,
        ..
    } = question;
    flow_table::bind(key, address, *delta, state::BOUND_FIRST, now);
    answer::REWRITE_ONCE
}

/// Whether the client has been trying for long without an answer, and there is no controller to judge
/// it. Its member may be dead, and nobody else would send it elsewhere.
#[inline(always)]
unsafe fn is_abandoned(flow: *mut Flow, now: u64) -> bool {
    let tick = unattended::tick(now);
    // SAFETY: the caller's entry.
    unsafe {
        let last_out = (*flow).last_out;
        if last_out <= (*flow).last_in || now.wrapping_sub(last_out) > unattended::PAUSE {
            (*flow).asked_at = tick;
            return false;
        }
        tick.wrapping_sub((*flow).asked_at) > unattended::PATIENCE && is_unattended(now)
    }
}

/// Whether no controller has said for long that it lives.
#[inline(always)]
pub(crate) fn is_unattended(now: u64) -> bool {
    // SAFETY: one integer.
    ATTENDED
        .get(0)
        .is_none_or(|attended| now > attended.saturating_add(unattended::AFTER))
}

/// C -> A: from B, when the flow is bound to C, or is open and C leads it. The question is turned.
///
/// # Safety
///
/// The question must be there.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn steer_to_client(question: *mut Question) -> u32 {
    if question.is_null() {
        return answer::UNKNOWN;
    }
    // SAFETY: by the caller.
    let question = unsafe { &mut *question };
    let answer = to_client(question);
    if answer == answer::UNKNOWN {
        question.key.anycast = question.address;
    }
    answer
}

/// B takes the place of C in the key of the question, and C is kept where the address of the answer is.
#[inline(always)]
fn to_client(question: &mut Question) -> u32 {
    question.address = question.key.anycast;
    // SAFETY: the controller replaces entries whole, and the copies are made at once.
    let Some(owner) = (unsafe { CARE_OF.get(CareOfKey::of(&question.key)) }) else {
        return answer::UNKNOWN;
    };
    let leads_until = owner.expires;
    question.delta = owner.delta;
    question.key.anycast = owner.anycast;
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    let Question { key, address, .. } = question;
    if let Some(pinned) = flow_table::find(key) {
        // Another member's, perhaps by the same ports.
        if pinned.care_of != *address {
            return answer::UNKNOWN;
        }
        let flow = pinned.flow();
        // SAFETY: as in `from_client`.
        unsafe {
            (*flow).last_in = now;
            if question.closes() {
                (*flow).member_closed = 1;
            }
        }
        pinned.answered(now);
        return answer::REWRITE;
    }
    // What the member opens itself is no answer to a client, and after a reset nothing follows.
    if now >= leads_until || question.opens != 0 || question.resets() {
        return answer::UNKNOWN;
    }
    let Question { key, address, .. } = question;
    let delta = checksum::delta(&key.anycast, address);
    flow_table::bind(key, address, delta, state::BOUND_LED, now);
    answer::REWRITE_ONCE
}
