//! What a script can say. Any octets are one: numbers are taken modulo what there is.

use std::time::Duration;

/// The octets of a script, read from the front.
pub(super) struct Script<'a>(&'a [u8]);

/// A step. Numbers are explained where they are used, in `machine`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'a> {
    /// Time passes, and what is due is done.
    Wait(Duration),
    /// A packet comes.
    Packet {
        kind: u8,
        link: u8,
        octets: &'a [u8],
    },
    /// What was sent comes back, an octet of it changed.
    Return { which: u8, link: u8, at: u8, by: u8 },
    /// An ICMPv6 error about what was sent comes.
    Error {
        which: u8,
        message_type: u8,
        code: u8,
    },
    /// The data plane sees a client.
    NewClient { client: u8, group: u8 },
    /// An operator wants something.
    Command { command: u8, group: u8 },
    /// An interface appears or changes.
    Link { link: u8, state: u8 },
    /// An interface goes.
    LinkGone { link: u8 },
    /// The pinned flows are read.
    Flows(&'a [u8]),
    /// A host of a link says something about a group.
    Host {
        host: u8,
        link: u8,
        message: u8,
        group: u8,
    },
    /// The kernel does not reach a host.
    NeighbourFailed { host: u8, link: u8 },
    /// A health check ends.
    Checked { group: u8, finding: u8 },
    /// An operator ends bindings.
    Flush { which: u8 },
    /// The kernel has a route of an earlier run.
    Adopted { group: u8, host: u8, link: u8 },
}

impl<'a> Script<'a> {
    pub(super) fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    /// The next octet; zero at the end.
    pub(super) fn octet(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        first
    }

    /// As many octets as the next two say, or as there are.
    fn octets(&mut self) -> &'a [u8] {
        let length = u16::from_be_bytes([self.octet(), self.octet()]);
        let length = usize::from(length).min(self.0.len());
        let (octets, rest) = self.0.split_at(length);
        self.0 = rest;
        octets
    }

    /// The next step; none at the end.
    pub(super) fn step(&mut self) -> Option<Step<'a>> {
        if self.0.is_empty() {
            return None;
        }
        Some(match self.octet() % 14 {
            0 => Step::Wait(self.duration()),
            1 => Step::Packet {
                kind: self.octet(),
                link: self.octet(),
                octets: self.octets(),
            },
            2 => Step::Return {
                which: self.octet(),
                link: self.octet(),
                at: self.octet(),
                by: self.octet(),
            },
            3 => Step::Error {
                which: self.octet(),
                message_type: self.octet(),
                code: self.octet(),
            },
            4 => Step::NewClient {
                client: self.octet(),
                group: self.octet(),
            },
            5 => Step::Command {
                command: self.octet(),
                group: self.octet(),
            },
            6 => Step::Link {
                link: self.octet(),
                state: self.octet(),
            },
            7 => Step::LinkGone { link: self.octet() },
            8 => Step::Flows(self.octets()),
            9 => Step::Host {
                host: self.octet(),
                link: self.octet(),
                message: self.octet(),
                group: self.octet(),
            },
            10 => Step::NeighbourFailed {
                host: self.octet(),
                link: self.octet(),
            },
            11 => Step::Checked {
                group: self.octet(),
                finding: self.octet(),
            },
            12 => Step::Flush {
                which: self.octet(),
            },
            _ => Step::Adopted {
                group: self.octet(),
                host: self.octet(),
                link: self.octet(),
            },
        })
    }

    /// From a millisecond to two hours.
    fn duration(&mut self) -> Duration {
        let (count, shift) = (u64::from(self.octet()), self.octet() % 16);
        Duration::from_millis(count << shift)
    }
}
