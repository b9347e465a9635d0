//! Clients that ask by UDP, each from its own address.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};
use xtask::{
    lab::topology::B,
    net::{self, Namespace, Pace},
};

use super::site::{Site, client};

/// Where members answer.
pub const PORT: u16 = 5353;
const QUESTION: &[u8] = b"question";

/// Runs `body` while these members answer questions, each with its place behind the question.
pub fn with_answers<R>(members: &[Arc<Namespace>], body: impl FnOnce() -> Result<R>) -> Result<R> {
    let members = members.iter().zip(0..);
    let members: Vec<_> = members
        .map(|(member, place)| (&**member, vec![place]))
        .collect();
    net::with_answers(SocketAddr::from((B, PORT)), &members, body)
}

/// A socket of a client, connected to B.
pub fn socket(site: &Site, number: u16) -> Result<UdpSocket> {
    site.clients.run(|| {
        let socket = UdpSocket::bind(SocketAddr::from((client(number), 0)))?;
        socket.connect(SocketAddr::from((B, PORT)))?;
        Ok(socket)
    })
}

/// Between two questions of a stream.
pub const EVERY: Duration = Duration::from_millis(100);

/// Streams of questions, which go on while the clients do something else.
pub struct Streams {
    stop: Arc<AtomicBool>,
    asker: JoinHandle<Result<Tally>>,
}

/// How streams fared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub asked: u64,
    pub answered: u64,
    /// Longest time in which a stream that asks had no answer.
    pub longest: Duration,
}

impl Streams {
    /// Begins so many streams by a port of its own each, of all clients in turn.
    pub fn begin(site: &Site, clients: u16, streams: usize) -> Result<Self> {
        let numbers = (1..=clients).cycle().take(streams);
        let sockets: Result<Vec<_>> = numbers.map(|number| socket(site, number)).collect();
        let sockets = sockets?;
        let stop = Arc::new(AtomicBool::new(false));
        let stops = Arc::clone(&stop);
        let asker = thread::spawn(move || ask(&sockets, &stops));
        Ok(Self { stop, asker })
    }

    /// Ends them.
    pub fn end(self) -> Result<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.asker.join();
        ended.map_err(|_| anyhow!("the thread of the streams panicked"))?
    }
}

fn ask(sockets: &[UdpSocket], stop: &AtomicBool) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut answered = vec![None; sockets.len()];
    for socket in sockets {
        socket.set_nonblocking(true)?;
    }
    let pace = Pace::every(EVERY / u32::try_from(sockets.len())?)?;
    while !stop.load(Ordering::Relaxed) {
        for (socket, last) in sockets.iter().zip(&mut answered) {
            let mut answer = [0; 64];
            while let Ok(length) = socket.recv(&mut answer) {
                ensure!(answer.starts_with(QUESTION), "{:?}", &answer[..length]);
                tally.answered += 1;
                *last = Some(Instant::now());
            }
            // An ICMPv6 error of an earlier question is told here; the next one goes out all the same.
            tally.asked += u64::from(socket.send(QUESTION).is_ok());
            // What was answered before it was asked again has not waited.
            let since = last.get_or_insert_with(Instant::now);
            tally.longest = tally.longest.max(since.elapsed().saturating_sub(EVERY));
            pace.beat()?;
        }
    }
    Ok(tally)
}
