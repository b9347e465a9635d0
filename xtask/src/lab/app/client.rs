//! The client application. It connects, and then executes the commands on its standard input. One process can run many
//! sessions.

use std::{
    io,
    net::{Ipv6Addr, SocketAddr, TcpStream},
    process::exit,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use super::{
    content::{DOWN, UP},
    server::Transfer,
    session::{Hello, Receipt, Session, is_reset},
};

/// Octets that a beating client exchanges in each direction per interval, as a session that is in use does.
const BEAT: u64 = 4 << 10;
/// The interval unless the command gives another one.
const INTERVAL: Duration = Duration::from_millis(20);

/// Runs one session from its start to its end.
pub(super) fn connect(address: SocketAddr) -> Result<()> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    if let Err(error) = attend(address, 0, &told, Voice(None)) {
        eprintln!("error: {error:#}");
        exit(1);
    }
    Ok(())
}

/// Runs many sessions, each as [`connect`] does, with the session's number in all output. The command `open` begins
/// another session, from a port if one follows, and every other command goes to all sessions.
pub(super) fn crowd(address: SocketAddr) -> Result<()> {
    let (mut tell, mut sessions) = (Vec::new(), Vec::new());
    for line in io::stdin().lines() {
        let line = line?;
        let port = match line.strip_prefix("open") {
            Some("") => 0,
            Some(port) => port.trim().parse()?,
            None => {
                // A session that has ended no longer listens.
                tell.retain(|tell: &mpsc::Sender<String>| tell.send(line.clone()).is_ok());
                continue;
            }
        };
        let (sender, told) = mpsc::channel();
        tell.push(sender);
        let voice = Voice(Some(sessions.len()));
        sessions.push(thread::spawn(move || attend(address, port, &told, voice)));
    }
    drop(tell);
    // Each session has already reported how it ended.
    for session in sessions {
        ensure!(session.join().is_ok(), "a session panicked");
    }
    Ok(())
}

/// Prints what a session reports: of a single session, or of one of many with its number.
#[derive(Clone, Copy)]
struct Voice(Option<usize>);

impl Voice {
    fn report(self, mut event: Value, fields: &[(&str, Value)]) {
        for (name, value) in fields {
            event[*name] = value.clone();
        }
        if let Some(number) = self.0 {
            event["session"] = number.into();
        }
        println!("{event}");
    }
}

fn attend(
    address: SocketAddr,
    port: u16,
    told: &mpsc::Receiver<String>,
    voice: Voice,
) -> Result<()> {
    let started = Instant::now();
    let session = connect_from(port, address)
        .with_context(|| format!("no answer by {address}"))
        .and_then(|stream| Session::new(stream, UP, DOWN));
    let ((sent, received), result) = match session {
        Ok(mut session) => {
            let result = run(&mut session, told, started, voice);
            (session.counts(), result)
        }
        Err(error) => ((0, 0), Err(error)),
    };
    let last = match &result {
        Ok(()) => json!({"event": "finished"}),
        Err(error) if is_reset(error) => json!({"event": "reset"}),
        Err(error) => json!({"event": "failed", "error": format!("{error:#}")}),
    };
    voice.report(
        last,
        &[("sent", sent.into()), ("received", received.into())],
    );
    result
}

/// From this port, or any where it is 0.
fn connect_from(port: u16, address: SocketAddr) -> io::Result<TcpStream> {
    if port == 0 {
        return TcpStream::connect(address);
    }
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
    socket.connect(&address.into())?;
    Ok(socket.into())
}

fn run(
    session: &mut Session,
    told: &mpsc::Receiver<String>,
    started: Instant,
    voice: Voice,
) -> Result<()> {
    let hello: Hello = session.hear()?.context("closed before a word")?;
    let event = json!({"event": "connected", "seconds": started.elapsed().as_secs_f64()});
    let server = [
        ("server", hello.server.into()),
        ("local", session.local()?.into()),
        ("peer", session.peer()?.into()),
        ("server_local", hello.local.into()),
        ("server_peer", hello.peer.into()),
    ];
    voice.report(event, &server);
    let (mut beats, mut beating) = (0_u64, None);
    loop {
        // A client at rest waits for a command. A beating client waits only until the next beat.
        let word = match beating {
            Some(interval) => told.recv_timeout(interval),
            None => told.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match word.as_deref().map(|line| line.split_whitespace()) {
            Err(RecvTimeoutError::Timeout) => {
                transfer(session, BEAT, BEAT)?;
                beats += 1;
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Ok(mut words) => match (words.next(), words.next(), words.next()) {
                (Some("beat"), None, None) => beating = Some(INTERVAL),
                (Some("beat"), Some(interval), None) => {
                    beating = Some(Duration::from_millis(interval.parse()?));
                }
                (Some("pause"), None, None) => {
                    beating = None;
                    voice.report(json!({"event": "paused"}), &[("beats", beats.into())]);
                }
                (Some("transfer"), Some(up), Some(down)) => {
                    let started = Instant::now();
                    let (up, down) = (up.parse()?, down.parse()?);
                    let receipt = transfer(session, up, down)?;
                    let fields = [
                        ("up", up.into()),
                        ("down", down.into()),
                        ("seconds", started.elapsed().as_secs_f64().into()),
                        ("local", session.local()?.into()),
                        ("peer", session.peer()?.into()),
                        ("server_local", receipt.local.into()),
                        ("server_peer", receipt.peer.into()),
                    ];
                    voice.report(json!({"event": "transferred"}), &fields);
                }
                (Some("finish"), None, None) => break,
                words => bail!("no such command: {words:?}"),
            },
        }
    }
    session.finish()?;
    let more: Option<Value> = session.hear()?;
    ensure!(more.is_none(), "the server said something after the end");
    Ok(())
}

/// The receipt of the server shows that it has verified everything that was sent.
fn transfer(session: &mut Session, up: u64, down: u64) -> Result<Receipt> {
    session.say(&Transfer { up, down })?;
    session.exchange(up, down)?;
    let receipt: Receipt = session
        .hear()?
        .ok_or(io::ErrorKind::UnexpectedEof)
        .map_err(io::Error::from)?;
    let (sent, _) = session.counts();
    ensure!(
        receipt.received == sent,
        "sent {sent} octets, the server has {}",
        receipt.received
    );
    Ok(receipt)
}
