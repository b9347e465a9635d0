//! What becomes of a flow of which a host says that it does not know it.

use anycast_common::abi::maps::{CareOfKey, Flow, state};

use crate::{
    flow_table, hints, limit::now, maps::CARE_OF, packet::on_stack, question::Question,
    steer::answer,
};

/// A host says that it knows nothing of a packet to which, or from which, a rule should have been applied: C of one to
/// C, or the client of one from C. The key of the question has C where B belongs.
///
/// # Safety
///
/// The question must be there.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn steer_disowned(question: *mut Question, by_client: u32) -> u32 {
    if question.is_null() {
        return answer::UNKNOWN;
    }
    // SAFETY: by the caller.
    let question = unsafe { &mut *question };
    question.address = question.key.anycast;
    // SAFETY: the controller replaces entries whole, and the copies are made at once.
    let Some(owner) = (unsafe { CARE_OF.get(&on_stack(CareOfKey::of(&question.key))) }) else {
        return answer::UNKNOWN;
    };
    let leads_until = owner.expires;
    question.key.anycast = owner.anycast;
    let known = flow_table::find(&question.key);
    let own = known.as_ref().is_some_and(|known| known.is_own());
    let bound = known.filter(|known| known.care_of == question.address);
    let by_client = by_client != 0;
    if let Some(bound) = &bound {
        // SAFETY: as in `bound`.
        let answer = unsafe { disowned(question, bound.flow()) };
        return if by_client { answer::ELSEWHERE } else { answer };
    }
    // A connection that the member opened from C is none of the binding's. Any other from C would have been led, had it
    // come by this way.
    if by_client && !own && now() < leads_until {
        return answer::ELSEWHERE;
    }
    question.key.anycast = question.address;
    answer::UNKNOWN
}

/// C says that it does not know the connection. A member whose programs run says so from B, so here they do not run,
/// and the connection may live all the same. One that was answered before stays with C for a while, because they may
/// come back: the client tries again, and shows it.
#[inline(always)]
pub(crate) unsafe fn disowned(question: &Question, flow: *mut Flow) -> u32 {
    // SAFETY: the caller's entry.
    unsafe {
        if (*flow).answered == 0 {
            if (*flow).state == state::BOUND_DOUBTED {
                return answer::HELD;
            }
            flow_table::open_flow(&raw const question.key);
            return answer::RESET;
        }
        (*flow).state = state::BOUND_DOUBTED;
        (*flow).answered = 0;
        (*flow).tried = 0;
        (*flow).tried_at = 0;
    }
    hints::forget();
    answer::HELD
}
