//! The programs and a controller, which get the same Test Inits.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anycast_common::abi::{event::kind, roles::CORRESPONDENT};
use anycast_ctl::{
    core::{
        Action, Actions, Received,
        controller::{self, Controller, Input},
        correspondent, flows,
        rate::Rate,
        rr::Generator,
    },
    shell::{clock, dataplane::Limits},
};
use anyhow::{Result, ensure};
use rand::SeedableRng as _;
use xtask::net::netlink;

use crate::{
    forward::{Gateway, ROUTER, UP, gateway},
    harness::{Bench, Hook, Verdict},
};

pub const CLIENTS: &str = "2001:db8:1::/48";
const SERVERS: &str = "2001:db8:20::/48";
/// Octets of an Ethernet header, and of its destination address.
pub const ETHERNET: usize = 14;
const MAC: usize = 6;

/// Longer than a tick, also where the machine is busy.
const LAST_TICK: Duration = Duration::from_secs(1);

/// A gateway that is one of no fleet and allows everything.
pub fn keys_of_its_own() -> correspondent::Settings {
    correspondent::Settings {
        client_prefixes: vec![CLIENTS.parse().expect("a prefix")],
        max_bindings: 1,
        max_per_prefix: 1,
        max_per_member: 1,
        max_care_of: 1,
        allow: vec![SERVERS.parse().expect("a prefix")],
        limits: correspondent::Limits {
            whole: Rate::UNLIMITED,
            per_prefix: Rate::UNLIMITED,
            ..correspondent::Limits::default()
        },
        flows: flows::Limits::default(),
        fleet: None,
    }
}

/// The programs, and a controller that gets the same packets.
pub struct Pair<'a> {
    pub bench: Bench,
    pub controller: Controller,
    /// How much later it is for the controller.
    pub ahead: Duration,
    pub gateway: &'a Gateway,
    /// How often there was no key.
    no_key: u64,
}

impl<'a> Pair<'a> {
    fn new(
        gateway: &'a Gateway,
        settings: correspondent::Settings,
        limits: Limits,
    ) -> Result<Self> {
        let mut bench = Bench::with_limits(CORRESPONDENT, true, limits)?;
        bench.ingress = netlink::index(&gateway.namespace, "clients0")?;
        let maps = bench.dataplane.maps();
        maps.set_client_prefixes(&[CLIENTS.parse()?])?;
        maps.set_anycast_prefixes(&[SERVERS.parse()?])?;
        maps.set_redirect_targets(&gateway.targets()?, &BTreeSet::new())?;
        let settings = controller::Settings {
            correspondent: Some(settings),
            ..controller::Settings::default()
        };
        let mut controller = Controller::new(settings, clock::now(), Generator::seed_from_u64(5));
        controller.clock(clock::now(), clock::unix());
        Ok(Self {
            bench,
            controller,
            ahead: Duration::ZERO,
            gateway,
            no_key: 0,
        })
    }

    /// What the controller sends for the packet. The maps are as it wants then.
    pub fn controller(&mut self, packet: &[u8]) -> Result<Vec<Vec<u8>>> {
        let received = Received {
            ifindex: self.bench.ingress,
            mac: [0; 6],
            packet,
        };
        let now = clock::now() + self.ahead;
        self.controller.clock(now, clock::unix() + self.ahead);
        let mut actions = Actions::new();
        let input = Input::Packet {
            kind: kind::MOBILITY,
            received,
        };
        self.controller.handle(now, input, &mut actions);
        let mut sent = Vec::new();
        for action in actions {
            match action {
                Action::Map(action) => self.bench.dataplane.maps().apply(&action)?,
                Action::Send { packet, .. } => sent.push(packet),
                _ => {}
            }
        }
        Ok(sent)
    }

    /// Gives both the frame. Whether the programs answered it, which they do as the controller does.
    pub fn ask(&mut self, frame: &[u8]) -> Result<bool> {
        let start = Instant::now();
        loop {
            if self.once(frame)? {
                return Ok(true);
            }
            // In the last tick of a nonce, and after it if this machine was busy, they leave it to the controller.
            let no_key = self.bench.counters()?["test_init_no_key"];
            let before = std::mem::replace(&mut self.no_key, no_key);
            if no_key == before || start.elapsed() > LAST_TICK {
                return Ok(false);
            }
        }
    }

    fn once(&mut self, frame: &[u8]) -> Result<bool> {
        let expected = self.controller(&frame[ETHERNET..])?;
        let (verdict, became) = self.bench.run(frame)?;
        let events = self.bench.events()?;
        match verdict {
            Verdict::Redirect => {
                ensure!(events.is_empty(), "the controller got it, too");
                ensure!(
                    expected == [&became[ETHERNET..]],
                    "the answer is\n{became:02x?}, and the controller's\n{expected:02x?}"
                );
                // By the next hop of its way. The bench gives TCX its own destination.
                let of_way = [&ROUTER[..], &UP, &[0x86, 0xdd]].concat();
                let from = if self.bench.hook == Hook::Xdp { 0 } else { MAC };
                ensure!(became[from..ETHERNET] == of_way[from..], "{became:02x?}");
                Ok(true)
            }
            Verdict::Drop => {
                ensure!(became == frame, "it goes to the controller as it came");
                ensure!(events.len() <= 1, "{} events", events.len());
                Ok(false)
            }
            Verdict::Pass => {
                ensure!(became == frame, "it is not ours");
                Ok(false)
            }
            other => anyhow::bail!("{other:?}"),
        }
    }

    pub fn counters(&mut self, names: &[&'static str]) -> Result<Vec<u64>> {
        let counters = self.bench.counters()?;
        Ok(names.iter().map(|name| counters[name]).collect())
    }
}

/// The pair in the gateway's namespace.
pub fn with_pair(
    settings: correspondent::Settings,
    limits: Limits,
    check: impl FnOnce(&mut Pair<'_>) -> Result<()> + Send,
) -> Result<()> {
    let gateway = gateway()?;
    gateway
        .namespace
        .run(|| check(&mut Pair::new(&gateway, settings, limits)?))
}
