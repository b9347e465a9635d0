//! What is measured.

use std::{collections::BTreeSet, net::Ipv6Addr};

use anycast_common::abi::{
    maps::{PolicyRule, policy},
    roles::{CORRESPONDENT, MEMBER, ROUTER},
};
use anycast_ctl::{
    core::{MapAction, Time, rate::Rate},
    shell::dataplane::{Dataplane, Limits, OBJECT, Settings},
};
use anyhow::Result;
use aya::programs::{ProgramFd, Xdp};
use xtask::net::{
    Pass, Site,
    namespace::Namespace,
    netlink::{self, End},
    sysctl,
};

use crate::{
    anchors::{Anchor, Object},
    packets::{ACK, Packet, SYN, address},
};

const A: &str = "2001:db8:1::100";
const B: &str = "2001:db8:a::53";
/// Behind the interface that the client is behind, and behind another.
const NEAR: &str = "2001:db8:1::c1";
const FAR: &str = "2001:db8:20::c1";
const ELSEWHERE: &str = "2001:db8:b::1";
const PORTS: (u16, u16) = (40000, 80);
/// Flows of the cases with many.
const FLOWS: u16 = 32_768;
/// How the names of those cases end.
const MANY: &str = "32,768 flows";

const DROP: u32 = 1;
const PASS: u32 = 2;
const TX: u32 = 3;
const REDIRECT: u32 = 4;

/// Reports of which no two have the same sender.
pub const FORGED: &str = "forged senders";

/// Frames of one kind to one program.
pub struct Case {
    pub name: String,
    pub frame: Vec<u8>,
    /// `struct xdp_md`
    pub context: [u8; 24],
    /// XDP action that they have to meet.
    pub verdict: u32,
    subject: Subject,
    /// What the subject hands frames to.
    _behind: Option<Dataplane>,
}

enum Subject {
    Anchor(Anchor),
    Ours(Box<Dataplane>, u8),
}

impl Case {
    pub fn program(&mut self) -> Result<&Xdp> {
        match &mut self.subject {
            Subject::Anchor(anchor) => Ok(anchor.program()?),
            Subject::Ours(dataplane, roles) => Ok(dataplane.xdp(*roles)?),
        }
    }

    /// Whether nothing of ours is in it.
    pub fn is_anchor(&self) -> bool {
        matches!(self.subject, Subject::Anchor(_)) && self._behind.is_none()
    }

    /// Whether more flows take turns than a processor's caches hold well.
    pub fn has_many_flows(&self) -> bool {
        self.name.ends_with(MANY)
    }
}

/// A correspondent with two interfaces, for the FIB and for `XDP_TX`.
pub struct Gateway {
    namespace: Namespace,
    inside: u32,
    outside: u32,
    _hosts: [Namespace; 2],
    _napi: Pass,
    _site: Site,
}

impl Gateway {
    pub fn new() -> Result<Self> {
        let site = Site::claim("bdp")?;
        let namespace = site.namespace("gateway")?;
        let hosts = [site.namespace("client")?, site.namespace("router")?];
        let mac = |number| Some([2, 0, 0, 0, 1, number]);
        for (host, name, number) in [(&hosts[0], "inside", 1), (&hosts[1], "outside", 3)] {
            let end = |namespace, name, number| End {
                namespace,
                name,
                mac: mac(number),
            };
            netlink::veth(end(&namespace, name, number), end(host, "eth0", number + 1))?;
            netlink::up(&namespace, name)?;
            netlink::up(host, "eth0")?;
        }
        sysctl::set(&namespace, &[("ipv6/conf/all/forwarding", "1")])?;
        netlink::address(&namespace, "inside", address("2001:db8:1::1"), 64)?;
        netlink::address(&namespace, "outside", address("2001:db8:ff::2"), 64)?;
        for neighbour in [A, NEAR] {
            netlink::neighbour(&namespace, "inside", address(neighbour), [2, 0, 0, 0, 1, 2])?;
        }
        let router = address("2001:db8:ff::1");
        netlink::neighbour(&namespace, "outside", router, [2, 0, 0, 0, 1, 4])?;
        netlink::route(&namespace, address("2001:db8:20::"), 64, router, "outside")?;
        // The kernel makes frames for a test only on an interface with a receive queue of XDP.
        let napi = Pass::attach(&namespace, "inside")?;
        Ok(Self {
            inside: netlink::index(&namespace, "inside")?,
            outside: netlink::index(&namespace, "outside")?,
            namespace,
            _hosts: hosts,
            _napi: napi,
            _site: site,
        })
    }

