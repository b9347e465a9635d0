//! Sessions of one client, verified octet by octet, and what the gateway knows of them.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use xtask::{lab::crowd::Crowd, net::wait};

use super::site::{ASK_AGAIN, Site, care_of};

/// 4 KiB each way, twenty times a second.
const BEAT: &str = "beat 50";
/// And in a round of all, each way.
const ROUND: u64 = 16 << 10;
/// To get to the end of what they are at.
const END: Duration = Duration::from_secs(20);

/// A session, as its first words tell.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    /// Port of the client.
    pub port: u16,
    /// The member that serves it, by its place. None: it was broken before that was known.
    pub member: Option<usize>,
}

/// Sessions that run side by side.
pub struct Sessions {
    crowd: Crowd,
    pub all: Vec<Session>,
}

/// The last words of sessions that have ended before they were told to.
#[derive(Debug)]
pub struct Broken(pub Vec<Value>);

impl Broken {
    /// None may have ended.
    pub fn none(&self, when: &str) -> Result<()> {
        let Self(broken) = self;
        let words = broken.first();
        ensure!(
            broken.is_empty(),
            "{} broken {when}: {words:?}",
            broken.len()
        );
        Ok(())
    }
}

/// How sessions have ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    pub finished: usize,
    /// By port.
    pub broken: Vec<(u16, String)>,
}

impl Sessions {
    /// So many at once.
    pub fn open(site: &Site, number: usize) -> Result<Self> {
        let mut sessions = Self {
            crowd: Crowd::start(&site.client, site.directory())?,
            all: Vec::new(),
        };
        sessions.more(number)?;
        Ok(sessions)
    }

    /// One from each of these ports, at once.
    pub fn from_ports(site: &Site, ports: &[u16]) -> Result<Self> {
        let mut crowd = Crowd::start(&site.client, site.directory())?;
        let numbers = ports.iter().map(|port| crowd.open_from(*port));
        let numbers = numbers.collect::<Result<Vec<_>>>()?;
        let mut sessions = Self {
            crowd,
            all: Vec::new(),
        };
        sessions.connected(&numbers)?;
        Ok(sessions)
    }

    /// So many more.
    pub fn more(&mut self, number: usize) -> Result<()> {
        let numbers = (0..number).map(|_| self.crowd.open());
        let numbers = numbers.collect::<Result<Vec<_>>>()?;
        self.connected(&numbers)
    }

    fn connected(&mut self, numbers: &[usize]) -> Result<()> {
        for number in numbers {
            let number = *number;
            let said = self.crowd.first_words(number, END)?;
            let local = said["local"].as_str().unwrap_or("[::]:0");
            self.all.push(Session {
                port: local.parse::<SocketAddr>()?.port(),
                member: said["server"].as_str().and_then(Site::place_of),
            });
        }
        Ok(())
    }

    /// They exchange data without end.
    pub fn beat(&mut self) -> Result<()> {
        self.crowd.tell(BEAT)
    }

    /// For so long, each of them exchanges data again and again, and whoever still lives has done so since the
    /// last of it began. Gives the last words of those that are broken by now.
    pub fn exchange(&mut self, time: Duration) -> Result<Broken> {
        let start = Instant::now();
        loop {
            self.crowd.exchange(ROUND, END)?;
            if start.elapsed() >= time {
                return Ok(Broken(self.crowd.over()));
            }
        }
    }

    /// They say nothing more, once what they are at is done.
    pub fn pause(&mut self) -> Result<()> {
        self.crowd.tell("pause")?;
        self.crowd.exchange(ROUND, END).map(drop)
    }

    /// Closes all, and gives how they have ended.
    pub fn finish(mut self) -> Result<Ends> {
        self.crowd.tell("finish")?;
        let mut ends = Ends::default();
        for (session, end) in self.all.iter().zip(self.crowd.ends(END)?) {
            if end["event"] == "finished" {
                ends.finished += 1;
            } else {
                ends.broken.push((session.port, end.to_string()));
            }
        }
        Ok(ends)
    }

    /// How many the gateway sends to the member that serves them, and how many elsewhere.
    pub fn bound(&self, site: &Site) -> Result<(usize, usize)> {
        self.in_state(site, &["trial", "bound"])
    }

    /// The same of those in one of these states.
    fn in_state(&self, site: &Site, states: &[&str]) -> Result<(usize, usize)> {
        let flows = site.daemon("gateway")?.list("flows")?;
        let members: Vec<_> = (0..site.members.len())
            .map(|member| json!(care_of(member)))
            .collect();
        // A flow that goes to none of them is open.
        let flows = flows
            .iter()
            .filter(|flow| members.contains(&flow["care_of"]));
        let pinned: BTreeMap<_, _> = flows
            .map(|flow| (flow["client_port"].as_u64(), flow))
            .collect();
        let (mut own, mut foreign) = (0, 0);
        for session in &self.all {
            let at_own = session.member.map(|member| &members[member]);
            match pinned.get(&Some(session.port.into())) {
                Some(flow) if Some(&flow["care_of"]) == at_own => {
                    own += usize::from(states.iter().any(|state| flow["state"] == *state));
                }
                Some(_) => foreign += 1,
                None => {}
            }
        }
        Ok((own, foreign))
    }

    /// Waits until all are bound, each at its own member, and have been answered there: a flow on trial may yet go by B
    /// again. They have to exchange data meanwhile.
    pub fn wait_bound(&self, site: &Site, limit: Duration) -> Result<Duration> {
        let start = Instant::now();
        let mut last = (0, 0);
        let all = wait::poll(
            limit,
            ASK_AGAIN,
            "all sessions are bound at their own",
            || {
                last = self.in_state(site, &["bound"])?;
                Ok((last.0 == self.all.len()).then_some(()))
            },
        );
        all.with_context(|| {
            let (own, foreign) = last;
            format!("{own} of {} bound, {foreign} by another", self.all.len())
        })?;
        Ok(start.elapsed())
    }
}
