//! What becomes of a client's packet to B: it goes to B, or to the C that its flow is bound to.

use anycast_common::abi::{
    counters::Counter,
    flow_table::class,
    maps::{Flow, state, trial, unattended},
};

use crate::{
    admission,
    count::count,
    ending,
    flow_table::{self, Pinned},
    hints,
    limit::now,
    maps::{ATTENDED, BINDINGS},
    packet::on_stack,
    question::Question,
    steer::{answer, is_bare_reset},
};

/// A -> B: to the member that the flow is bound to, or that the client is, which binds a new flow.
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
    let now = now();
    if let Some(known) = flow_table::find(&question.key) {
        let answer = if known.is_open() {
            open(question, &known, now)
        } else {
            bound(question, &known, now)
        };
        if answer != answer::UNKNOWN {
            return answer;
        }
        // SAFETY: the key is there.
        unsafe { flow_table::end_flow(&raw const question.key) };
        // Else packets may go the old way for a moment.
        hints::forget();
    }
    answer::NEW
}

/// An open flow stays so while something is heard of it. `UNKNOWN`: it is over.
#[inline(always)]
fn open(question: &Question, known: &Pinned, now: u64) -> u32 {
    let tcp = question.is_tcp();
    let limit = if tcp {
        trial::OPEN_TCP
    } else {
        trial::OPEN_OTHER
    };
    if known.silent(now) > limit || question.is_syn() && known.is_own() {
        return answer::UNKNOWN;
    }
    // Without the entry a segment of TCP goes to B as well, unless it opens the connection once more.
    if !tcp || question.is_syn() {
        known.heard(now);
    }
    // SAFETY: the key is there.
    unsafe { admission::expect_messages(&raw const question.key) };
    answer::OPEN
}

/// A bound flow goes to C. `UNKNOWN`: it is over.
#[inline(always)]
fn bound(question: &mut Question, known: &Pinned, now: u64) -> u32 {
    let flow = known.flow();
    // SAFETY: the memory of a slot stays mapped; its fields are plain integers, and racing
    // writers store times of the same moment. A slot that is evicted just now may hold another flow: its
    // times are touched, or it is taken for closed.
    unsafe {
        if question.is_syn() && (ending::is_closed(flow) || is_stillborn(question, flow, now)) {
            count(Counter::FlowRestarted);
            return answer::UNKNOWN;
        }
        if is_abandoned(flow, now) {
            count(Counter::FlowAbandoned);
            return answer::UNKNOWN;
        }
        if (*flow).state == state::BOUND_LED && (*flow).tried == 0 && is_bare_reset(question) {
            // The client has sent nothing by C, and has no such connection with B: the member has one from C.
            flow_table::open_flow(&raw const question.key);
            (*flow).state = state::OWN;
            return answer::HELD;
        }
        question.address = known.care_of;
        question.delta = known.delta;
        let answered = known.is_answered();
        if !answered && tries_in_vain(question, flow, now) {
            flow_table::open_flow(&raw const question.key);
            return answer::UNANSWERED;
        }
        (*flow).last_out = now;
        ending::note(question, flow, true);
        known.heard(now);
        if !answered {
            return answer::REWRITE_ONCE;
        }
        known.rank(if ending::is_closed(flow) {
            class::ONCE
        } else {
            class::of(question.key.protocol)
        });
    }
    answer::REWRITE
}

/// Whether nobody ever answered, and a new flow would go elsewhere: the binding is over, or another's.
#[inline(always)]
unsafe fn is_stillborn(question: &Question, flow: *const Flow, now: u64) -> bool {
    // SAFETY: the caller's entry; the controller replaces bindings whole.
    unsafe {
        (*flow).last_in == 0
            && BINDINGS
                .get(&on_stack(question.key.binding()))
                .is_none_or(|binding| now >= binding.expires || binding.care_of != (*flow).care_of)
    }
}

/// Notes that the client of a flow on trial sends by C, and says whether it has done so for too long without an answer.
#[inline(always)]
unsafe fn tries_in_vain(question: &Question, flow: *mut Flow, now: u64) -> bool {
    // SAFETY: the caller's entry.
    unsafe {
        let mut patience = trial::PATIENCE;
        if (*flow).state == state::BOUND_DOUBTED {
            patience = trial::DOUBT;
        }
        if (*flow).tried == 0 {
            (*flow).tried_sequence = question.sequence;
            (*flow).client_next = question.next;
            (*flow).tried = 1;
        }
        // What it sent last was given up long ago.
        let paused = now.wrapping_sub((*flow).last_out) > unattended::PAUSE;
        if question.asks() && ((*flow).tried_at == 0 || paused) {
            (*flow).tried_at = now;
        }
        (*flow).tried_at != 0 && now.wrapping_sub((*flow).tried_at) >= patience
    }
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

/// Whether a controller has ever said that it lives.
#[inline(always)]
pub(crate) fn was_attended() -> bool {
    ATTENDED.get(0).is_some_and(|attended| *attended != 0)
}

/// Whether no controller has said for long that it lives.
#[inline(always)]
pub(crate) fn is_unattended(now: u64) -> bool {
    // SAFETY: one integer.
    ATTENDED
        .get(0)
        .is_none_or(|attended| now > attended.saturating_add(unattended::AFTER))
}