    /// Does it where the interfaces are.
    pub fn run<T: Send>(&self, body: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.namespace.run(body)
    }

    fn context(&self, frame: &[u8]) -> Result<[u8; 24]> {
        let mut context = [0; 24];
        context[4..8].copy_from_slice(&u32::try_from(frame.len())?.to_ne_bytes());
        context[12..16].copy_from_slice(&self.inside.to_ne_bytes());
        Ok(context)
    }

    fn case(&self, name: &str, subject: Subject, frame: &[u8], verdict: u32) -> Result<Case> {
        Ok(Case {
            name: name.to_owned(),
            frame: frame.to_owned(),
            context: self.context(frame)?,
            verdict,
            subject,
            _behind: None,
        })
    }

    fn ours(&self, name: &str, roles: u8, packet: &Packet, verdict: u32) -> Result<Case> {
        let subject = Subject::Ours(Box::new(self.load(&[])?), roles);
        self.case(name, subject, &packet.frame(), verdict)
    }

    fn refused(&self, name: &str, rules: &[PolicyRule]) -> Result<Case> {
        let frame = Packet::report("fe80::66", "2001:db8:a::53").frame();
        let subject = Subject::Ours(Box::new(self.load(rules)?), ROUTER);
        self.case(name, subject, &frame, DROP)
    }

    /// The same with another sender each time.
    fn forged(&self, object: &Object, name: &str, rules: &[PolicyRule]) -> Result<Case> {
        // What is not in the leader's two words, and they, add nothing to the checksum.
        let frame = Packet::report("fe80::ffff:ffff", "2001:db8:a::53").frame();
        let mut dataplane = self.load(rules)?;
        let program = dataplane.xdp(ROUTER)?.fd()?.try_clone()?;
        let behind = Behind {
            program,
            dataplane: Some(dataplane),
        };
        let name = format!("{name}, {FORGED}");
        self.led(&name, object.load("forged_senders")?, &frame, behind, DROP)
    }

    /// A case whose frame is made anew for each run.
    fn led(
        &self,
        name: &str,
        mut leader: Anchor,
        frame: &[u8],
        behind: Behind,
        verdict: u32,
    ) -> Result<Case> {
        leader.lead_to(frame, &behind.program)?;
        let subject = Subject::Anchor(leader);
        let case = self.case(name, subject, frame, verdict)?;
        Ok(Case {
            _behind: behind.dataplane,
            ..case
        })
    }

    /// The data plane of all roles, with nothing bound.
    fn load(&self, rules: &[PolicyRule]) -> Result<Dataplane> {
        let settings = Settings {
            roles: ROUTER | MEMBER | CORRESPONDENT,
            require_router_alert: true,
            limits: Limits {
                reports: Rate::per_second(1, 1),
                ..Limits::NONE
            },
            sizes: Default::default(),
        };
        let mut dataplane = Dataplane::load(OBJECT, settings)?;
        let maps = dataplane.maps();
        maps.set_policy(rules)?;
        maps.set_client_prefixes(&["2001:db8:1::/64".parse()?])?;
        maps.set_anycast_prefixes(&[])?;
        maps.set_redirect_targets(&BTreeSet::from([self.inside, self.outside]))?;
        maps.apply(&MapAction::SetLocalAnycast {
            anycast: address("2001:db8:a::54"),
            report_clients: true,
        })?;
        maps.set_local_care_of(address("2001:db8:30::54"), address("2001:db8:a::54"))?;
        Ok(dataplane)
    }

