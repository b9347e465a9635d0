//! What the first packet of a flow decides: whether the flow is bound or open.

use anycast_common::abi::maps::state;

use crate::{
    admission,
    disowned::steer_disowned,
    limit::now,
    maps::BINDINGS,
    packet::on_stack,
    question::Question,
    steer::{answer, is_bare_reset, keep},
    transport::ECHO_REPLY,
};

/// The first packet of a flow that is seen, or of one that is decided anew. To be asked when
/// [`steer_from_client`](crate::from_client::steer_from_client) says that it is new.
///
/// # Safety
///
/// The question must be there.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn steer_new(question: *mut Question) -> u32 {
    if question.is_null() {
        return answer::UNKNOWN;
    }
    // SAFETY: by the caller.
    decide(unsafe { &mut *question }, now())
}

#[inline(always)]
fn decide(question: &mut Question, now: u64) -> u32 {
    if is_bare_reset(question) {
        // SAFETY: the question is there.
        let answer = unsafe { steer_disowned(question, 1) };
        if answer != answer::UNKNOWN {
            return answer;
        }
    }
    // A segment in mid-stream is of a flow that is older than what is known here, and an answer opens nothing.
    let begins = if question.is_tcp() {
        question.is_syn()
    } else {
        question.echo != ECHO_REPLY
    };
    // No packet of the flow follows a reset, so it is not remembered.
    if !begins || question.resets() {
        // SAFETY: the key is there.
        unsafe { admission::expect_messages(&raw const question.key) };
        return answer::UNKNOWN;
    }
    // SAFETY: the controller replaces bindings whole, and the copies are made at once.
    let binding = unsafe { BINDINGS.get(&on_stack(question.key.binding())) };
    if let Some(binding) = binding.filter(|binding| now < binding.expires) {
        question.address = binding.care_of;
        question.delta = binding.delta;
        keep(question, state::BOUND_FIRST);
        return answer::REWRITE_ONCE;
    }
    // SAFETY: the key is there.
    let bindable = unsafe { admission::expect_messages(&raw const question.key) } != 0;
    if bindable && admission::is_client(&question.key.client) {
        question.address = [0; 16];
        question.delta = 0;
        keep(question, state::OPEN);
    }
    answer::UNKNOWN
}
