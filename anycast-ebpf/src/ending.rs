//! When a TCP connection has ended, by what passes of it.
//!
//! Anybody may forge a FIN or a RST, so it counts by itself only when its numbers are near those of the flow: its
//! sequence number that of its own direction, or its acknowledgement that of the other one. One of both is so even
//! where much was sent the short way, which notes no numbers, unless both ends send much at once. In both directions
//! they count together. What is sent beyond takes them back.

use anycast_common::abi::{counters::Counter, maps::Flow};

use crate::{
    count::count,
    question::Question,
    transport::{TCP_ACK, TCP_FIN, TCP_RST},
};

/// How near: a guess is right once in 1024 times. A quarter of a second, which the short way may have gone on for, at
/// 32 Mbit/s.
const NEAR: u32 = 1 << 20;

/// Values of [`Flow::client_closed`] and [`Flow::member_closed`]; 0: it is not closed.
const UNBELIEVED: u8 = 1;
const BELIEVED: u8 = 3;

/// Whether both ends have closed it.
///
/// # Safety
///
/// The flow must be there.
#[inline(always)]
pub(crate) unsafe fn is_closed(flow: *const Flow) -> bool {
    // SAFETY: by the caller.
    unsafe { (*flow).client_closed != 0 && (*flow).member_closed != 0 }
}

/// One end of a connection, and the other.
struct Direction {
    next: *mut u32,
    other_next: *mut u32,
    closed: *mut u8,
    other_closed: *mut u8,
}

/// Notes a packet of the client, or of the member.
///
/// # Safety
///
/// The flow must be there.
#[inline(always)]
pub(crate) unsafe fn note(question: &Question, flow: *mut Flow, of_client: bool) {
    if question.is_tcp() {
        // SAFETY: both are there.
        unsafe { note_segment(question, flow, u32::from(of_client)) };
    }
}

/// A global function.
///
/// # Safety
///
/// Both must be there.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn note_segment(
    question: *const Question,
    flow: *mut Flow,
    of_client: u32,
) -> u32 {
    if question.is_null() || flow.is_null() {
        return 0;
    }
    // SAFETY: by the caller.
    unsafe {
        let client = (&raw mut (*flow).client_next, &raw mut (*flow).client_closed);
        let member = (&raw mut (*flow).member_next, &raw mut (*flow).member_closed);
        let (own, other) = if of_client != 0 {
            (client, member)
        } else {
            (member, client)
        };
        note_in(
            &*question,
            &Direction {
                next: own.0,
                other_next: other.0,
                closed: own.1,
                other_closed: other.1,
            },
        );
    }
    0
}

#[inline(always)]
unsafe fn note_in(question: &Question, direction: &Direction) {
    // SAFETY: the caller's entry.
    unsafe {
        // What is not known yet is what is seen first.
        if *direction.next == 0 {
            *direction.next = question.sequence;
        }
        let acknowledges = question.flags & TCP_ACK != 0;
        if acknowledges && *direction.other_next == 0 {
            *direction.other_next = question.acknowledged;
        }
        let near = is_near(question.sequence, *direction.next)
            || (acknowledges && is_near(question.acknowledged, *direction.other_next));
        if question.flags & (TCP_FIN | TCP_RST) != 0 {
            if near {
                *direction.closed = BELIEVED;
                if question.resets() {
                    *direction.other_closed = BELIEVED;
                }
            } else {
                count(Counter::FlowEndUnbelieved);
                *direction.closed = UNBELIEVED.max(*direction.closed);
            }
        }
        let beyond = question.next.wrapping_sub(*direction.next);
        if near && beyond.wrapping_sub(1) >> 31 == 0 {
            *direction.next = question.next;
            if question.flags & (TCP_FIN | TCP_RST) == 0 {
                *direction.closed = 0;
            }
        }
    }
}

#[inline(always)]
fn is_near(number: u32, known: u32) -> bool {
    number.wrapping_sub(known).wrapping_add(NEAR) < 2 * NEAR
}
