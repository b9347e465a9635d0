//! The peer is the correspondent, our daemon the member.

use std::net::{Ipv6Addr, UdpSocket};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use xtask::{
    lab::{
        node::Daemon,
        topology::{B, CLIENT, Network, PLAIN, S1, SERVICE},
    },
    net::{netlink, wait},
};

use super::{
    answers,
    correspondent::Gains,
    site::{ASK_AGAIN, C, Counts, Peer, SOON, daemon, network, with},
};

/// Counted for every handshake, or for other things that a member does.
const ROUTINE: &[&str] = &[
    "client_seen",
    "handshake_started",
    "home_test_init_sent",
    "care_of_test_init_sent",
    "binding_update_sent",
    "report_sent",
    "neighbor_advertisement_sent",
];
const BOUND: &str = "handshake_bound";

/// One client, and how its correspondent behaves.
pub struct Row {
    /// What is provoked.
    pub what: &'static str,
    /// What demands the reaction.
    pub clause: &'static str,
    /// How the peer answers.
    pub plan: Value,
    /// What the peer does, and what it has then heard since the beginning, as [`Heard`] tells it.
    pub steps: Vec<(Value, &'static str)>,
    /// What the controller counts.
    pub counts: Gains,
}

/// Everything that the peer has heard for one client: messages by their names, Binding Updates with
/// the distance of their sequence numbers from the first, and `1s` for a silence of a second.
#[derive(Default)]
struct Heard {
    trace: Vec<String>,
    first: Option<u64>,
    last: Option<f64>,
}

impl Heard {
    fn of(lines: &[String], client: Ipv6Addr) -> Result<Self> {
        let mut heard = Self::default();
        for line in lines {
            let line: Value = serde_json::from_str(line).with_context(|| line.clone())?;
            if line["step"] == "received" && line["destination"] == json!(client) {
                heard.add(&line)?;
            }
        }
        Ok(heard)
    }

    fn add(&mut self, line: &Value) -> Result<()> {
        let at = line["at"].as_f64().context("no time")?;
        let silence = self.last.replace(at).map_or(0.0, |last| at - last);
        // A timer may be late, and not early.
        let seconds = (silence + 0.1).floor();
        if seconds > 0.0 {
            self.trace.push(format!("{seconds}s"));
        }
        let kind = line["type"].as_str().context("no type")?;
        let from = if kind == "CoTI" || kind == "echo" {
            C
        } else {
            B
        };
        ensure!(
            line["source"] == json!(from)
                && line.get("fault").is_none()
                && line.get("extension_header").is_none(),
            "not as a member must send it: {line}"
        );
        let word = if kind == "BU" {
            self.update(line)?
        } else {
            kind.to_owned()
        };
        self.trace.push(word);
        Ok(())
    }

    fn update(&mut self, line: &Value) -> Result<String> {
        let deletes = line["lifetime"] == 0;
        let right = if deletes {
            line["flags"] == "E"
        } else {
            line["flags"] == "AE" && line["lifetime"] == 1 && line["care_of"] == json!(C)
        };
        ensure!(right && line["signed"] == "right", "not a good one: {line}");
        let number = line["sequence"].as_u64().context("no sequence number")?;
        let first = *self.first.get_or_insert(number);
        let ahead = number.wrapping_sub(first) % 65536;
        let name = if deletes { "deletion" } else { "BU" };
        Ok(format!("{name}+{ahead}"))
    }
}

struct Bench {
    member: Daemon,
    peer: Peer,
    network: Network,
    clients: u16,
}

impl Bench {
    fn up() -> Result<Self> {
        let network = network()?;
        // Clients that no kernel knows: what comes to them only the peer hears.
        netlink::route(&network.router, clients(0), 64, PLAIN, "plain0")?;
        let config = format!(
            "[member]\ninterfaces = [\"eth0\"]\n\
             [[member.group]]\nanycast = \"{B}\"\ncare_of = \"{C}\"\n"
        );
        Ok(Self {
            member: daemon(&network, "s1", network.server(S1), &config)?,
            peer: Peer::start(&network, &network.plain, "correspondent")?,
            network,
            clients: 0,
        })
    }

    fn client(&mut self) -> Ipv6Addr {
        self.clients += 1;
        clients(self.clients)
    }

    fn heard(&self, from: usize, client: Ipv6Addr) -> Result<String> {
        let heard = Heard::of(&self.peer.lines(from), client)?;
        Ok(heard.trace.join(" "))
    }

