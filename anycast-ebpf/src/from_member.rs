//! What becomes of a member's packet to a client: from C it seems to come from B, when its flow is bound to C or may be
//! led to it.

use anycast_common::{
    abi::maps::{CareOfKey, Flow, state, trial},
    wire::checksum,
};

use crate::{
    disowned::disowned,
    ending,
    flow_table::{self, Pinned},
    limit::now,
    maps::CARE_OF,
    packet::on_stack,
    question::Question,
    steer::{answer, is_bare_reset},
    transport::{ECHO_REQUEST, TCP_ACK},
};

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
    let Some(owner) = (unsafe { CARE_OF.get(&on_stack(CareOfKey::of(&question.key))) }) else {
        return if question.resets() {
            reset_by_anycast(question)
        } else {
            answer::UNKNOWN
        };
    };
    let leads_until = owner.expires;
    question.delta = owner.delta;
    question.key.anycast = owner.anycast;
    let now = now();
    let known = flow_table::find(&question.key);
    if let Some(known) = &known {
        if known.care_of == question.address {
            return from_member(question, known, now);
        }
        // Another member's.
        if !known.is_open() {
            return answer::UNKNOWN;
        }
        if known.is_own() {
            known.heard(now);
            return answer::UNKNOWN;
        }
    } else if question.is_syn() {
        // Its later segments look like those of a flow that the member leads.
        flow_table::keep_own(&question.key);
        return answer::UNKNOWN;
    }
    // What the member opens itself is no answer to a client, and after a reset nothing follows.
    let own = question.is_syn() || question.echo == ECHO_REQUEST;
    if now >= leads_until || own || question.resets() {
        return answer::UNKNOWN;
    }
    if known.is_some() {
        // SAFETY: the key is there.
        unsafe { flow_table::end_flow(&raw const question.key) };
    }
    let delta = checksum::delta(&question.key.anycast, &question.address);
    let Question { key, address, .. } = question;
    flow_table::keep(key, address, delta, state::BOUND_LED, (0, 0));
    answer::REWRITE_ONCE
}

/// A member sends a reset from B when no socket of it knows the connection. If the flow was bound in mid-stream and C
/// has not answered yet, C was the wrong member, perhaps by a forged packet: the reset is dropped and the flow is open
/// again. So are those that come of what else the client had sent by C until then. Otherwise the connection is over.
#[inline(always)]
fn reset_by_anycast(question: &mut Question) -> u32 {
    let Some(known) = flow_table::find(&question.key) else {
        return answer::UNKNOWN;
    };
    let flow = known.flow();
    // SAFETY: as in `bound`; the key is there.
    unsafe {
        let unanswered = (*flow).answered == 0 && is_bare_reset(question);
        if known.is_open() {
            let of_trial = unanswered && (*flow).state == state::OPEN && (*flow).tried != 0;
            if of_trial && now().wrapping_sub((*flow).last_out) < trial::LATE {
                return answer::HELD;
            }
            return answer::UNKNOWN;
        }
        if unanswered && (*flow).state == state::BOUND_LED {
            question.address = known.care_of;
            flow_table::open_flow(&raw const question.key);
            return answer::RESET;
        }
        ending::note(question, flow, false);
    }
    answer::UNKNOWN
}

/// Whether it is a reset that a host makes by itself, of a connection that it does not know (RFC 9293 section
/// 3.10.7.1): without ACK, or with the sequence number 0 in answer to a SYN.
#[inline(always)]
fn disowns(question: &Question) -> bool {
    question.resets() && (question.flags & TCP_ACK == 0 || question.sequence == 0)
}

#[inline(always)]
fn from_member(question: &Question, known: &Pinned, now: u64) -> u32 {
    let flow = known.flow();
    // SAFETY: as in `bound`.
    unsafe {
        if disowns(question) {
            return disowned(question, flow);
        }
        if (*flow).answered == 0 && answers(question, flow) {
            (*flow).answered = 1;
        }
        (*flow).last_in = now;
        ending::note(question, flow, false);
        known.heard(now);
        if (*flow).answered == 0 {
            answer::REWRITE_ONCE
        } else {
            answer::REWRITE
        }
    }
}

/// Whether the packet answers something that the client sent by C. Of TCP, it acknowledges that: who forges packets of
/// C has to know the client's sequence numbers.
#[inline(always)]
unsafe fn answers(question: &Question, flow: *const Flow) -> bool {
    // SAFETY: the caller's entry.
    unsafe {
        if (*flow).tried == 0 {
            return false;
        }
        let first = (*flow).tried_sequence;
        let acknowledged = question.acknowledged.wrapping_sub(first);
        let sent = (*flow).client_next.wrapping_sub(first);
        let within = acknowledged <= sent.wrapping_add(trial::AHEAD);
        !question.is_tcp() || (question.flags & TCP_ACK != 0 && within)
    }
}
