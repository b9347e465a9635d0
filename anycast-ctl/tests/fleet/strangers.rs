//! Who has no secret, or another one, and is on the bus.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xtask::{kernel_tests::Suite, net::wait};

use super::{
    nats::{self, Nats},
    sessions::{REST, bind},
    site::{Plan, SOON, Site, bus},
};

/// So long somebody listens: the heartbeats of all are in it.
const LISTEN: Duration = Duration::from_secs(5);
const TAKEN: [&str; 3] = ["fleet_update_accepted", "fleet_flows_adopted", "fleet_ends"];
const REFUSED: [&str; 7] = [
    "fleet_message_not_ours",
    "fleet_message_malformed",
    "fleet_message_forged",
    "fleet_message_replayed",
    "fleet_message_unproven",
    "fleet_other_secret",
    "fleet_update_refused",
];

pub fn tests(suite: Suite) -> Suite {
    let suite = nats::test(
        suite,
        "of what a stranger says on the bus nothing is taken, and all is counted",
        || with_site(None, stranger),
    );
    nats::test(
        suite,
        "a gateway with another secret is named by all",
        || with_site(Some(1), other_secret),
    )
}

fn with_site(stranger: Option<usize>, what: fn(&Site) -> Result<()>) -> Result<()> {
    let mut site = Site::network(Plan {
        gateways: 2,
        members: 1,
        clients: 1,
        fleet: Some(nats::servers()),
        stranger,
        ..Plan::default()
    })?;
    let _bus = Nats::start(&site)?;
    site.daemons()?;
    what(&site).with_context(|| site.logs())
}

/// Somebody on the bus who wants to hear everything, and never reads.
pub fn listener(site: &Site) -> Result<impl Sized + use<>> {
    Stranger::connect(site)
}

/// Somebody on the bus who speaks its protocol.
struct Stranger(BufReader<TcpStream>);

impl Stranger {
    fn connect(site: &Site) -> Result<Self> {
        site.bus.run(|| {
            let mut stream = TcpStream::connect(SocketAddr::from((bus(0), 4222)))?;
            stream.write_all(
                b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB anycast.fleet.> 1\r\n",
            )?;
            stream.set_read_timeout(Some(REST))?;
            Ok(Self(BufReader::new(stream)))
        })
    }

    /// What is said within this time.
    fn listen(&mut self, time: Duration) -> Result<Vec<Vec<u8>>> {
        let (start, mut said) = (Instant::now(), Vec::new());
        while start.elapsed() < wait::patience(time) {
            let mut line = String::new();
            if self.0.read_line(&mut line).is_err() {
                continue;
            }
            let words: Vec<_> = line.split_whitespace().collect();
            if let ["MSG", .., length] = words[..] {
                let mut message = vec![0; length.parse::<usize>()? + 2];
                self.0.get_ref().set_read_timeout(Some(SOON))?;
                self.0.read_exact(&mut message)?;
                self.0.get_ref().set_read_timeout(Some(REST))?;
                message.truncate(message.len() - 2);
                said.push(message);
            } else if words == ["PING"] {
                self.0.get_mut().write_all(b"PONG\r\n")?;
            }
        }
        Ok(said)
    }

    fn say(&mut self, message: &[u8]) -> Result<()> {
        let head = format!("PUB anycast.fleet.all {}\r\n", message.len());
        let stream = self.0.get_mut();
        stream.write_all(&[head.as_bytes(), message, b"\r\n"].concat())?;
        Ok(())
    }
}

fn stranger(site: &Site) -> Result<()> {
    let mut stranger = Stranger::connect(site)?;
    bind(site, &[0, 1])?;
    let recorded = stranger.listen(LISTEN)?;
    let kinds = |kind: u8| recorded.iter().any(|message| message.get(1) == Some(&kind));
    ensure!(
        kinds(1) && kinds(2),
        "neither an update nor a heartbeat was heard"
    );
    // What was under way is done: nothing is told of flows that are closed and of clients that are silent.
    let before = counts(site, &TAKEN)?;
    let refused = counts(site, &REFUSED)?;
    let mut said = 0;
    for message in &recorded {
        let mut changed = message.clone();
        let place = changed.len() / 2;
        changed[place] ^= 1;
        for message in [message, &changed] {
            stranger.say(message)?;
            said += 1;
        }
    }
    for made_up in [&[][..], &[1, 1], &[1, 2, 3], &[0; 200], &[1; 200]] {
        stranger.say(made_up)?;
        said += 1;
    }
    for (place, refused) in refused.into_iter().enumerate() {
        let wanted = refused + said;
        let what = format!("gateway {place} counts {said} refusals");
        wait::poll(SOON, REST, &what, || {
            Ok((counts(site, &REFUSED)?[place] >= wanted).then_some(()))
        })?;
    }
    // What is longer than any message of a gateway is not even looked at.
    stranger.say(&[1; 500 << 10])?;
    for place in [0, 1] {
        let what = format!("gateway {place} takes no message that is too long");
        wait::poll(SOON, REST, &what, || {
            let fleet = site.gateway(place)?.ask("fleet")?;
            Ok((fleet["untaken"] == 1).then_some(()))
        })?;
    }
    let after = counts(site, &TAKEN)?;
    ensure!(before == after, "taken were {before:?}, and then {after:?}");
    Ok(())
}

/// What these counters say together at each gateway.
fn counts(site: &Site, names: &[&str]) -> Result<[u64; 2]> {
    let sum = |place: usize| -> Result<u64> {
        let counters = site.gateway(place)?.ask("counters")?;
        let count = |name: &&str| counters["controller"][name].as_u64().unwrap_or_default();
        Ok(names.iter().map(count).sum())
    };
    Ok([sum(0)?, sum(1)?])
}

fn other_secret(site: &Site) -> Result<()> {
    for (place, name) in [(0, "g2"), (1, "g1")] {
        wait::poll(SOON, REST, &format!("gateway {place} names {name}"), || {
            let status = site.gateway(place)?.ask("status")?;
            let problems = status["problems"].as_array();
            let named = problems.into_iter().flatten().any(|problem: &Value| {
                let message = problem["message"].as_str().unwrap_or_default();
                problem["code"] == "fleet_other_secret" && message.contains(name)
            });
            Ok(named.then_some(()))
        })?;
        let fleet = site.gateway(place)?.ask("fleet")?;
        ensure!(
            fleet["peers"].as_array().is_some_and(Vec::is_empty),
            "{fleet}"
        );
        // The command that people use says it as well.
        let shown = site.gateway(place)?.tell(&["fleet"])?;
        ensure!(shown.contains("has another secret"), "{shown}");
    }
    Ok(())
}
