//! The controller, its clock, and what it sent.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use anycast_common::{
    abi::{
        event::kind,
        maps::{Flow, FlowKey},
    },
    wire::{
        icmpv6,
        ipv6::{self, NEXT_HEADER_ICMPV6, Packet},
        mld,
    },
};
use anycast_ctl::core::{
    Action, Actions, Link, NextHop, Received, Time,
    controller::{Command, Controller, Input},
    correspondent::Selection,
    member::Finding,
    rr::Generator,
};
use rand::SeedableRng as _;
use zerocopy::FromZeros as _;

use super::{
    super::repair::repaired,
    mirror::Mirror,
    settings::{LINKS, anycast, care_of, client, host, settings},
    step::Step,
};

/// Packets that are kept, the newest first.
const KEPT: usize = 16;
/// Deadlines that a wait stops at. Then time jumps, as when the machine was suspended.
const STOPS: usize = 32;
/// Polls until nothing is due: a health check that took too long is given up, and the next begins.
const POLLS: usize = 2;
/// Actions of one input, when there is nothing yet that it could concern.
const FEW: usize = 48;
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x11];

/// A machine in virtual time.
pub(super) struct Machine {
    controller: Controller,
    now: Time,
    sent: VecDeque<Vec<u8>>,
    mirror: Mirror,
    /// Every action so far.
    history: Actions,
}

impl Machine {
    pub(super) fn new(choice: u8) -> Self {
        let random = Generator::seed_from_u64(u64::from(choice));
        let now = Time::ZERO + Duration::from_hours(1);
        let mut machine = Self {
            controller: Controller::new(settings(choice), now, random),
            now,
            sent: VecDeque::new(),
            mirror: Mirror::default(),
            history: Actions::new(),
        };
        for link in 0..3 {
            machine.step(Step::Link { link, state: 3 });
        }
        machine
    }

    pub(super) fn step(&mut self, step: Step<'_>) {
        match step {
            Step::Wait(duration) => self.wait(duration),
            Step::Packet { kind, link, octets } => {
                // An odd one is taken as it is.
                let octets = match link & 1 {
                    0 => repaired(octets),
                    _ => octets.to_vec(),
                };
                self.packet(kind, link >> 1, &octets);
            }
            Step::Return {
                which,
                link,
                at,
                by,
            } => self.bring_back(which, link, at, by),
            Step::Error {
                which,
                message_type,
                code,
            } => self.error(which, message_type, code),
            Step::NewClient {
                client: number,
                group,
            } => self.handle(Input::NewClient {
                client: client(number),
                anycast: anycast(group),
            }),
            Step::Command { command, group } => self.command(command, group),
            Step::Link { link, state } => self.link(link, state),
            Step::LinkGone { link } => self.handle(Input::LinkGone {
                ifindex: ifindex(link),
            }),
            Step::Flows(octets) => self.flows(octets),
            Step::Host {
                host,
                link,
                message,
                group,
            } => self.host(host, link, message, group),
            Step::NeighbourFailed { host: number, link } => self.handle(Input::NeighbourFailed {
                ifindex: ifindex(link),
                address: host(number),
            }),
            Step::Checked { group, finding } => self.handle(Input::Checked {
                anycast: anycast(group),
                finding: Finding {
                    run: u64::from(finding >> 1),
                    passed: finding & 1 == 1,
                    text: String::new(),
                },
            }),
            Step::Flush { which } => self.flush(which),
            Step::Adopted {
                group,
                host: number,
                link,
            } => self.handle(Input::Adopted {
                anycast: anycast(group),
                next_hop: NextHop {
                    via: Some(host(number)),
                    ifindex: ifindex(link),
                },
            }),
        }
    }

