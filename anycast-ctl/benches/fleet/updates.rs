//! Binding Updates over a real bus, at a daemon that takes them from another gateway.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv6Addr, TcpStream},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anycast_ctl::core::{
    Action, Actions,
    controller::{Controller, Input},
    correspondent::Correspondent,
    fleet::Bus,
};
use anyhow::Result;
use xtask::net::wait;

use super::{
    bed::{Bed, LONG, PORT, now},
    common::{rate, sample},
    machines::{correspondent, step},
    parts::{settings, updates_of},
};

const COUNT: usize = 200_000;
/// Told at once; more are told when most of these have been taken.
const WINDOW: usize = 2000;
const AGAIN: Duration = Duration::from_millis(2);
const SOON: Duration = Duration::from_secs(1);
const HELLO: &str =
    "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":false}\r\nSUB anycast.fleet.all 1\r\n";

pub fn run() -> Result<()> {
    let Some(bed) = Bed::make()? else {
        return Ok(());
    };
    println!(
        "{COUNT} Binding Updates of another gateway by nats-server, at most {WINDOW} on the way"
    );
    let mut daemon = bed.start(0, COUNT)?;
    daemon.wait_ready()?;
    let mut other = Other::join(&bed)?;
    let updates = updates_of(&mut other.gateway, now()?, COUNT);
    let (socket, process) = (bed.socket(0), daemon.process().id());
    let taken = || -> Result<(usize, f64)> {
        let (counters, busy) = sample(&socket, process)?;
        let count = |name: &str| counters.controller.get(name).copied().unwrap_or_default();
        let taken = count("fleet_update_accepted") + count("fleet_update_refused");
        Ok((usize::try_from(taken)?, busy))
    };
    let ((before, busy), start) = (taken()?, Instant::now());
    let mut told = 0;
    for chunk in updates.chunks(WINDOW) {
        other.tell(chunk)?;
        told += chunk.len();
        wait::poll(LONG, AGAIN, "most of them are taken", || {
            Ok((taken()?.0 - before + WINDOW / 2 >= told).then_some(()))
        })?;
    }
    wait::poll(LONG, AGAIN, "all of them are taken", || {
        Ok((taken()?.0 - before >= told).then_some(()))
    })?;
    let took = start.elapsed();
    let used = taken()?.1 - busy;
    let accepted = daemon.counter("controller", "fleet_update_accepted")?;
    println!(
        "  {accepted} of {told} accepted in {took:.2?}: {:.1}k/s; a core of the daemon takes {:.1}k/s, with their \
         entries in the maps of the kernel",
        rate(told, took),
        rate(told, Duration::from_secs_f64(used)),
    );
    daemon.end()?;
    bed.forget(0)
}

/// Another gateway, which has the same clock. It says what it says in turn, since each message has a number.
struct Other {
    gateway: Controller,
    stream: BufReader<TcpStream>,
    line: String,
}

impl Other {
    /// It is there when the daemon and it have heard each other.
    fn join(bed: &Bed) -> Result<Self> {
        let connect = || {
            let mut stream = TcpStream::connect((Ipv6Addr::LOCALHOST, PORT))?;
            stream.write_all(HELLO.as_bytes())?;
            stream.set_read_timeout(Some(AGAIN))?;
            Ok(stream)
        };
        let now = now()?;
        let mut other = Self {
            gateway: correspondent(now, COUNT, Some(settings("other"))),
            stream: BufReader::new(bed.bus.run(connect)?),
            line: String::new(),
        };
        let connected = Input::BusConnected(true);
        other.gateway.handle(now, connected, &mut Actions::new());
        wait::poll(LONG, AGAIN, "it hears the daemon", || {
            other.listen()?;
            Ok(other.hears().then_some(()))
        })?;
        // The daemon is told a moment later that it is heard.
        let start = Instant::now();
        while start.elapsed() < SOON {
            other.listen()?;
        }
        Ok(other)
    }

    fn hears(&self) -> bool {
        let role = self.gateway.correspondent();
        let bus = role.and_then(Correspondent::bus);
        bus.is_some_and(Bus::has_others)
    }

    /// Tells of Binding Updates that it accepts.
    fn tell(&mut self, updates: &[Vec<u8>]) -> Result<()> {
        self.poll()?;
        let (actions, _) = step(&mut self.gateway, now()?, updates);
        self.say(actions)
    }

    /// What is due, such as a heartbeat.
    fn poll(&mut self) -> Result<()> {
        let (now, mut actions) = (now()?, Actions::new());
        let unix = SystemTime::now().duration_since(UNIX_EPOCH)?;
        self.gateway.clock(now, unix);
        self.gateway.poll(now, &mut actions);
        self.say(actions)
    }

    fn say(&mut self, actions: Actions) -> Result<()> {
        let mut all = Vec::new();
        for action in actions {
            if let Action::Publish { to: None, octets } = action {
                write!(all, "PUB anycast.fleet.all {}\r\n", octets.len())?;
                all.extend([&octets[..], b"\r\n"].concat());
            }
        }
        Ok(self.stream.get_mut().write_all(&all)?)
    }

    /// Takes what is said to all.
    fn listen(&mut self) -> Result<()> {
        self.poll()?;
        if self.stream.read_line(&mut self.line).is_err() {
            return Ok(());
        }
        let line = std::mem::take(&mut self.line);
        let words: Vec<_> = line.split_whitespace().collect();
        if let ["MSG", .., length] = words[..] {
            let mut message = vec![0; length.parse::<usize>()? + 2];
            self.stream.get_ref().set_read_timeout(Some(LONG))?;
            self.stream.read_exact(&mut message)?;
            self.stream.get_ref().set_read_timeout(Some(AGAIN))?;
            let (message, mut actions) = (&message[..message.len() - 2], Actions::new());
            self.gateway
                .handle(now()?, Input::Bus(message), &mut actions);
            self.say(actions)?;
        }
        Ok(())
    }
}
