//! Which way a packet of a flow goes at a correspondent.
//!
//! Global functions, which the verifier follows once, whoever calls them and whatever they find. So they take a
//! [`Question`] in memory and answer in it, and know nothing of packets.

use anycast_common::{
    abi::{
        counters::Counter,
        flow_table::class,
        maps::{CareOfKey, Flow, state, trial, unattended},
    },
    wire::checksum,
};

use crate::{
    admission,
    count::count,
    ending,
    flow_table::{self, Pinned},
    hints,
    limit::now,
    maps::{ATTENDED, BINDINGS, CARE_OF, QUESTION},
    packet::on_stack,
    question::Question,
    transport::{ECHO_REPLY, ECHO_REQUEST, TCP, TCP_ACK, TCP_RST, TCP_SYN, Transport},
};

impl Question {
    /// That of this CPU: there is no room for it on the stack.
    #[inline(always)]
    pub(crate) fn about(
        transport: &Transport,
        source: &[u8; 16],
        destination: &[u8; 16],
    ) -> Option<&'static mut Self> {
        // SAFETY: the slot belongs to this CPU, see `count`, which asks one question at a time.
        let question = unsafe { &mut *QUESTION.get_ptr_mut(0)? };
        question.key = transport.flow_from_client(source, destination);
        question.sequence = 0;
        question.next = 0;
        question.acknowledged = 0;
        question.flags = transport.flags;
        question.echo = transport.echo;
        Some(question)
    }

    /// Looks at the packet from the other end.
    #[inline(always)]
    pub(crate) fn turn(&mut self) {
        let key = &mut self.key;
        core::mem::swap(&mut key.client, &mut key.anycast);
        core::mem::swap(&mut key.client_port, &mut key.service_port);
    }

    #[inline(always)]
    pub(crate) fn is_tcp(&self) -> bool {
        self.key.protocol == TCP
    }

    /// Whether it opens a TCP connection.
    #[inline(always)]
    fn is_syn(&self) -> bool {
        self.flags & (TCP_SYN | TCP_ACK) == TCP_SYN
    }

    #[inline(always)]
    pub(crate) fn resets(&self) -> bool {
        self.flags & TCP_RST != 0
    }

    /// Whether somebody is to answer it: anything but an acknowledgement alone.
    #[inline(always)]
    fn asks(&self) -> bool {
        !self.is_tcp() || self.next != self.sequence
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
    /// It is a client's, and goes to B.
    pub(crate) const OPEN: u32 = 3;
    /// So it is, because its flow's trial failed: nobody answered.
    pub(crate) const UNANSWERED: u32 = 4;
    /// It is a member's reset that ends a trial, and dropped.
    pub(crate) const RESET: u32 = 5;
    /// Its flow is not known yet.
    pub(crate) const NEW: u32 = 6;
    /// It is a member's reset that is dropped, and its flow stays where it is.
    pub(crate) const HELD: u32 = 7;
    /// It is the client's to C: C's packets come to it by another way.
    pub(crate) const ELSEWHERE: u32 = 8;
}

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
    if known.silent(now) > limit {
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
        question.address = known.care_of;
        question.delta = known.delta;
        let answered = (*flow).answered != 0;
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

/// The first packet of a flow that is seen, or of one that is decided anew. To be asked when [`steer_from_client`] says
/// that it is new.
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

/// Whether it is a reset without ACK: of a host that got a segment of no connection that it knows (RFC 9293 section
/// 3.10.7.1).
#[inline(always)]
pub(crate) fn is_bare_reset(question: &Question) -> bool {
    question.is_tcp() && question.resets() && question.flags & TCP_ACK == 0
}

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
    let bound = known.filter(|known| known.care_of == question.address);
    let by_client = by_client != 0;
    if let Some(bound) = &bound {
        // SAFETY: as in `bound`.
        let answer = unsafe { disowned(question, bound.flow()) };
        return if by_client { answer::ELSEWHERE } else { answer };
    }
    // Had it come from C by this way, it would have been led.
    if by_client && now() < leads_until {
        return answer::ELSEWHERE;
    }
    question.key.anycast = question.address;
    answer::UNKNOWN
}

/// Remembers the flow, to the address of the answer.
#[inline(always)]
pub(crate) fn keep(question: &Question, state: u8) {
    let Question {
        key,
        address,
        delta,
        sequence,
        next,
        ..
    } = question;
    flow_table::keep(key, address, *delta, state, (*sequence, *next));
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
/// again. Otherwise the connection is over.
#[inline(always)]
fn reset_by_anycast(question: &mut Question) -> u32 {
    let found = flow_table::find(&question.key);
    let Some(known) = found.filter(|known| !known.is_open()) else {
        return answer::UNKNOWN;
    };
    let flow = known.flow();
    // SAFETY: as in `bound`; the key is there.
    unsafe {
        let on_trial = (*flow).state == state::BOUND_LED && (*flow).answered == 0;
        if on_trial && is_bare_reset(question) {
            question.address = known.care_of;
            flow_table::open_flow(&raw const question.key);
            return answer::RESET;
        }
        ending::note(question, flow, false);
    }
    answer::UNKNOWN
}

/// C says that it does not know the connection. A member whose programs run says so from B, so here they do not run,
/// and the connection may live all the same. One that was answered before stays with C for a while, because they may
/// come back: the client tries again, and shows it.
#[inline(always)]
unsafe fn disowned(question: &Question, flow: *mut Flow) -> u32 {
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