    /// The end: what is still remembered sends nothing any more.
    pub(super) fn shutdown(mut self) -> Actions {
        self.act(|controller, now, actions| controller.shutdown(now, actions));
        self.mirror.check_end();
        let end = self.history.len();
        self.wait(Duration::from_hours(2));
        let sends = |action: &Action| matches!(action, Action::Send { .. });
        assert!(!self.history[end..].iter().any(sends), "sent after the end");
        self.mirror.check_end();
        self.history
    }

    /// Lets the controller do something, and looks at what it did.
    fn act(&mut self, something: impl FnOnce(&mut Controller, Time, &mut Actions)) {
        let bound = FEW + 8 * self.mirror.size();
        let mut actions = Actions::new();
        something(&mut self.controller, self.now, &mut actions);
        assert!(actions.len() <= bound, "{} actions", actions.len());
        for action in &actions {
            self.mirror.apply(self.now, action);
            if let Action::Send { packet, .. } = action {
                self.sent.push_front(packet.clone());
            }
        }
        self.sent.truncate(KEPT);
        self.mirror.check(self.now, &self.controller);
        self.history.extend(actions);
    }

    fn handle(&mut self, input: Input<'_>) {
        self.act(|controller, now, actions| controller.handle(now, input, actions));
    }

    /// Time passes from deadline to deadline.
    fn wait(&mut self, duration: Duration) {
        let end = self.now + duration;
        for _ in 0..STOPS {
            let Some(next) = self.controller.deadline().filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            self.poll();
        }
        self.now = end;
        self.poll();
    }

    /// Does what is due, all of it.
    fn poll(&mut self) {
        for _ in 0..POLLS {
            self.act(Controller::poll);
            let deadline = self.controller.deadline();
            if deadline.is_none_or(|next| next > self.now) {
                return;
            }
        }
        panic!("it is due for ever");
    }

    fn packet(&mut self, kind: u8, link: u8, packet: &[u8]) {
        let received = Received {
            ifindex: ifindex(link),
            mac: MAC,
            packet,
        };
        match kind % 8 {
            kind::REFUSED => self.handle(Input::Refused {
                reason: "mld_report_denied",
                received,
            }),
            0 => {
                if let Ok(packet) = Packet::parse(packet) {
                    self.handle(Input::Solicited {
                        ifindex: received.ifindex,
                        mac: MAC,
                        packet,
                    });
                }
            }
            kind => self.handle(Input::Packet { kind, received }),
        }
    }

    /// One octet of the upper layer changed, or none.
    fn bring_back(&mut self, which: u8, link: u8, at: u8, by: u8) {
        let Some(mut octets) = self.sent(which) else {
            return;
        };
        let at = ipv6::HEADER_LEN + usize::from(at);
        if let Some(octet) = octets.get_mut(at) {
            *octet ^= by;
        }
        let octets = repaired(&octets);
        let mld = Packet::parse(&octets).is_ok_and(|packet| packet.protocol == NEXT_HEADER_ICMPV6);
        let kind = if mld { kind::MLD } else { kind::MOBILITY };
        self.packet(kind, link, &octets);
    }

    fn error(&mut self, which: u8, message_type: u8, code: u8) {
        let Some(octets) = self.sent(which) else {
            return;
        };
        let packet = Packet::parse(&octets).expect("what is sent is a packet");
        let mut buffer = [0; icmpv6::MAX_ERROR_LEN];
        let length = icmpv6::error(
            &mut buffer,
            packet.destination,
            packet.source,
            message_type % 8,
            code >> 1,
            6,
            &octets,
        )
        .expect("room for it");
        let kind = match code & 1 {
            0 => kind::ICMP_ERROR,
            _ => kind::CARE_OF_UNREACHABLE,
        };
        self.packet(kind, 1, &buffer[..length]);
    }

    fn sent(&self, which: u8) -> Option<Vec<u8>> {
        let count = self.sent.len().max(1);
        self.sent.get(usize::from(which) % count).cloned()
    }

