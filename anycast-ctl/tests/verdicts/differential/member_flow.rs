//! A flow as a member remembers it, and when it is led. All of a case happens at one instant: nothing that holds for a
//! tenth of a second ends in it.

use std::net::Ipv6Addr;

use crate::packets::{ACK, FIN, RST, SYN, TCP};

/// How a flow reaches a member that has come by C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// The last one.
    pub(super) care_of: Ipv6Addr,
    /// It comes by B now.
    pub(super) by_anycast: bool,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Opened,
    Answered,
    GoesOn,
    /// This host opened it.
    Own,
}

/// How one end has closed the connection.
#[derive(Clone, Copy, Debug, Default)]
struct Closed {
    ended: bool,
    reset: bool,
    /// A FIN that is not acknowledged, and what comes after it.
    asked: Option<u32>,
}

impl Closed {
    fn is_closed(self) -> bool {
        self.ended || self.reset
    }
}

/// Whether a packet leaves from C although its flow comes by B.
pub(super) enum Lead {
    No,
    Yes(Ipv6Addr),
    /// That depends on how many milliseconds have passed.
    Maybe(Ipv6Addr),
}

/// A flow that a client opened, or this host by B.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    care_of: Option<Ipv6Addr>,
    by_anycast: bool,
    stage: Stage,
    client: Closed,
    member: Closed,
    /// What this host acknowledged last, and the end of what it sent.
    acknowledged: u32,
    sent: u32,
    /// It came over to C, or went back to B, a moment ago, and stays there for now.
    settles: bool,
    /// A packet of it has left from C while it came by B.
    led: bool,
    /// It would have, had the client been bound.
    asked: bool,
    /// It went back to B.
    returned: bool,
}

/// How far numbers may be from each other.
const WINDOW: u32 = 1 << 20;

fn is_within(number: u32, known: u32) -> bool {
    (known..known + WINDOW).contains(&number)
}

impl Flow {
    pub(super) fn opened(care_of: Option<Ipv6Addr>) -> Self {
        Self {
            care_of,
            by_anycast: care_of.is_none(),
            stage: Stage::Opened,
            client: Closed::default(),
            member: Closed::default(),
            acknowledged: 0,
            sent: 0,
            settles: false,
            led: false,
            asked: false,
            returned: false,
        }
    }

    pub(super) fn own() -> Self {
        Self {
            stage: Stage::Own,
            ..Self::opened(None)
        }
    }

    pub(super) fn way(&self) -> Option<Way> {
        Some(Way {
            care_of: self.care_of?,
            by_anycast: self.by_anycast,
        })
    }

    pub(super) fn by_care_of(&self) -> Option<Ipv6Addr> {
        self.care_of.filter(|_| !self.by_anycast)
    }

    fn set_reset(&mut self, reset: bool) {
        (self.client.reset, self.member.reset) = (reset, reset);
    }

    /// A packet of the client, with its sequence number, the one after it, and what it acknowledges.
    pub(super) fn came_in(&mut self, protocol: u8, flags: u8, numbers: [u32; 3]) {
        let [sequence, end, acknowledged] = numbers;
        if protocol != TCP {
            if self.stage == Stage::Answered {
                self.stage = Stage::GoesOn;
            }
            return;
        }
        if flags & SYN != 0 {
            if self.client.is_closed() && self.member.is_closed() {
                self.stage = Stage::Opened;
            }
            return;
        }
        let within = is_within(sequence, self.acknowledged);
        if flags & RST != 0 {
            if within {
                self.set_reset(true);
            }
            return;
        }
        if flags & FIN != 0 && end > self.acknowledged {
            self.client.asked = Some(end);
        }
        let answers = flags & ACK != 0 && is_within(self.sent, acknowledged);
        if answers && self.stage == Stage::Answered {
            self.stage = Stage::GoesOn;
        }
        if within {
            self.set_reset(false);
        }
    }

    /// A packet of this host. Whether all of it is new to the client.
    pub(super) fn went_out(&mut self, protocol: u8, flags: u8, numbers: [u32; 3]) -> bool {
        let [sequence, end, acknowledged] = numbers;
        if protocol != TCP {
            if self.stage == Stage::Opened {
                self.stage = Stage::Answered;
            }
            return true;
        }
        if flags & RST != 0 {
            self.set_reset(true);
            return false;
        }
        if flags & SYN != 0 {
            self.stage = Stage::Answered;
            (self.client, self.member) = (Closed::default(), Closed::default());
            (self.acknowledged, self.sent) = (acknowledged, end);
            return false;
        }
        if self.stage == Stage::Opened {
            (self.stage, self.sent) = (Stage::Answered, sequence);
        }
        self.acknowledged = acknowledged;
        if let Some(fin) = self.client.asked.filter(|fin| acknowledged >= *fin) {
            self.client.asked = None;
            // Behind a FIN there is nothing.
            if acknowledged == fin {
                (self.client.ended, self.client.reset) = (true, false);
            }
        }
        let is_new = sequence >= self.sent;
        self.sent = self.sent.max(end);
        if flags & FIN != 0 {
            self.member.ended = true;
        }
        self.set_reset(false);
        is_new && flags & FIN == 0
    }

    pub(super) fn came_by_care_of(&mut self, care_of: Ipv6Addr) {
        self.care_of = Some(care_of);
        if self.by_anycast && !self.settles {
            (self.by_anycast, self.settles) = (false, true);
        }
    }

    pub(super) fn came_by_anycast(&mut self) {
        if !self.by_anycast && !self.settles {
            self.returns();
        }
    }

    fn returns(&mut self) {
        (self.by_anycast, self.settles, self.returned) = (true, true, true);
    }

    /// The client does not know what came from C. Whether that is held back, and is the first of its kind.
    pub(super) fn holds_reset(&mut self) -> Option<bool> {
        let led = self.led && !self.returned;
        if !self.by_anycast || led {
            self.returns();
            return Some(true);
        }
        self.settles.then_some(false)
    }

    /// Whether a packet that is new to the client is a canary, when the client is bound to this address.
    pub(super) fn canary(&mut self, bound: Option<Ipv6Addr>) -> Lead {
        let closed = self.client.is_closed() && self.member.is_closed();
        if self.stage != Stage::GoesOn || self.settles || self.led || closed {
            return Lead::No;
        }
        let Some(care_of) = bound else {
            self.asked = true;
            return Lead::No;
        };
        if self.asked {
            return Lead::Maybe(care_of);
        }
        self.led = true;
        Lead::Yes(care_of)
    }

    /// What became of a packet that [`Flow::canary`] was not sure of.
    pub(super) fn was_asked(&mut self, led: bool) {
        self.led |= led;
    }
}
