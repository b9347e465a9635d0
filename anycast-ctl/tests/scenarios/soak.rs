//! A hundred sessions of one client, and a route that does not come to rest.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use xtask::{
    lab::{
        crowd::Crowd,
        scenario::{self, ASK_AGAIN, MIB, SOON, is_via},
        stage::Lab,
        topology::{B, CLIENT, S1, S2, SERVICE, Server},
        visitor::Visitor,
    },
    net::{netlink, wait},
};

use super::stage::in_lab;

/// Sessions that the test is about: those that begin before the route does, and the others.
const SETTLED: usize = 60;
const SESSIONS: usize = 100;
/// How often somebody's routing changes its mind, and how often the members come and go.
const BY_ROUTING: usize = 150;
const BY_MEMBERS: usize = 60;
/// Between two moves of the route, so many octets pass the gateway.
const BETWEEN: u64 = MIB / 4;
/// 4 KiB each way, ten times a second: all of them together, what two processors bear.
const BEAT: &str = "beat 100";
/// A route that goes before the daemon's.
const METRIC: u32 = 1;
/// Where a server tells its name.
const NAMES: u16 = 5354;
/// A session that finds its handshake refused, by the 5 s of `client_interval`, is bound by the next.
const BOUND: Duration = Duration::from_secs(10);
/// To get to the end of what they are at.
const END: Duration = Duration::from_secs(20);

/// A session, as its first words tell.
struct Member {
    port: u16,
    server: Server,
    /// The gateway had pinned it to the care-of address of its server when it was looked at.
    bound: bool,
}

/// The soak under way.
struct Soak<'a> {
    lab: &'a Lab,
    crowd: Crowd,
    members: Vec<Member>,
    /// The socket of a client without a gateway, whose packets go where the route leads.
    asker: UdpSocket,
    /// Where the route leads.
    current: Server,
    flaps: usize,
}

fn other(server: Server) -> Server {
    if server == S1 { S2 } else { S1 }
}