    fn command(&mut self, command: u8, group: u8) {
        let anycast = anycast(group);
        let command = match command % 4 {
            0 => Command::Join { anycast },
            1 => Command::Leave { anycast },
            2 => Command::Drain { anycast },
            _ => Command::Undrain { anycast },
        };
        self.act(|controller, now, actions| {
            let known = controller.command(now, command, actions).is_ok();
            assert_eq!(known, group % 4 < 3, "{anycast}");
        });
    }

    fn link(&mut self, link: u8, state: u8) {
        let (ifindex, name) = LINKS[usize::from(link) % LINKS.len()];
        self.handle(Input::Link(Link {
            // An interface can come back with another index, or with that of another.
            ifindex: if state & 4 == 0 { ifindex } else { LINKS[0].0 },
            name: name.to_owned(),
            up: state & 1 != 0,
            link_local: (state & 2 != 0).then(|| host(4 + (state >> 3))),
        }));
    }

    fn host(&mut self, number: u8, link: u8, message: u8, group: u8) {
        let address = anycast(group);
        let version = match message & 0x80 {
            0 => mld::Version::V1,
            _ => mld::Version::V2 {
                suppress: message & 0x40 != 0,
                robustness: group & 7,
                interval: Duration::from_secs(u64::from(group)),
            },
        };
        let asked = if message & 0x20 == 0 {
            address
        } else {
            std::net::Ipv6Addr::UNSPECIFIED
        };
        let (message, destination) = match message % 3 {
            0 => (mld::Message::Report { address }, ipv6::ALL_ROUTERS),
            1 => (mld::Message::Done { address }, ipv6::ALL_ROUTERS),
            _ => {
                let query = mld::Query {
                    max_response_delay: Duration::from_millis(u64::from(group) << 6),
                    address: asked,
                    version,
                };
                (mld::Message::Query(query), ipv6::ALL_NODES)
            }
        };
        let mut packet = [0; mld::V2_PACKET_LEN];
        let length = message
            .emit(host(number), destination, &mut packet)
            .expect("room for it");
        self.packet(kind::MLD, link, &packet[..length]);
    }

    /// Eight octets are a flow.
    fn flows(&mut self, octets: &[u8]) {
        let now = self.now.as_nanos();
        // From a quarter of a second ahead, for the clock went on while they were read.
        let ago = |octet: u8| (now + (1 << 28)).saturating_sub(1 << (octet % 48));
        let flows: Vec<_> = octets
            .as_chunks::<8>()
            .0
            .iter()
            .map(|&[a, group, port, protocol, out, answer, closed, error]| {
                let key = FlowKey {
                    client: client(a).octets(),
                    anycast: anycast(group).octets(),
                    client_port: [port, 1],
                    service_port: [0, 53],
                    protocol,
                    reserved: [0; 3],
                };
                let flow = Flow {
                    care_of: care_of(group >> 4).octets(),
                    pinned_at: ago(47),
                    last_out: ago(out),
                    last_in: if answer < 0x80 { ago(answer) } else { 0 },
                    client_closed: closed & 1,
                    member_closed: closed >> 1 & 1,
                    unreachable_at: if error < 0x80 { ago(error) } else { 0 },
                    ..Flow::new_zeroed()
                };
                (key, flow)
            })
            .collect();
        for flows in flows.chunks(4) {
            let (began, flows) = (self.now, &Arc::new(flows.to_vec()));
            self.handle(Input::Flows { began, flows });
        }
    }

    fn flush(&mut self, which: u8) {
        let selection = Selection {
            client: (which & 1 != 0).then(|| client(which >> 3 & 7)),
            anycast: (which & 2 != 0).then(|| anycast(which >> 6)),
            care_of: (which & 4 != 0).then(|| care_of(which >> 6)),
        };
        self.act(|controller, now, actions| {
            let ended = controller.flush(now, &selection, actions);
            let both = ended.bindings.is_some() && ended.clients.is_some();
            assert!(both, "the roles are there");
        });
    }
}

fn ifindex(link: u8) -> u32 {
    LINKS[usize::from(link) % LINKS.len()].0
}
