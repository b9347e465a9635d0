//! What a gateway tells the others of what happens to it.

use super::{
    bus::Bus,
    ends::{End, write_end},
    message::{Pins, write_pins},
    seal::kind,
};
use crate::core::{Actions, Time};

/// Octets of a message, but for a part of one triple more.
const MESSAGE: usize = 32 << 10;
/// Ends in one message, of some 60 octets each.
const ENDS: usize = 500;

impl Bus {
    /// Sends a Binding Update that was accepted.
    pub fn update(&mut self, now: Time, packet: &[u8], actions: &mut Actions) {
        self.send(now, None, kind::UPDATE, packet, actions);
    }

    /// Sends triples with their flows.
    pub fn pins(&mut self, now: Time, pins: impl Iterator<Item = Pins>, actions: &mut Actions) {
        let mut body = Vec::new();
        for pins in pins.flat_map(Pins::parts) {
            write_pins(now, &pins, &mut body);
            if body.len() >= MESSAGE {
                self.send(now, None, kind::PINS, &body, actions);
                body.clear();
            }
        }
        if !body.is_empty() {
            self.send(now, None, kind::PINS, &body, actions);
        }
    }

    /// Tells what has ended, and when.
    pub fn ends(&mut self, now: Time, ends: &[(Time, End)], actions: &mut Actions) {
        for ends in ends.chunks(ENDS) {
            let mut body = Vec::new();
            for (at, end) in ends {
                write_end(now, *at, end, &mut body);
            }
            self.send(now, None, kind::ENDS, &body, actions);
        }
    }
}
