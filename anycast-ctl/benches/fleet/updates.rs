//! Binding Updates over a real bus, at a daemon that takes them from another gateway.

use std::{
    io::Write as _,
    net::{Ipv6Addr, TcpStream},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anycast_ctl::core::Action;
use anyhow::{Context as _, Result};
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

pub fn run() -> Result<()> {
    let Some(bed) = Bed::make()? else {
        return Ok(());
    };
    println!(
        "{COUNT} Binding Updates of another gateway by nats-server, at most {WINDOW} on the way"
    );
    let mut daemon = bed.start(0, COUNT)?;
    daemon.wait_ready()?;
    let updates = updates()?;
    let mut stream = bed
        .bus
        .run(|| Ok(TcpStream::connect((Ipv6Addr::LOCALHOST, PORT))?))?;
    stream.write_all(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n")?;
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
        let mut octets = Vec::new();
        for update in chunk {
            write!(octets, "PUB anycast.fleet.all {}\r\n", update.len())?;
            octets.extend([&update[..], b"\r\n"].concat());
        }
        stream.write_all(&octets)?;
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

/// What another gateway tells, which has the same clock.
fn updates() -> Result<Vec<Vec<u8>>> {
    let now = now()?;
    let mut gateway = correspondent(now, COUNT, Some(settings("other")));
    gateway.clock(now, SystemTime::now().duration_since(UNIX_EPOCH)?);
    let updates = updates_of(&mut gateway, now, COUNT);
    let (said, _) = step(&mut gateway, now, &updates);
    let told = said.into_iter().filter_map(|action| match action {
        Action::Publish { octets, .. } => Some(octets),
        _ => None,
    });
    let told: Vec<_> = told.filter(|octets| octets.get(1) == Some(&1)).collect();
    (told.len() == COUNT)
        .then_some(told)
        .context("not all were accepted")
}
