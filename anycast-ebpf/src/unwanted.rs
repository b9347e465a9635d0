//! Port Unreachable (RFC 4443 section 3.1) about flows that are rewritten: a host got a datagram for which it has no
//! socket. It tells that a rule was not applied to the datagram, either here or at the member.

use anycast_common::abi::counters::Counter;
use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    helpers::bpf_ktime_get_coarse_ns,
};

use crate::{
    admission,
    context::{Context, Packet, Verdict},
    count::count,
    disowned::steer_disowned,
    maps::MEMBER_FLOWS,
    member::unbound,
    member_flow::{came, member_refused},
    question::Question,
    quoted::Quote,
    steer::answer,
    trial::trial_failed,
};

/// At a correspondent. Either the client got a packet from C itself, so it came by another way; or C got one of the
/// client, so its member's programs do not run, for otherwise the error would come from B.
#[inline(always)]
pub(crate) fn at_correspondent<C: Context>(packet: &Packet<'_, C>, quote: &Quote) -> Verdict {
    // Another host speaks of the way, not of its sockets.
    if quote.later || packet.source != quote.destination {
        return Verdict::NotOurs;
    }
    let by_client = admission::is_client(&packet.source);
    // The addresses of the error are those of the answer that was wanted.
    let sent = Question::about(&quote.transport, &quote.source, &quote.destination);
    let Some(question) = sent else {
        return Verdict::NotOurs;
    };
    if by_client {
        question.turn();
    }
    // SAFETY: the question is there.
    unsafe {
        match steer_disowned(question, u32::from(by_client)) {
            answer::ELSEWHERE => {
                trial_failed(question, Counter::FlowAnsweredElsewhere as u32);
                // The member goes back to B.
                Verdict::Done(XDP_PASS)
            }
            answer::RESET => {
                trial_failed(question, Counter::FlowTrialReset as u32);
                Verdict::Done(XDP_DROP)
            }
            answer::HELD => {
                count(Counter::FlowResetHeld);
                Verdict::Done(XDP_DROP)
            }
            _ => Verdict::NotOurs,
        }
    }
}

/// What a member makes of an error about a packet of C.
pub(crate) mod about {
    /// It is for B's socket.
    pub(crate) const CLIENTS: u32 = 0;
    /// No client opened the flow, so this host did, by C.
    pub(crate) const OWN: u32 = 1;
    /// It is held back, as a reset is: the client does not know C, and the flow lives under B.
    pub(crate) const HELD: u32 = 2;
}

/// Whose an error to C is. `port` is not 0 when it says Port Unreachable. A global function, which the verifier follows
/// once.
///
/// # Safety
///
/// Both must be there.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn member_error_about(
    quote: *const Quote,
    anycast: *const [u8; 16],
    port: u32,
) -> u32 {
    if quote.is_null() || anycast.is_null() {
        return about::CLIENTS;
    }
    // SAFETY: by the caller.
    let (quote, anycast) = unsafe { (&*quote, &*anycast) };
    // Of a later fragment nobody finds the socket.
    if quote.later {
        return about::CLIENTS;
    }
    let key = quote.transport.flow_to_client(&quote.destination, anycast);
    let Some(flow) = MEMBER_FLOWS.get_ptr_mut(&key) else {
        return about::OWN;
    };
    if port == 0 {
        return about::CLIENTS;
    }
    // SAFETY: the memory of an entry stays mapped. The clock has no arguments.
    match unsafe { member_refused(flow, bpf_ktime_get_coarse_ns()) } {
        came::AS_EVER => about::CLIENTS,
        came::RESET => {
            unbound(key.binding());
            about::HELD
        }
        _ => about::HELD,
    }
}
