//! What client and server have in common: messages of one line, and octets that both can compute.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    thread,
};

use anyhow::{Context as _, Result, bail};
use serde::{Serialize, de::DeserializeOwned};

use super::content::Content;

const CHUNK: u64 = 64 << 10;

/// The first message of the server.
#[derive(Debug, Serialize, serde::Deserialize)]
pub(super) struct Hello {
    /// Name of the server.
    pub(super) server: String,
    /// The client's address, from the server's `getpeername`.
    pub(super) peer: String,
    /// The server's own address, from `getsockname`.
    pub(super) local: String,
}

/// The server's message after an exchange.
#[derive(Debug, Serialize, serde::Deserialize)]
pub(super) struct Receipt {
    /// Number of octets received and verified since the start of the session.
    pub(super) received: u64,
    /// The client's address, from the server's `getpeername` now.
    pub(super) peer: String,
    /// The server's own address, from `getsockname` now.
    pub(super) local: String,
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct Session {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
    sent: Content,
    received: Content,
}

impl Session {
    pub(super) fn new(stream: TcpStream, sends: u64, receives: u64) -> Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            reader: BufReader::with_capacity(usize::try_from(CHUNK)?, stream.try_clone()?),
            stream,
            sent: Content::new(sends),
            received: Content::new(receives),
        })
    }

    /// Number of octets sent, and number of octets received and verified.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.sent.offset(), self.received.offset())
    }

    pub(super) fn peer(&self) -> Result<String> {
        Ok(self.stream.peer_addr()?.to_string())
    }

    pub(super) fn local(&self) -> Result<String> {
        Ok(self.stream.local_addr()?.to_string())
    }

    pub(super) fn say(&mut self, what: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_string(what)?;
        line.push('\n');
        Ok(self.stream.write_all(line.as_bytes())?)
    }

    /// Reads the next message. `None` at the end of the stream.
    pub(super) fn hear<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let what = serde_json::from_str(&line).context("no line where one should come")?;
        Ok(Some(what))
    }

    /// Sends and receives this many octets at the same time, and verifies what is received.
    pub(super) fn exchange(&mut self, send: u64, receive: u64) -> Result<()> {
        let (mut stream, sent) = (&self.stream, &mut self.sent);
        let (reader, received) = (&mut self.reader, &mut self.received);
        thread::scope(|scope| {
            let sender = scope.spawn(move || -> io::Result<()> {
                let mut buffer = vec![0; usize::try_from(CHUNK).unwrap_or_default()];
                let mut left = send;
                while left > 0 {
                    let size = usize::try_from(left.min(CHUNK)).unwrap_or_default();
                    sent.fill(&mut buffer[..size]);
                    stream.write_all(&buffer[..size])?;
                    left -= size as u64;
                }
                Ok(())
            });
            let receiver = (|| -> Result<()> {
                let mut buffer = vec![0; usize::try_from(CHUNK)?];
                let mut left = receive;
                while left > 0 {
                    let most = usize::try_from(left.min(CHUNK))?;
                    let size = match reader.read(&mut buffer[..most])? {
                        0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                        size => size,
                    };
                    if let Some(offset) = received.difference(&buffer[..size]) {
                        bail!("content differs at octet {offset}");
                    }
                    left -= size as u64;
                }
                Ok(())
            })();
            let sender = match sender.join() {
                Ok(result) => result.map_err(anyhow::Error::from),
                Err(_) => bail!("the sending thread panicked"),
            };
            // The kernel reports a reset to only one of the two calls. The other one sees a closed pipe.
            match (sender, receiver) {
                (Err(error), _) if is_reset(&error) => Err(error),
                (_, Err(error)) | (Err(error), Ok(())) => Err(error),
                (Ok(()), Ok(())) => Ok(()),
            }
        })
    }

    /// Tells the other end that nothing more will be sent.
    pub(super) fn finish(&mut self) -> Result<()> {
        Ok(self.stream.shutdown(std::net::Shutdown::Write)?)
    }
}

/// Whether the other end reset the connection.
pub(super) fn is_reset(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref::<io::Error>().map(io::Error::kind),
        Some(io::ErrorKind::ConnectionReset)
    )
}