    /// The same with the client bound.
    fn bound(&self, care_of: &str) -> Result<Behind> {
        let mut dataplane = self.load(&[])?;
        let (client, anycast, care_of) = (address(A), address(B), address(care_of));
        for action in [
            MapAction::SetCareOf {
                client,
                care_of,
                anycast,
                expires: Time::from_nanos(u64::MAX / 2),
            },
            MapAction::SetBinding {
                client,
                anycast,
                care_of,
                expires: Time::from_nanos(u64::MAX / 2),
            },
        ] {
            dataplane.maps().apply(&action)?;
        }
        let program = dataplane.xdp(CORRESPONDENT)?.fd()?.try_clone()?;
        Ok(Behind {
            program,
            dataplane: Some(dataplane),
        })
    }
}

/// A program that gets its frames from another.
struct Behind {
    program: ProgramFd,
    dataplane: Option<Dataplane>,
}

impl Behind {
    fn anchor(anchor: &mut Anchor) -> Result<Self> {
        Ok(Self {
            program: anchor.program()?.fd()?.try_clone()?,
            dataplane: None,
        })
    }
}

/// Every case, loaded.
pub fn all(gateway: &Gateway) -> Result<Vec<Case>> {
    let object = Object::build()?;
    let mut cases = anchors(gateway, &object)?;
    cases.extend(not_ours(gateway)?);
    for count in [2, 255] {
        let name = format!("Report refused, {count} rules");
        cases.push(gateway.refused(&name, &rules(count))?);
        cases.push(gateway.forged(&object, &name, &rules(count))?);
    }
    cases.extend(pinned(gateway, &object)?);
    Ok(cases)
}

fn anchors(gateway: &Gateway, object: &Object) -> Result<Vec<Case>> {
    let packet = Packet::tcp(A, B, PORTS, ACK);
    let frame = packet.frame();
    let frames = (0..FLOWS).map(|number| {
        // As the leader chooses them.
        let port = PORTS.0 ^ number;
        packet
            .clone()
            .with(|p| p.payload[..2].copy_from_slice(&port.to_be_bytes()))
            .frame()
    });
    let direct = |name, program, verdict| {
        let mut anchor = object.load(program)?;
        anchor.learn([frame.clone()].into_iter())?;
        gateway.case(name, Subject::Anchor(anchor), &frame, verdict)
    };
    let mut cases = vec![
        direct("XDP_PASS", "pass", PASS)?,
        direct("hash lookup, hot", "lookup", PASS)?,
    ];
    for (leader, flows) in [
        ("one_flow", "hot"),
        ("many_flows", MANY),
        ("new_flows", "new flows"),
    ] {
        let behind = Behind::anchor(&mut object.load("pass")?)?;
        cases.push(gateway.led(
            &format!("leader, {flows}"),
            object.load(leader)?,
            &frame,
            behind,
            PASS,
        )?);
        if leader == "new_flows" {
            continue;
        }
        let mut tight = object.load("tight")?;
        tight.learn(frames.clone())?;
        let behind = Behind::anchor(&mut tight)?;
        cases.push(gateway.led(
            &format!("TIGHT, {flows}"),
            object.load(leader)?,
            &frame,
            behind,
            TX,
        )?);
    }
    // To C at once: the FIB is asked about the destination.
    let to_care_of = Packet::tcp(A, NEAR, PORTS, ACK).frame();
    for (name, leader, program) in [
        ("FIB lookup, hot", "one_flow", "fib"),
        ("lru insert, new flows", "new_flows", "lru_insert"),
        (
            "lru lookup and insert, new flows",
            "new_flows",
            "lru_lookup_insert",
        ),
        (
            "lru lookup and insert, FIB, new flows",
            "new_flows",
            "lru_lookup_insert_fib",
        ),
    ] {
        let behind = Behind::anchor(&mut object.load(program)?)?;
        cases.push(gateway.led(name, object.load(leader)?, &to_care_of, behind, PASS)?);
    }
    let behind = Behind::anchor(&mut object.load("pass")?)?;
    let name = format!("leader, {FORGED}");
    let leader = object.load("forged_senders")?;
    cases.push(gateway.led(&name, leader, &frame, behind, PASS)?);
    Ok(cases)
}

