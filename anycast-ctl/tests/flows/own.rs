//! Connections that a member itself opens from C to a client, beside those that the client opens to B.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use socket2::{Domain, Socket, Type};
use xtask::{kernel_tests::Suite, lab::topology::CLIENT};

use super::{
    sessions::Sessions,
    site::{Mode, Plan, SOON, Site, care_of},
};

const BOUND: Duration = Duration::from_secs(2);
/// Octets each way.
const ROUND: usize = 3000;
const ROUNDS: usize = 20;

pub fn tests(mut suite: Suite) -> Suite {
    for mode in [None, Some(Mode::Native), Some(Mode::Tcx)] {
        let how = mode.map_or("without us", Mode::name);
        let name = format!("a member's own connections to a client, {how}");
        suite = suite.test(name, move || {
            let site = Site::up(Plan::new(1, mode))?;
            beside(&site).with_context(|| site.logs())
        });
    }
    suite
}

fn beside(site: &Site) -> Result<()> {
    // The gateway sees this one's SYN before it knows that C is a care-of address of the client, so it can only learn
    // whose the connection is when the client does not know what comes from B.
    let early = Own::open(site)?;
    early.exchange(1)?;
    let mut sessions = Sessions::open(site, 1)?;
    sessions.beat()?;
    if site.plan.mode.is_some() {
        sessions.wait_bound(site, BOUND)?;
    }
    early.exchange(ROUNDS)?;
    let late = Own::open(site)?;
    late.exchange(ROUNDS)?;
    if site.plan.mode.is_some() {
        for (name, wanted) in [("flow_own", 1), ("flow_reset_held", 1)] {
            let seen = site.counter(name)?;
            ensure!(seen == wanted, "{name}: {seen}, not {wanted}");
        }
    }
    let ends = sessions.finish()?;
    ensure!(ends.broken.is_empty(), "{ends:?}");
    Ok(())
}

/// A connection from C.
struct Own {
    member: TcpStream,
    client: TcpStream,
}

impl Own {
    fn open(site: &Site) -> Result<Self> {
        let (listener, address) = site.client.run(|| {
            let listener = Socket::new(Domain::IPV6, Type::STREAM, None)?;
            listener.bind(&SocketAddr::from((CLIENT, 0)).into())?;
            listener.listen(1)?;
            listener.set_read_timeout(Some(SOON))?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        })?;
        let member = site.members[0].run(|| {
            let socket = Socket::new(Domain::IPV6, Type::STREAM, None)?;
            socket.bind(&SocketAddr::from((care_of(0), 0)).into())?;
            socket.connect_timeout(&address, SOON)?;
            Ok(TcpStream::from(socket))
        })?;
        let (client, _) = listener.accept().context("no connection")?;
        let client = TcpStream::from(client);
        for stream in [&member, &client] {
            stream.set_read_timeout(Some(SOON))?;
        }
        Ok(Self { member, client })
    }

    fn exchange(&self, rounds: usize) -> Result<()> {
        for round in 0..rounds {
            for (mut from, mut to, who) in [
                (&self.member, &self.client, "the member's"),
                (&self.client, &self.member, "the client's"),
            ] {
                let sent: Vec<u8> = (0..=250).cycle().skip(round).take(ROUND).collect();
                let mut came = vec![0; ROUND];
                let what = || format!("{who} octets of round {round}");
                from.write_all(&sent).with_context(what)?;
                to.read_exact(&mut came).with_context(what)?;
                ensure!(came == sent, "{} have changed", what());
            }
        }
        Ok(())
    }
}
