//! Which way a packet of a flow goes at a correspondent: what is asked, and the answers.
//!
//! Global functions answer, which the verifier follows once, whoever calls them and whatever they find. So they take a
//! [`Question`] in memory and answer in it, and know nothing of packets.

use crate::{
    flow_table,
    maps::QUESTION,
    question::Question,
    transport::{TCP, TCP_ACK, TCP_RST, TCP_SYN, Transport},
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
    pub(crate) fn is_syn(&self) -> bool {
        self.flags & (TCP_SYN | TCP_ACK) == TCP_SYN
    }

    #[inline(always)]
    pub(crate) fn resets(&self) -> bool {
        self.flags & TCP_RST != 0
    }

    /// Whether somebody is to answer it: anything but an acknowledgement alone.
    #[inline(always)]
    pub(crate) fn asks(&self) -> bool {
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

/// Whether it is a reset without ACK: of a host that got a segment of no connection that it knows (RFC 9293 section
/// 3.10.7.1).
#[inline(always)]
pub(crate) fn is_bare_reset(question: &Question) -> bool {
    question.is_tcp() && question.resets() && question.flags & TCP_ACK == 0
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