impl Soak<'_> {
    /// Octets of the service that passed the gateway, both ways.
    fn carried(&self) -> Result<u64> {
        let ledger = self.lab.capture("gateway-router")?.ledger();
        let ours = |flow: &_| of_service(flow);
        Ok(ledger.read(|ledger| ledger.sum(ours).octets))
    }

    fn wait_carried(&self, more: u64) -> Result<()> {
        let wanted = self.carried()? + more;
        let ledger = self.lab.capture("gateway-router")?.ledger();
        Ok(ledger.wait(SOON, "data passes the gateway", |ledger| {
            (ledger.sum(of_service).octets >= wanted).then_some(())
        })?)
    }

    /// The route now leads to the other: the kernel says so, and packets go there.
    fn moved(&mut self, to: Server) -> Result<()> {
        let what = format!("the first route to B leads to {}", to.name);
        self.lab.routes.wait(SOON, &what, (B, 128), |routes| {
            let first = routes.iter().min_by_key(|route| route.metric)?;
            is_via(first, to).then_some(())
        })?;
        self.flaps += 1;
        let question = self.flaps.to_be_bytes();
        let answer = [&question[..], to.name.as_bytes()].concat();
        wait::poll(
            SOON,
            Duration::ZERO,
            &format!("{} answers", to.name),
            || {
                self.asker.send(&question)?;
                let mut heard = [0; 64];
                // What comes late is an answer to an earlier question.
                let length = self.asker.recv(&mut heard).unwrap_or(0);
                Ok((heard[..length] == answer).then_some(()))
            },
        )?;
        self.current = to;
        self.wait_carried(BETWEEN)?;
        let over = self.crowd.over();
        let broken = over.iter().find(|end| self.is_bound(end));
        ensure!(broken.is_none(), "after {} flaps: {broken:?}", self.flaps);
        Ok(())
    }

    fn is_bound(&self, end: &Value) -> bool {
        let number = end["session"]
            .as_u64()
            .and_then(|n| usize::try_from(n).ok());
        number.is_some_and(|number| self.members.get(number).is_some_and(|member| member.bound))
    }

    /// Somebody else's route, better than the daemon's, changes.
    fn flap_by_routing(&mut self) -> Result<()> {
        let to = other(self.current);
        let router = &self.lab.network.router;
        netlink::replace_route(router, (B, 128), to.link_local(), "lan0", METRIC)?;
        self.moved(to)
    }

    /// The member that is routed to leaves, and comes back once the other one has taken over. So many
    /// sessions begin meanwhile.
    fn flap_by_members(&mut self, begin: usize) -> Result<()> {
        let (from, to) = (self.current, other(self.current));
        let new = (0..begin).map(|_| self.crowd.open());
        let new = new.collect::<Result<Vec<_>>>()?;
        let daemon = self.lab.daemon(from.name)?;
        daemon.tell(&["leave", &B.to_string()])?;
        self.moved(to)?;
        daemon.tell(&["join", &B.to_string()])?;
        new.into_iter().try_for_each(|number| self.admit(number))?;
        self.both()
    }

    fn both(&self) -> Result<()> {
        wait::poll(SOON, ASK_AGAIN, "the router has both members", || {
            let members = self.lab.daemon("router")?.list("members")?;
            Ok((members.len() == 2).then_some(()))
        })
    }

    /// Opens a session.
    fn open(&mut self) -> Result<()> {
        let number = self.crowd.open()?;
        self.admit(number)
    }

    /// A session that was begun is known and used from now on.
    fn admit(&mut self, number: usize) -> Result<()> {
        let said = self.crowd.first_words(number, SOON)?;
        ensure!(said["event"] == "connected", "{said}");
        ensure!(Visitor::shows_anycast(&said, CLIENT), "{said}");
        let local: SocketAddr = said["local"].as_str().context("no address")?.parse()?;
        let server = if said["server"] == S1.name { S1 } else { S2 };
        ensure!(self.members.len() == number, "not in order");
        self.members.push(Member {
            port: local.port(),
            server,
            bound: false,
        });
        self.crowd.tell(BEAT)
    }

    /// Looks which of the sessions that live the gateway has pinned to their servers.
    fn look(&mut self) -> Result<()> {
        let over = self.crowd.over();
        let flows = self.lab.daemon("gateway")?.list("flows")?;
        let pinned: BTreeMap<_, _> = flows
            .iter()
            .map(|flow| (flow["client_port"].as_u64(), &flow["care_of"]))
            .collect();
        for (number, member) in self.members.iter_mut().enumerate() {
            let care_of = pinned.get(&Some(u64::from(member.port)));
            let by_own = care_of.is_some_and(|care_of| **care_of == json!(member.server.care_of));
            let lives = over.iter().all(|end| end["session"] != number);
            member.bound |= by_own && lives;
        }
        Ok(())
    }

    fn wait_bound(&mut self) -> Result<()> {
        wait::poll(
            BOUND,
            ASK_AGAIN,
            "the gateway has pinned every session",
            || {
                self.look()?;
                Ok(self.members.iter().all(|member| member.bound).then_some(()))
            },
        )
    }
}

fn of_service(flow: &xtask::net::capture::Flow) -> bool {
    flow.source.1 == SERVICE || flow.destination.1 == SERVICE
}

pub(super) fn soak() -> Result<()> {
    in_lab(None, |lab, report| {
        lab.configure("router", "fast_leave = false", "fast_leave = true")?;
        report.step("join", "", |evidence| scenario::join(lab, evidence))?;
        let started = Instant::now();
        // Members tell every asker their names.
        let outcome = {
            let lab = &*lab;
            lab.with_answers(NAMES, |server| server.name.into(), || flap(lab))?
        };
        let (members, ends, flaps) = outcome;
        for capture in lab.captures_mut() {
            capture.finish()?;
        }
        let octets = verify(lab, &members, &ends)?;
        no_resets(lab, &members)?;
        let bound = members.iter().filter(|member| member.bound).count();
        let mut unbound = members
            .iter()
            .zip(&ends)
            .filter(|(member, _)| !member.bound);
        let foul = unbound.clone().find(|(_, end)| end["event"] == "failed");
        ensure!(
            foul.is_none(),
            "neither closed nor reset: {:?}",
            foul.map(|(_, end)| end)
        );
        println!(
            "soak: {flaps} moves of the route in {:.1} s; {bound} sessions that were bound, {} MiB, \
             not one reset; of {} that began while the route moved {} were not bound, {} of these \
             reset",
            started.elapsed().as_secs_f64(),
            octets / MIB,
            members.len() - SESSIONS,
            unbound.clone().count(),
            unbound
                .by_ref()
                .filter(|(_, end)| end["event"] == "reset")
                .count(),
        );
        Ok(())
    })
}

