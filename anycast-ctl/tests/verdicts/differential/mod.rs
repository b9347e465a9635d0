//! Random packets through the real programs and through a model of the rules, which was written from
//! `docs/protocol.md` and shares no code with them: verdict, octets and pins must be the same.

mod correspondent;
mod course;
mod fate;
mod flow;
mod frame;
mod generate;
mod member;
mod member_flow;
mod message;
mod model;
mod view;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    env,
    net::Ipv6Addr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anycast_common::abi::{
    maps::FlowKey,
    roles::{CORRESPONDENT, MEMBER},
};
use anycast_ctl::core::{MapAction, Time};
use anyhow::{Context as _, Result, ensure};
use aya::programs::XdpMode;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use xtask::kernel_tests::Suite;

use self::{
    course::{Step, steps},
    fate::{Fate, Key},
    member_flow::Way,
    model::{Model, groups},
    view::View,
};
use crate::harness::{Bench, Hook, Verdict};

/// Of about a dozen packets each.
const CASES: u32 = 400;
/// A number that makes other random choices, which it repeats; `random` draws one.
const SEED: &str = "ANYCAST_SEED";
/// The rules of the member have times of a tenth of a second, and its clock has ticks of some milliseconds. A case that
/// took longer than this says nothing, and is tried again.
const INSTANT: Duration = Duration::from_millis(60);
/// As many cases may be slow in a row, on a machine that is busy.
const ATTEMPTS: u16 = 50;
const LOOPBACK: u32 = 1;
/// What packets must have met, as the programs count it, or the choice of packets is poor. They meet
/// rarer things, too, but not in every run.
const AT_CORRESPONDENT: &[&str] = &[
    "flow_pinned",
    "flow_led",
    "flow_open",
    "flow_own",
    "flow_trial_reset",
    "correspondent_to_care_of",
    "correspondent_from_care_of",
    "correspondent_icmp_error",
    "icmp_error_no_flow",
    "icmp_error_not_parsed",
    "fragment_guessed",
    "mobility_punted",
    "extension_chain_not_parsed",
];
const AT_MEMBER: &[&str] = &[
    "member_from_care_of",
    "member_to_care_of",
    "member_flow_returned",
    "member_flow_led",
    "member_canary",
    "member_icmp_error",
    "fragment_followed",
    "mobility_punted",
];

pub fn tests(suite: Suite) -> Suite {
    [
        ("a correspondent", CORRESPONDENT),
        ("a member", MEMBER),
        ("both in one program", MEMBER | CORRESPONDENT),
    ]
    .into_iter()
    .fold(suite, |suite, (name, roles)| {
        let name = format!("random packets do what the rules say: {name}");
        suite.test(name, move || differential(roles))
    })
}

/// The programs of some roles, and the model of the same.
struct Pair {
    bench: Bench,
    /// Dropped after the bench, whose program is attached until then.
    _attached: MutexGuard<'static, ()>,
    roles: u8,
    packets: u32,
    /// Errors about later fragments that the rules want translated.
    about_later: u32,
    /// How long the packets of the last case took.
    took: Duration,
    /// The last case may have left flows.
    left: bool,
}

/// The interface takes the program of one test.
static ATTACHED: Mutex<()> = Mutex::new(());

/// When a binding ends that is live, or is over.
fn until(live: bool) -> Time {
    Time::from_nanos(if live { u64::MAX / 2 } else { 1 })
}

fn named(key: &FlowKey) -> Key {
    (
        key.client.into(),
        key.anycast.into(),
        u16::from_be_bytes(key.client_port),
        u16::from_be_bytes(key.service_port),
        key.protocol,
    )
}

