//! The client side of the control socket: it sends one request and reads one answer.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::Ipv6Addr,
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use serde::de::DeserializeOwned;

use super::{Refusal, Reply, Request, view};

/// How long to wait for the daemon's answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// As many rows as there are.
pub const ALL: usize = usize::MAX;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No daemon listens on the socket.
    #[error(
        "no daemon listens on {path}: start it (anycast-ctl run, or systemctl start anycast), or \
         name its socket with --socket"
    )]
    NotRunning {
        /// Path of the socket.
        path: String,
    },
    /// This user may not use the socket.
    #[error(
        "not permitted to use {path}: run as root, as the user of the daemon, or, to ask, as a user of the group that \
         `[control] read_group` names"
    )]
    Permission {
        /// Path of the socket.
        path: String,
    },
    /// A daemon listens but does not answer.
    #[error("the daemon on {path} did not answer within {} s: see its log", PATIENCE.as_secs())]
    NoAnswer {
        /// Path of the socket.
        path: String,
    },
    /// The daemon refused the request.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The answer cannot be read, so the daemon has another version.
    #[error("the daemon on {path} speaks another version: restart it after an upgrade ({error})")]
    Version {
        /// Path of the socket.
        path: String,
        /// Why the answer cannot be read.
        error: serde_json::Error,
    },
    /// The connection failed.
    #[error("talking to the daemon on {path}: {error}")]
    Io {
        /// Path of the socket.
        path: String,
        /// Error of the system call.
        error: io::Error,
    },
}

impl ClientError {
    /// Kind of the error, for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotRunning { .. } => "no_daemon",
            Self::Permission { .. } => "not_permitted",
            Self::NoAnswer { .. } => "no_answer",
            Self::Refused(_) => "refused",
            Self::Version { .. } => "other_version",
            Self::Io { .. } => "no_connection",
        }
    }
}

/// Sends a request to the daemon on `path`, and gives its answer.
pub fn ask<T: DeserializeOwned>(path: &Path, request: &Request) -> Result<T, ClientError> {
    let (line, _) = exchange(path, request).map_err(|error| failed(path, error))?;
    read(path, &line)
}

/// Watches events. Calls `begun` when the daemon has accepted the [`Request::Monitor`], and passes each line to `line`
/// until that returns false or the daemon stops.
pub fn watch(
    path: &Path,
    request: &Request,
    begun: impl FnOnce(&view::Monitoring),
    mut line: impl FnMut(&str) -> io::Result<bool>,
) -> Result<(), ClientError> {
    let failed = |error| failed(path, error);
    let (first, mut stream) = exchange(path, request).map_err(failed)?;
    begun(&read(path, &first)?);
    // A monitor has no read timeout, since there may be no event for days.
    stream.get_mut().set_read_timeout(None).map_err(failed)?;
    let mut text = String::new();
    while stream.read_line(&mut text).map_err(failed)? > 0
        && line(text.trim_end()).map_err(failed)?
    {
        text.clear();
    }
    Ok(())
}

/// Reads groups, page by page, until there are `most` of them, or a few more.
pub fn groups(path: &Path, most: usize) -> Result<view::Groups, ClientError> {
    let mut whole = view::Groups::default();
    loop {
        let after = whole.next.take();
        let page: view::Groups = ask(path, &Request::Groups { after })?;
        whole.router.extend(page.router);
        whole.member.extend(page.member);
        whole.next = page.next;
        if whole.next.is_none() || whole.router.len() >= most {
            return Ok(whole);
        }
    }
}

/// Reads the members that match the filters, page by page, until there are `most` of them, or a few more.
pub fn members(
    path: &Path,
    group: Option<Ipv6Addr>,
    member: Option<Ipv6Addr>,
    most: usize,
) -> Result<Vec<view::Member>, ClientError> {
    pages(path, most, |after| Request::Members {
        group,
        member,
        after,
    })
}

/// Reads the bindings that match `which`, page by page, until there are `most` of them, or a few more.
pub fn bindings(
    path: &Path,
    which: view::Which,
    most: usize,
) -> Result<Vec<view::Binding>, ClientError> {
    pages(path, most, |after| Request::Bindings { which, after })
}

/// Reads the clients of a member that match the filters, page by page, until there are `most` of them, or a few more.
pub fn handshakes(
    path: &Path,
    client: Option<Ipv6Addr>,
    anycast: Option<Ipv6Addr>,
    most: usize,
) -> Result<Vec<view::Handshake>, ClientError> {
    pages(path, most, |after| Request::Handshakes {
        client,
        anycast,
        after,
    })
}

/// Reads the flows that match `which`, page by page, until there are `most` of them, or a few more. `open`: also the
/// open flows of a correspondent.
pub fn flows(
    path: &Path,
    which: view::Which,
    open: bool,
    most: usize,
) -> Result<Vec<view::Flow>, ClientError> {
    pages(path, most, |after| Request::Flows { which, open, after })
}

fn pages<T: DeserializeOwned, C: DeserializeOwned>(
    path: &Path,
    most: usize,
    request: impl Fn(Option<C>) -> Request,
) -> Result<Vec<T>, ClientError> {
    let mut whole = Vec::new();
    let mut after = None;
    loop {
        let page: view::Page<T, C> = ask(path, &request(after))?;
        whole.extend(page.rows);
        after = page.next;
        if after.is_none() || whole.len() >= most {
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