fn not_ours(gateway: &Gateway) -> Result<Vec<Case>> {
    let transit = Packet::tcp("2001:db8:c::1", ELSEWHERE, PORTS, ACK);
    let out = Packet::tcp(A, ELSEWHERE, PORTS, ACK);
    let unbound = Packet::tcp(A, B, PORTS, ACK);
    let all = ROUTER | MEMBER | CORRESPONDENT;
    let mut arp = gateway.ours("ARP, all roles", all, &transit, PASS)?;
    arp.frame[12..14].copy_from_slice(&[8, 6]);
    Ok(vec![
        arp,
        gateway.ours("transit, router", ROUTER, &transit, PASS)?,
        gateway.ours("transit, member", MEMBER, &transit, PASS)?,
        gateway.ours("transit, correspondent", CORRESPONDENT, &transit, PASS)?,
        gateway.ours("transit, all roles", all, &transit, PASS)?,
        gateway.ours(
            "client to elsewhere, correspondent",
            CORRESPONDENT,
            &out,
            PASS,
        )?,
        gateway.ours("client to B, not bound", CORRESPONDENT, &unbound, PASS)?,
    ])
}

fn pinned(gateway: &Gateway, object: &Object) -> Result<Vec<Case>> {
    let out = Packet::tcp(A, B, PORTS, ACK).frame();
    let opening = Packet::tcp(A, B, PORTS, SYN).frame();
    let back = Packet::tcp(NEAR, A, (PORTS.1, PORTS.0), ACK).frame();
    let led = |name, leader, frame: &[u8], care_of, verdict| {
        let behind = gateway.bound(care_of)?;
        gateway.led(name, object.load(leader)?, frame, behind, verdict)
    };
    let mut answer = gateway.bound(NEAR)?;
    if let Some(dataplane) = &mut answer.dataplane {
        open(dataplane, gateway, &out)?;
    }
    Ok(vec![
        led("pinned to C, TX, hot", "one_flow", &out, NEAR, TX)?,
        led(
            "pinned to C, TX, 32,768 flows",
            "many_flows",
            &out,
            NEAR,
            TX,
        )?,
        led(
            "pinned to C, REDIRECT, hot",
            "one_flow",
            &out,
            FAR,
            REDIRECT,
        )?,
        led(
            "pinned to C, REDIRECT, 32,768 flows",
            "many_flows",
            &out,
            FAR,
            REDIRECT,
        )?,
        gateway.led(
            "pinned from C, TX, hot",
            object.load("one_flow")?,
            &back,
            answer,
            TX,
        )?,
        led("pinned to C, TX, new flows", "new_flows", &out, NEAR, TX)?,
        led(
            "pinned to C, TX, SYN, new flows",
            "new_flows",
            &opening,
            NEAR,
            TX,
        )?,
    ])
}

/// The client's first packet pins the flow.
fn open(dataplane: &mut Dataplane, gateway: &Gateway, frame: &[u8]) -> Result<()> {
    use aya::programs::{TestRun as _, TestRunOptions};
    let context = gateway.context(frame)?;
    dataplane.xdp(CORRESPONDENT)?.test_run(TestRunOptions {
        data_in: Some(frame),
        ctx_in: Some(&context),
        ..TestRunOptions::default()
    })?;
    Ok(())
}

fn rules(count: u16) -> Vec<PolicyRule> {
    let source = |number| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, number).octets();
    let rule = |number| PolicyRule {
        source: source(number),
        source_mask: [0xff; 16],
        anycast: [0; 16],
        anycast_mask: [0; 16],
        ifindex: 0,
        action: policy::ALLOW,
        match_mac: 0,
        mac: [0; 6],
        id: u32::from(number),
    };
    (0..count).map(rule).collect()
}