fn differential(roles: u8) -> Result<()> {
    let seed: u64 = match env::var(SEED) {
        Ok(seed) if seed == "random" => rand::random(),
        Ok(seed) => seed.parse().context(SEED)?,
        // What a change has not touched does not fail by chance.
        Err(_) => 1,
    };
    let mut octets = [0; 32];
    octets[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &octets));
    let pair = RefCell::new(Pair::new(roles)?);
    let case = Cell::new(0);
    runner
        .run(&steps(), |steps| {
            for _ in 0..ATTEMPTS {
                // Each has clients of its own, and sees nothing of what another has left.
                case.set(case.get() + 1);
                let mut pair = pair.borrow_mut();
                let result = pair.case(case.get(), &steps);
                if pair.took < INSTANT || !pair.has(MEMBER) {
                    return result.map_err(|error| TestCaseError::fail(format!("{error:#}")));
                }
            }
            let slow = format!("its packets took more than {INSTANT:?} each time");
            Err(TestCaseError::fail(slow))
        })
        .map_err(|error| anyhow::anyhow!("{SEED}={seed}: {error}"))?;
    let mut pair = pair.into_inner();
    let counters = pair.bench.counters()?;
    let met =
        |role, names: &'static [&'static str]| names.iter().filter(move |_| roles & role != 0);
    let missed: Vec<_> = met(CORRESPONDENT, AT_CORRESPONDENT)
        .chain(met(MEMBER, AT_MEMBER))
        .filter(|name| counters[**name] == 0)
        .collect();
    ensure!(missed.is_empty(), "{SEED}={seed}: no packet met {missed:?}");
    ensure!(
        pair.about_later > 0,
        "{SEED}={seed}: no error about a later fragment"
    );
    println!("{} packets", pair.packets);
    Ok(())
}

impl Pair {
    fn new(roles: u8) -> Result<Self> {
        // What a failed test has left is dropped all the same.
        let attached = ATTACHED.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bench = Bench::new(roles, true)?;
        // A test run puts a program into the kernel's dispatcher and takes it out again, with a
        // grace period each, unless it is there for an interface.
        if bench.hook == Hook::Xdp {
            bench
                .dataplane
                .xdp(roles)?
                .attach_to_if_index(LOOPBACK, XdpMode::Skb)?;
        }
        let prefix = "2001:db8:1::/64".parse()?;
        bench.dataplane.maps().set_client_prefixes(&[prefix])?;
        let prefix = "2001:db8:a::/48".parse()?;
        bench.dataplane.maps().set_anycast_prefixes(&[prefix])?;
        for (care_of, anycast) in groups(roles) {
            bench.dataplane.maps().set_local_care_of(care_of, anycast)?;
            let serve = MapAction::SetLocalAnycast {
                anycast,
                report_clients: false,
            };
            bench.dataplane.maps().apply(&serve)?;
            bench.served.extend([care_of, anycast]);
        }
        Ok(Self {
            bench,
            _attached: attached,
            roles,
            packets: 0,
            about_later: 0,
            took: Duration::ZERO,
            left: false,
        })
    }

    fn case(&mut self, case: u16, steps: &[Step]) -> Result<()> {
        // XDP forwards by itself; the kernel forwards nothing here.
        let is_end = self.bench.hook != Hook::Xdp;
        let mut model = Model::new(self.roles, case, is_end);
        // What a case that failed has left. To read the whole map takes longer than all packets of a case.
        if self.left {
            self.take_pins()?;
        }
        self.left = true;
        let began = Instant::now();
        let mut numbered = steps.iter().enumerate();
        let result = numbered.try_for_each(|(number, step)| {
            let result = self.step(case, &mut model, step);
            result.with_context(|| format!("step {number}"))
        });
        self.took = began.elapsed();
        result?;
        self.bench.events()?;
        self.compare_pins(&model)?;
        self.left = false;
        Ok(())
    }

    fn has(&self, role: u8) -> bool {
        self.roles & role != 0
    }

