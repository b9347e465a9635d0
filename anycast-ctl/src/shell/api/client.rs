//! The client side: one request, one answer.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::Ipv6Addr,
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use serde::de::DeserializeOwned;

use super::{Refusal, Reply, Request, view};

/// How long the daemon may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no answer, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "no daemon listens on {path}: start it (anycast-ctl run, or systemctl start anycast), or \
         name its socket with --socket"
    )]
    NotRunning {
        /// The path.
        path: String,
    },
    /// The socket belongs to somebody else.
    #[error("not permitted to use {path}: run as root, or as the user of the daemon")]
    Permission {
        /// The path.
        path: String,
    },
    /// It listens and does not answer.
    #[error("the daemon on {path} did not answer within {} s: see its log", PATIENCE.as_secs())]
    NoAnswer {
        /// The path.
        path: String,
    },
    /// It said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It answered something that is not an answer.
    #[error("the daemon on {path} speaks another version: restart it after an upgrade ({error})")]
    Version {
        /// The path.
        path: String,
        /// What could not be read.
        error: serde_json::Error,
    },
    /// The connection broke.
    #[error("talking to the daemon on {path}: {error}")]
    Io {
        /// The path.
        path: String,
        /// Why.
        error: io::Error,
    },
}

/// Asks the daemon on `path`.
pub fn ask<T: DeserializeOwned>(path: &Path, request: &Request) -> Result<T, ClientError> {
    let (line, _) = exchange(path, request).map_err(|error| failed(path, error))?;
    read(path, &line)
}

/// Says when a [`Request::Monitor`] has begun, and gives `line` each line of it until it says false,
/// or the daemon stops.
pub fn watch(
    path: &Path,
    request: &Request,
    begun: impl FnOnce(&view::Monitoring),
    mut line: impl FnMut(&str) -> io::Result<bool>,
) -> Result<(), ClientError> {
    let failed = |error| failed(path, error);
    let (first, mut stream) = exchange(path, request).map_err(failed)?;
    begun(&read(path, &first)?);
    // Nothing may happen for days.
    stream.get_mut().set_read_timeout(None).map_err(failed)?;
    let mut text = String::new();
    while stream.read_line(&mut text).map_err(failed)? > 0
        && line(text.trim_end()).map_err(failed)?
    {
        text.clear();
    }
    Ok(())
}

/// Every group, page by page.
pub fn groups(path: &Path) -> Result<view::Groups, ClientError> {
    let mut whole = view::Groups::default();
    loop {
        let after = whole.next.take();
        let page: view::Groups = ask(path, &Request::Groups { after })?;
        whole.router.extend(page.router);
        whole.member.extend(page.member);
        whole.next = page.next;
        if whole.next.is_none() {
            return Ok(whole);
        }
    }
}

/// Every member that the filters let through, page by page.
pub fn members(
    path: &Path,
    group: Option<Ipv6Addr>,
    member: Option<Ipv6Addr>,
) -> Result<Vec<view::Member>, ClientError> {
    pages(path, |after| Request::Members {
        group,
        member,
        after,
    })
}

/// Every binding that is wanted, page by page.
pub fn bindings(path: &Path, which: view::Which) -> Result<Vec<view::Binding>, ClientError> {
    pages(path, |after| Request::Bindings { which, after })
}

/// Every client that is wanted and that a member knows, page by page.
pub fn handshakes(
    path: &Path,
    client: Option<Ipv6Addr>,
    anycast: Option<Ipv6Addr>,
) -> Result<Vec<view::Handshake>, ClientError> {
    pages(path, |after| Request::Handshakes {
        client,
        anycast,
        after,
    })
}

/// Every flow that is wanted, page by page.
pub fn flows(path: &Path, which: view::Which) -> Result<Vec<view::Flow>, ClientError> {
    pages(path, |after| Request::Flows { which, after })
}

fn pages<T: DeserializeOwned, C: DeserializeOwned>(
    path: &Path,
    request: impl Fn(Option<C>) -> Request,
) -> Result<Vec<T>, ClientError> {
    let mut whole = Vec::new();
    let mut after = None;
    loop {
        let page: view::Page<T, C> = ask(path, &request(after))?;
        whole.extend(page.rows);
        after = page.next;
        if after.is_none() {
            return Ok(whole);
        }
    }
}

fn failed(path: &Path, error: io::Error) -> ClientError {
    let path = path.display().to_string();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            ClientError::NotRunning { path }
        }
        io::ErrorKind::PermissionDenied => ClientError::Permission { path },
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ClientError::NoAnswer { path },
        _ => ClientError::Io { path, error },
    }
}

fn read<T: DeserializeOwned>(path: &Path, line: &str) -> Result<T, ClientError> {
    match serde_json::from_str(line) {
        Ok(Reply::Ok(answer)) => Ok(answer),
        Ok(Reply::Error(refusal)) => Err(refusal.into()),
        Err(error) => Err(ClientError::Version {
            path: path.display().to_string(),
            error,
        }),
    }
}

fn exchange(path: &Path, request: &Request) -> io::Result<(String, BufReader<UnixStream>)> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    let mut reader = BufReader::new(stream);
    if reader.read_line(&mut answer)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((answer, reader))
}