type Outcome = (Vec<Member>, Vec<Value>, usize);

fn flap(lab: &Lab) -> Result<Outcome> {
    let route = lab.routes.to(B, 128);
    let current = [S1, S2]
        .into_iter()
        .find(|server| route.iter().any(|route| is_via(route, *server)));
    let asker = lab.network.plain.run(|| {
        let socket = UdpSocket::bind("[::]:0")?;
        socket.connect(SocketAddr::from((B, NAMES)))?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        Ok(socket)
    })?;
    let mut soak = Soak {
        lab,
        crowd: Crowd::start(&lab.network.client, lab.network.site().directory())?,
        members: Vec::new(),
        asker,
        current: current.context("no route to B")?,
        flaps: 0,
    };
    for _ in 0..SETTLED {
        soak.open()?;
    }
    soak.wait_bound()?;
    // One that nobody binds shows what a move does.
    let mut plain = lab.visit("plain", false)?;
    plain.tell("beat")?;
    soak.flap_by_routing()?;
    plain.event("reset", SOON)?;

    while soak.flaps < BY_ROUTING {
        soak.flap_by_routing()?;
        if soak.flaps.is_multiple_of(3) && soak.members.len() < SESSIONS {
            soak.open()?;
            soak.wait_bound()?;
        }
    }
    ensure!(soak.members.len() == SESSIONS);
    netlink::remove_route(&lab.network.router, (B, 128), METRIC)?;
    soak.current = lab.routes.wait(
        SOON,
        "the daemon's route",
        (B, 128),
        |routes| match routes {
            [route] => [S1, S2].into_iter().find(|server| is_via(route, *server)),
            _ => None,
        },
    )?;
    soak.both()?;

    while soak.flaps < BY_ROUTING + BY_MEMBERS {
        soak.flap_by_members(usize::from(soak.flaps.is_multiple_of(3)))?;
        soak.look()?;
    }
    soak.crowd.tell("finish")?;
    let ends = soak.crowd.ends(END)?;
    Ok((soak.members, ends, soak.flaps))
}

/// Sessions that were bound are closed in order, and what one end has sent the other has verified.
/// Gives the octets, both ways.
fn verify(lab: &Lab, members: &[Member], ends: &[Value]) -> Result<u64> {
    let mut octets = 0;
    for (member, end) in members.iter().zip(ends).filter(|(member, _)| member.bound) {
        ensure!(end["event"] == "finished", "port {}: {end}", member.port);
        let peer = SocketAddr::from((CLIENT, member.port)).to_string();
        let (closed, _) = lab.service(member.server).wait_line(
            SOON,
            &format!("{} closes the session of {peer}", member.server.name),
            0,
            |line| {
                let event: Value = serde_json::from_str(line).ok()?;
                (event["event"] != "accepted" && event["peer"] == peer).then_some(event)
            },
        )?;
        ensure!(closed["event"] == "closed", "{closed}");
        let same = closed["sent"] == end["received"] && closed["received"] == end["sent"];
        ensure!(same, "{end} and {closed}");
        octets += [&end["sent"], &end["received"]]
            .map(|n| n.as_u64().unwrap_or(0))
            .iter()
            .sum::<u64>();
    }
    Ok(octets)
}

/// No capture has a reset of a bound session, and none has missed anything.
fn no_resets(lab: &Lab, members: &[Member]) -> Result<()> {
    let bound = |port| {
        members
            .iter()
            .any(|member| member.bound && member.port == port)
    };
    for link in [
        "client-gateway",
        "gateway-router",
        "router-lan",
        "lan-s1",
        "lan-s2",
    ] {
        let (resets, lost) = lab.capture(link)?.ledger().read(|ledger| {
            let ours = |end: (_, u16)| end.0 == CLIENT && bound(end.1);
            let sum = ledger.sum(|flow| ours(flow.source) || ours(flow.destination));
            (sum.resets, ledger.lost)
        });
        ensure!(resets == 0, "{resets} resets on {link}");
        ensure!(lost == 0, "the capture of {link} has missed {lost} frames");
    }
    Ok(())
}
