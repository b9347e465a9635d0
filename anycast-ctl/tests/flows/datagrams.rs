//! Questions and answers by UDP, a flow each.

use std::{
    io::ErrorKind,
    net::{Ipv6Addr, SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use xtask::{
    lab::topology::{B, CLIENT},
    net::{self, Pace},
};

use super::site::Site;

/// Where members answer.
pub const PORT: u16 = 5353;
/// An answer that takes longer is lost.
const LATE: Duration = Duration::from_millis(500);

/// Runs `body` while every member answers questions, each with its place behind the question.
pub fn with_answers<R>(site: &Site, body: impl FnOnce() -> Result<R>) -> Result<R> {
    let members = site.members.iter().zip(0..);
    let members: Vec<_> = members
        .map(|(member, place)| (member, vec![place]))
        .collect();
    net::with_answers(SocketAddr::from((B, PORT)), &members, body)
}

/// A flow of the client: a socket of its own.
pub struct Asker {
    socket: UdpSocket,
    /// Questions so far, and how many of them nobody has answered.
    pub asked: u32,
    pub lost: u32,
    /// When the last question was asked that nobody answered.
    pub last_lost: Option<Instant>,
}

impl Asker {
    /// From this port of the client, or any where it is 0.
    pub fn open(site: &Site, port: u16) -> Result<Self> {
        Self::from(site, (CLIENT, port))
    }

    pub fn from(site: &Site, source: (Ipv6Addr, u16)) -> Result<Self> {
        let socket = site.client.run(|| {
            let socket = UdpSocket::bind(SocketAddr::from(source))?;
            socket.connect(SocketAddr::from((B, PORT)))?;
            Ok(socket)
        })?;
        socket.set_read_timeout(Some(LATE))?;
        Ok(Self {
            socket,
            asked: 0,
            lost: 0,
            last_lost: None,
        })
    }

    /// Asks once, and gives the place of the member that has answered.
    pub fn ask(&mut self) -> Result<Option<usize>> {
        let (asked, question) = (Instant::now(), self.asked.to_be_bytes());
        self.asked += 1;
        let mut answer = [0; 64];
        let mut heard = self.socket.send(&question).map(|_| 0);
        while heard.is_ok() && answer[..4] != question || matches!(heard, Ok(0)) {
            heard = self.socket.recv(&mut answer);
        }
        match heard {
            Ok(_) => return Ok(Some(answer[4].into())),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock
                        | ErrorKind::ConnectionRefused
                        | ErrorKind::HostUnreachable
                        | ErrorKind::NetworkUnreachable
                ) => {}
            Err(error) => bail!("the client: {error}"),
        }
        self.lost += 1;
        self.last_lost = Some(asked);
        Ok(None)
    }
}

/// So many flows ask again and again for so long, with a rest between two questions.
pub fn ask_all(site: &Site, flows: u16, time: Duration, rest: Duration) -> Result<Vec<Asker>> {
    let start = Instant::now();
    thread::scope(|scope| {
        let flows: Vec<_> = (0..flows)
            .map(|_| {
                scope.spawn(|| -> Result<Asker> {
                    let mut asker = Asker::open(site, 0)?;
                    let pace = Pace::every(rest)?;
                    while start.elapsed() < time {
                        asker.ask()?;
                        pace.beat()?;
                    }
                    Ok(asker)
                })
            })
            .collect();
        flows
            .into_iter()
            .map(|flow| flow.join().unwrap_or_else(|_| bail!("a client panicked")))
            .collect()
    })
}
