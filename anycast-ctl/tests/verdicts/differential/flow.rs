//! A flow as a correspondent remembers it.

use std::net::Ipv6Addr;

use super::view::{Transport, View};
use crate::packets::{ACK, FIN, RST, SYN, TCP};

/// A flow that is remembered: open, unless it has a care-of address.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flow {
    pub(super) care_of: Option<Ipv6Addr>,
    /// Its member opened it, from C.
    pub(super) own: bool,
    led: bool,
    /// It was answered before C said that it does not know the connection.
    doubted: bool,
    /// Something came from the member.
    pub(super) heard: bool,
    /// The sequence number of the client's first segment by C.
    first: Option<u32>,
    /// The member answered something that the client sent by C.
    answered: bool,
    /// What comes after the last segment of the client, and of the member.
    next: [Option<u32>; 2],
    /// Client and member have closed it. All segments here have numbers that are near those of the flow.
    ended: [bool; 2],
}

impl Flow {
    pub(super) fn bound(care_of: Ipv6Addr, led: bool) -> Self {
        Self {
            care_of: Some(care_of),
            heard: led,
            led,
            ..Self::default()
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.ended == [true; 2]
    }

    /// C, or the client of what C sent, does not know it.
    pub(super) fn is_disowned(&mut self) {
        if self.answered {
            (self.answered, self.doubted, self.first) = (false, true, None);
        } else if !self.doubted {
            self.opens();
        }
    }

    /// It goes to B from now on, whatever of it is on its way to C.
    fn opens(&mut self) {
        *self = Self {
            first: self.first,
            ..Self::default()
        };
    }

    /// Somebody resets it from B without ACK. Whether that is the member that a flow on trial was led to, or is about
    /// what was on its way there when the trial ended, a moment ago: nothing here takes longer.
    pub(super) fn is_refused(&mut self) -> bool {
        match self.care_of {
            None => !self.own && self.first.is_some(),
            Some(_) if self.led && !self.doubted && !self.answered => {
                self.opens();
                true
            }
            Some(_) => false,
        }
    }

    pub(super) fn own() -> Self {
        Self {
            own: true,
            ..Self::default()
        }
    }

    /// Its member began to send from C, and the client has not followed.
    pub(super) fn is_untried(&self) -> bool {
        self.led && !self.doubted && self.first.is_none()
    }

    /// The first by C sets what is known.
    pub(super) fn begins(&mut self, [sequence, next, _]: [u32; 3]) {
        if self.first.is_none() {
            self.first = Some(sequence);
            self.next[0] = Some(next);
        }
    }

    pub(super) fn by_client(&mut self, view: &View, frame: &[u8], transport: &Transport) {
        let numbers = numbers(view, view.end, frame, transport);
        self.begins(numbers);
        self.note(view, transport, numbers, 0);
    }

    pub(super) fn by_member(&mut self, view: &View, frame: &[u8], transport: &Transport) {
        self.heard = true;
        let numbers = numbers(view, view.end, frame, transport);
        if let (Some(first), Some(next)) = (self.first, self.next[0]) {
            let near = first..=next + (1 << 20);
            let acknowledges = transport.flags & ACK != 0 && near.contains(&numbers[2]);
            self.answered |= view.protocol != TCP || acknowledges;
        }
        self.note(view, transport, numbers, 1);
    }

    pub(super) fn note(
        &mut self,
        view: &View,
        transport: &Transport,
        numbers: [u32; 3],
        own: usize,
    ) {
        if view.protocol != TCP {
            return;
        }
        let [sequence, next, acknowledged] = numbers;
        let known = *self.next[own].get_or_insert(sequence);
        if transport.flags & ACK != 0 {
            self.next[1 - own].get_or_insert(acknowledged);
        }
        let ends = transport.flags & (FIN | RST) != 0;
        if ends {
            self.ended[own] = true;
        }
        if transport.flags & RST != 0 {
            self.ended = [true; 2];
        }
        if next > known {
            self.next[own] = Some(next);
            self.ended[own] &= ends;
        }
    }
}

/// Sequence number, the one after the segment, and acknowledgement number of TCP. The segment ends where the packet
/// does, at `end`.
pub(super) fn numbers(view: &View, end: usize, frame: &[u8], transport: &Transport) -> [u32; 3] {
    if view.protocol != TCP {
        return [0; 3];
    }
    let at = |at: usize| {
        let octets = frame[at..at + 4].try_into().expect("the header is whole");
        u32::from_be_bytes(octets)
    };
    let (sequence, acknowledged) = (at(view.upper + 4), at(view.upper + 8));
    let header = usize::from(frame[view.upper + 12] >> 4) * 4;
    let payload = end - view.upper - header;
    let flag = |flag| u32::from(transport.flags & flag != 0);
    let next = sequence + u32::try_from(payload).expect("short") + flag(SYN) + flag(FIN);
    [sequence, next, acknowledged]
}
