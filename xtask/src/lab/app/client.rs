//! The client: connects, and does what it is told on its standard input.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    process::exit,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::{
    content::{DOWN, UP},
    server::Transfer,
    session::{Hello, Receipt, Session, is_reset},
};

/// While it beats, it exchanges so much in every interval, as a session does that is in use.
const BEAT: (u64, Duration) = (4 << 10, Duration::from_millis(20));

/// One session, from its first word to its end.
pub(super) fn connect(address: SocketAddr) -> Result<()> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    let started = Instant::now();
    let stream = TcpStream::connect(address).with_context(|| format!("no answer by {address}"))?;
    let mut session = Session::new(stream, UP, DOWN)?;
    let result = run(&mut session, &told, started);
    let (sent, received) = session.counts();
    let last = match &result {
        Ok(()) => json!({"event": "finished"}),
        Err(error) if is_reset(error) => json!({"event": "reset"}),
        Err(error) => json!({"event": "failed", "error": format!("{error:#}")}),
    };
    report(
        last,
        &[("sent", sent.into()), ("received", received.into())],
    );
    if let Err(error) = result {
        eprintln!("error: {error:#}");
        exit(1);
    }
    Ok(())
}

fn run(session: &mut Session, told: &mpsc::Receiver<String>, started: Instant) -> Result<()> {
    let hello: Hello = session.hear()?.context("closed before a word")?;
    let event = json!({"event": "connected", "seconds": started.elapsed().as_secs_f64()});
    let server = [
        ("server", hello.server.into()),
        ("local", session.local()?.into()),
        ("peer", session.peer()?.into()),
        ("server_local", hello.local.into()),
        ("server_peer", hello.peer.into()),
    ];
    report(event, &server);
    let (mut beats, mut beating) = (0_u64, false);
    loop {
        // A client that rests waits for a word; one that beats, only until the next beat.
        let word = match beating {
            true => told.recv_timeout(BEAT.1),
            false => told.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match word.as_deref().map(|line| line.split_whitespace()) {
            Err(RecvTimeoutError::Timeout) => {
                transfer(session, BEAT.0, BEAT.0)?;
                beats += 1;
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Ok(mut words) => match (words.next(), words.next(), words.next()) {
                (Some("beat"), None, None) => beating = true,
                (Some("pause"), None, None) => {
                    beating = false;
                    report(json!({"event": "paused"}), &[("beats", beats.into())]);
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
                    report(json!({"event": "transferred"}), &fields);
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

/// The server's receipt says that it has verified all that was sent.
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

fn report(mut event: Value, fields: &[(&str, Value)]) {
    for (name, value) in fields {
        event[*name] = value.clone();
    }
    println!("{event}");
}
