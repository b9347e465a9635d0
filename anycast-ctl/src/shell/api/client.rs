//! The client side: one request, one answer.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use serde::de::DeserializeOwned;

use super::{Refusal, Reply, Request};

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
    let name = || path.display().to_string();
    let line = exchange(path, request).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            ClientError::NotRunning { path: name() }
        }
        io::ErrorKind::PermissionDenied => ClientError::Permission { path: name() },
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            ClientError::NoAnswer { path: name() }
        }
        _ => ClientError::Io {
            path: name(),
            error,
        },
    })?;
    match serde_json::from_str(&line) {
        Ok(Reply::Ok(answer)) => Ok(answer),
        Ok(Reply::Error(refusal)) => Err(refusal.into()),
        Err(error) => Err(ClientError::Version {
            path: name(),
            error,
        }),
    }
}

fn exchange(path: &Path, request: &Request) -> io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    if BufReader::new(stream).read_line(&mut answer)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}