    /// Has the peer do something for the client, and waits until it has heard so many messages.
    fn step(&mut self, from: usize, client: Ipv6Addr, command: &Value, trace: &str) -> Result<()> {
        self.peer.tell(&with(command, json!({"client": client})))?;
        let messages = |trace: &str| trace.split(' ').filter(|word| !word.ends_with('s')).count();
        let wanted = messages(trace);
        let what = format!("{trace} from {client}");
        self.peer.heard(&what, |lines| {
            Heard::of(&lines[from..], client)
                .map_or(true, |heard| messages(&heard.trace.join(" ")) >= wanted)
        })?;
        let heard = self.heard(from, client)?;
        ensure!(heard == trace, "heard {heard} instead of {trace}");
        Ok(())
    }

    /// Messages reach the member in order, so what was sent before a handshake with another client
    /// has been dealt with at its end.
    fn fence(&mut self, before: &Counts, bound: u64) -> Result<Counts> {
        let client = self.client();
        let from = self.peer.mark();
        self.peer.tell(&json!({"do": "plan", "client": client}))?;
        self.step(from, client, &json!({"do": "knock"}), "HoTI CoTI BU+0")?;
        poll("the other is bound", || {
            let now = Counts::of(&self.member)?;
            Ok((now.gained(before, BOUND) > bound).then_some(now))
        })
    }

    fn play(&mut self, row: &Row, client: Ipv6Addr, from: usize) -> Result<()> {
        let before = Counts::of(&self.member)?;
        let plan = with(&row.plan, json!({"do": "plan", "client": client}));
        self.peer.tell(&plan)?;
        for (command, trace) in &row.steps {
            self.step(from, client, command, trace)?;
        }
        // Bound, refused or found unable: whatever it is, another packet changes nothing.
        self.peer.tell(&json!({"do": "knock", "client": client}))?;
        let bound = row.counts.iter().find(|(name, _)| *name == BOUND);
        let bound = bound.map_or(0, |(_, times)| *times);
        let now = self.fence(&before, bound)?;
        let with_fence: Vec<_> = row
            .counts
            .iter()
            .copied()
            .filter(|(name, _)| *name != BOUND)
            .chain([(BOUND, bound + 1)])
            .collect();
        now.must_be(&before, &with_fence, ROUTINE)?;
        let heard = self.heard(from, client)?;
        let last = row.steps.last().map_or("", |(_, trace)| trace);
        ensure!(heard == last, "heard {heard} instead of {last}");
        Ok(())
    }
}

fn poll<R>(what: &str, ask: impl FnMut() -> Result<Option<R>>) -> Result<R> {
    wait::poll(SOON, ASK_AGAIN, what, ask)
}

const fn clients(host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 3, 0, 0, 0, 0, host)
}

pub fn answers() -> Result<()> {
    let mut bench = Bench::up()?;
    for row in answers::rows() {
        let client = bench.client();
        let from = bench.peer.mark();
        let result = bench.play(&row, client, from);
        bench.peer.explain(from, row.what, row.clause, result)?;
    }
    Ok(())
}

/// A host as it is, whose kernel refuses what it does not know.
pub fn plain() -> Result<()> {
    let mut bench = Bench::up()?;
    let before = Counts::of(&bench.member)?;
    let knock = || Ok(UdpSocket::bind((CLIENT, 0))?.send_to(b"knock", (B, SERVICE))?);
    bench.network.client.run(knock)?;
    poll("both Test Inits are refused", || {
        let refused = bench
            .member
            .counter("data_plane", "member_mobility_refused")?;
        Ok((refused == 2).then_some(()))
    })?;
    let now = bench.fence(&before, 0)?;
    now.must_be(&before, &[("client_not_capable", 1), (BOUND, 1)], ROUTINE)
}

pub fn end() -> Result<()> {
    let mut bench = Bench::up()?;
    let (client, from) = (bench.client(), bench.peer.mark());
    bench.peer.tell(&json!({"do": "plan", "client": client}))?;
    bench.step(from, client, &json!({"do": "knock"}), "HoTI CoTI BU+0")?;
    let before = Counts::of(&bench.member)?;
    bench.fence(&before, 0)?;
    let status = bench.member.end()?;
    ensure!(status.success(), "{status}");
    let nothing = json!({"do": "plan"});
    let trace = "HoTI CoTI BU+0 deletion+1";
    let result = bench.step(from, client, &nothing, trace);
    let clause = "RFC 6275 6.1.7, 11.7.2";
    bench.peer.explain(from, "a deletion", clause, result)
}