    fn step(&mut self, case: u16, model: &mut Model, step: &Step) -> Result<()> {
        match step {
            Step::Bind {
                client,
                care_of,
                live,
            } => {
                let anycast = care_of.partner().address(case);
                let (client, care_of) = (client.address(case), care_of.address(case));
                // A member's own address is not bound by the same machine, but its client is.
                if model.member.groups.contains_key(&care_of) {
                    self.lead(client, care_of, anycast, *live)?;
                    model.member.bind(client, care_of, *live);
                } else if self.has(CORRESPONDENT) {
                    self.bind(client, care_of, anycast, *live)?;
                    model.bind(client, care_of, anycast, *live);
                }
                Ok(())
            }
            Step::In(frame) => {
                let bytes = frame.bytes(case);
                // No stack has less than an IPv6 header, and the kernel runs no test with it.
                if self.bench.hook != Hook::Xdp && bytes.len() < 14 + 40 {
                    return Ok(());
                }
                let fate = model.ingress(&bytes, self.roles);
                if fate.frame != bytes && message::quotes_later(&bytes) {
                    self.about_later += 1;
                }
                let real = self.bench.run(&bytes)?;
                self.compare(&bytes, &fate, real)
            }
            Step::Out(frame) => {
                let bytes = frame.bytes(case);
                // No stack sends less than an IPv6 header, and the kernel runs no test with it.
                if !self.has(MEMBER) || bytes.len() < 14 + 40 {
                    return Ok(());
                }
                let real = self.bench.egress(&bytes)?;
                let from = View::frame(&real.1).map(|view| view.source);
                let fate = model.member.egress(&bytes, from);
                self.compare(&bytes, &fate, real)
            }
        }
    }

    fn bind(
        &mut self,
        client: Ipv6Addr,
        care_of: Ipv6Addr,
        anycast: Ipv6Addr,
        live: bool,
    ) -> Result<()> {
        let expires = until(live);
        let pair = MapAction::SetCareOf {
            client,
            care_of,
            anycast,
            expires,
        };
        let binding = MapAction::SetBinding {
            client,
            anycast,
            care_of,
            expires,
        };
        for action in [pair, binding] {
            self.bench.dataplane.maps().apply(&action)?;
        }
        Ok(())
    }

    /// What the controller of a member says when a handshake has ended, or its binding.
    fn lead(
        &mut self,
        client: Ipv6Addr,
        care_of: Ipv6Addr,
        anycast: Ipv6Addr,
        live: bool,
    ) -> Result<()> {
        let lead = MapAction::LeadClient {
            client,
            anycast,
            care_of,
            until: until(live),
        };
        self.bench.dataplane.maps().apply(&lead)?;
        Ok(())
    }

    fn compare(&mut self, before: &[u8], fate: &Fate, real: (Verdict, Vec<u8>)) -> Result<()> {
        self.packets += 1;
        let (verdict, mut frame) = real;
        let mut expected = fate.frame.clone();
        if verdict == Verdict::Drop {
            // Nobody sees it any more.
            frame.clone_from(&expected);
        }
        for at in &fate.either {
            for frame in [&mut frame, &mut expected] {
                if frame.get(*at..at + 2) == Some(&[0xff, 0xff]) {
                    frame[*at..at + 2].fill(0);
                }
            }
        }
        ensure!(
            verdict == fate.verdict && frame == expected,
            "\n{before:02x?}\nbecomes {verdict:?}\n{frame:02x?}\nand by the rules {:?}\n{expected:02x?}",
            fate.verdict
        );
        Ok(())
    }

    fn take_pins(&mut self) -> Result<BTreeMap<Key, Ipv6Addr>> {
        let pins = self.bench.dataplane.maps().flow_reader().all_flows();
        for (key, _) in &pins {
            self.bench.dataplane.maps().remove_flow(key)?;
        }
        let pins = pins.into_iter();
        Ok(pins
            .map(|(key, flow)| (named(&key), flow.care_of.into()))
            .collect())
    }

    fn compare_pins(&mut self, model: &Model) -> Result<()> {
        let pins = self.take_pins()?;
        let flows = model.correspondent.flows.iter();
        let open = Ipv6Addr::UNSPECIFIED;
        let rules: BTreeMap<Key, Ipv6Addr> = flows
            .map(|(key, flow)| (*key, flow.care_of.unwrap_or(open)))
            .collect();
        ensure!(pins == rules, "pinned: {pins:?}, by the rules {rules:?}");
        let flows = self.bench.dataplane.maps().flow_reader().member_flows();
        let flows: BTreeMap<Key, Way> = flows
            .into_iter()
            .map(|(key, flow)| {
                let way = Way {
                    care_of: flow.care_of.into(),
                    by_anycast: flow.by_anycast == 1,
                };
                (named(&key), way)
            })
            .filter(|(key, _)| model.clients.contains(&key.0))
            .collect();
        let rules = model.member.ways();
        ensure!(
            flows == rules,
            "came by C: {flows:?}, by the rules {rules:?}"
        );
        Ok(())
    }
}
