//! The server side of the control socket: it accepts clients, reads their lines and passes requests to the loop.
//!
//! Each client has a task of its own, so that a slow client delays only itself. The loop only builds answers.

use std::{
    fs::Permissions,
    io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use nix::{
    sys::stat::{Mode, umask},
    unistd::{Group, geteuid},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

use super::{
    super::throttle::{PERIOD, Throttle},
    Answer, REQUEST_LIMIT, Refusal, RefusalCode, Reply, Request,
    monitor::{Monitor, ROLES, Watcher},
    view,
};

/// Largest number of clients at the same time. Others wait.
const CLIENTS: usize = 16;
/// Largest number of these clients that may watch events.
const WATCHERS: usize = 8;
/// A client that sends no request is disconnected after this time.
const IDLE: Duration = Duration::from_secs(60);
/// When all places are taken, such clients are disconnected after this time.
const FULL: Duration = Duration::from_secs(1);
/// A client that does not read its answer is disconnected after this time.
const SLOW: Duration = Duration::from_secs(10);

/// Why the control socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another daemon uses the socket.
    #[error("another daemon listens on {path}: stop it, or choose another socket with --socket")]
    Taken {
        /// Path of the socket.
        path: String,
    },
    /// The path exists and is not a socket.
    #[error("{path} is not a socket: remove it, or choose another path with --socket")]
    NotSocket {
        /// Path of the socket.
        path: String,
    },
    /// The configured group does not exist.
    #[error("there is no group {group}: make it (groupadd --system {group}), or change read_group")]
    NoGroup {
        /// Name of the group.
        group: String,
    },
    /// The process may not give the socket to the group.
    #[error(
        "cannot give the control socket to group {group}: {error}; a daemon without CAP_CHOWN must be in that group: \
         `systemctl edit anycast`, with SupplementaryGroups={group} under [Service]"
    )]
    Group {
        /// Name of the group.
        group: String,
        /// Error of the system call.
        error: io::Error,
    },
    /// The file system refused the operation.
    #[error("cannot make the control socket {path}: {error}")]
    Io {
        /// Path of the socket.
        path: String,
        /// Error of the system call.
        error: io::Error,
    },
}

/// A request, and where its answer goes.
#[derive(Debug)]
pub struct Call {
    /// The request.
    pub request: Request,
    /// Where the answer goes. The client may be gone when it arrives.
    pub reply: oneshot::Sender<Reply<Answer>>,
}

/// A listening control socket. Dropping it removes the path.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    /// Device and inode of the socket. A socket that another process has put in its permit must not be removed.
    identity: (u64, u64),
    calls: mpsc::Receiver<Call>,
    /// For others who pass requests to the loop.
    caller: mpsc::Sender<Call>,
    accepting: JoinHandle<()>,
    monitor: Monitor,
}

impl Server {
    /// Listens on `path`, with permissions for the owner of the process only. Needs a tokio runtime.
    pub fn bind(path: &Path) -> Result<Self, ServerError> {
        let name = || path.display().to_string();
        let failed = |error| ServerError::Io {
            path: name(),
            error,
        };
        if let Some(parent) = path.parent() {
            let mut builder = std::fs::DirBuilder::new();
            builder.recursive(true).mode(0o755);
            builder.create(parent).map_err(failed)?;
        }
        match std::fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            Ok(there) if !there.file_type().is_socket() => {
                return Err(ServerError::NotSocket { path: name() });
            }
            // If a process accepts connections on the socket, a daemon is alive. Otherwise a dead one left the socket
            // behind.
            Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    std::fs::remove_file(path).map_err(failed)?;
                }
                _ => return Err(ServerError::Taken { path: name() }),
            },
        }
        let listener = bind_private(path).map_err(failed)?;
        let metadata = std::fs::symlink_metadata(path).map_err(failed)?;
        let (sender, calls) = mpsc::channel(CLIENTS);
        let monitor = Monitor::default();
        Ok(Self {
            path: path.to_owned(),
            identity: (metadata.dev(), metadata.ino()),
            calls,
            caller: sender.clone(),
            accepting: tokio::spawn(accept(listener, sender, monitor.clone())),
            monitor,
        })
    }

    /// Lets the users of a group ask. What changes anything stays for root and the user of this process.
    pub fn admit(&self, group: &str) -> Result<(), ServerError> {
        let failed = |error: io::Error| ServerError::Group {
            group: group.to_owned(),
            error,
        };
        let found = Group::from_name(group).map_err(|errno| failed(errno.into()))?;
        let gid = found.ok_or_else(|| ServerError::NoGroup {
            group: group.to_owned(),
        })?;
        std::os::unix::fs::chown(&self.path, None, Some(gid.gid.as_raw())).map_err(failed)?;
        std::fs::set_permissions(&self.path, Permissions::from_mode(0o660)).map_err(failed)
    }

    /// The sending end for events, for clients that watch.
    #[must_use]
    pub fn monitor(&self) -> Monitor {
        self.monitor.clone()
    }

    /// The sending end for requests, for others who pass them to the loop.
    #[must_use]
    pub fn caller(&self) -> mpsc::Sender<Call> {
        self.caller.clone()
    }

    /// Waits for the next request. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Call> {
        self.calls.recv().await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
        if let Ok(metadata) = std::fs::symlink_metadata(&self.path)
            && (metadata.dev(), metadata.ino()) == self.identity
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the control socket");
        }
    }
}

/// Binds a socket that has mode 0600 from the start. A `chmod` after `bind` would leave a moment in which others can
/// connect.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let before = umask(Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(path);
    umask(before);
    let listener = listener?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn accept(listener: UnixListener, calls: mpsc::Sender<Call>, monitor: Monitor) {
    // Watchers stay connected for long, and some connections must be left for other requests.
    let watchers = Arc::new(Semaphore::new(WATCHERS));
    let permits = Arc::new(Semaphore::new(CLIENTS));
    let mut failures = Throttle::new(PERIOD);
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let calls = calls.clone();
                let (monitor, watchers) = (monitor.clone(), Arc::clone(&watchers));
                let places = Arc::clone(&permits);
                tokio::spawn(async move {
                    // A client that disconnects ends only its own task.
                    let served = serve(stream, calls, monitor, watchers, &places);
                    if let Err(error) = served.await {
                        tracing::debug!(%error, "a client of the control socket broke off");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                // The process has no file descriptors left until other connections are closed.
                if let Some(held) = failures.admit(error.raw_os_error(), Instant::now()) {
                    tracing::warn!(%error, held, "cannot accept a client of the control socket");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(
    mut stream: UnixStream,
    calls: mpsc::Sender<Call>,
    monitor: Monitor,
    watchers: Arc<Semaphore>,
    places: &Semaphore,
) -> io::Result<()> {
    // Others than these come by the group of the socket.
    let user = stream.peer_cred()?.uid();
    let may_change = user == 0 || user == geteuid().as_raw();
    let (read, mut write) = stream.split();
    let mut reader = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = REQUEST_LIMIT as u64 + 1;
        let mut rest = (&mut reader).take(limit);
        tokio::select! {
            read = rest.read_until(b'\n', &mut line) => read?,
            () = too_long(places) => return Err(io::ErrorKind::TimedOut.into()),
        };
        if line.is_empty() {
            return Ok(());
        }
        if line.last() != Some(&b'\n') && line.len() > REQUEST_LIMIT {
            let reason = format!("the request is longer than {REQUEST_LIMIT} octets");
            // The rest of the line would be taken for another request, so the connection has to be closed.
            return answer(&mut write, &refuse(RefusalCode::BadRequest, reason)).await;
        }
        let reply = match serde_json::from_slice::<Request>(&line) {
            Ok(request) if !may_change && !request.only_asks() => refuse(
                RefusalCode::NotPermitted,
                "this user may ask and change nothing: run it as root".to_owned(),
            ),
            Ok(Request::Monitor { roles }) => match unknown(&roles) {
                Some(reason) => refuse(RefusalCode::BadRequest, reason),
                None => match watchers.try_acquire() {
                    Ok(_place) => {
                        return watch(&mut reader, &mut write, monitor.watch(roles)).await;
                    }
                    Err(_) => refuse(
                        RefusalCode::Failed,
                        format!("{WATCHERS} watch already, which is as many as can"),
                    ),
                },
            },
            Ok(request) => ask(&calls, request).await,
            Err(error) => refuse(RefusalCode::BadRequest, format!("not a request: {error}")),
        };
        answer(&mut write, &reply).await?;
    }
}

/// Waits until a client has been silent for too long. When all places are taken, that is sooner.
async fn too_long(places: &Semaphore) {
    let began = tokio::time::Instant::now();
    while began.elapsed() < IDLE {
        tokio::time::sleep(FULL).await;
        if places.available_permits() == 0 {
            return;
        }
    }
}

fn unknown(roles: &[String]) -> Option<String> {
    let unknown = roles.iter().find(|role| !ROLES.contains(&role.as_str()))?;
    Some(format!(
        "{unknown:?} is not a role: router, member or correspondent"
    ))
}

/// Sends events until the client disconnects. A client that does not read them delays nobody else, so that there is no
/// time limit.
async fn watch(
    read: &mut (impl AsyncBufReadExt + Unpin),
    write: &mut (impl AsyncWriteExt + Unpin),
    mut watcher: Watcher,
) -> io::Result<()> {
    let monitoring = watcher.roles().to_vec();
    let begun = Answer::Monitoring(view::Monitoring { monitoring });
    answer(write, &Reply::Ok(begun)).await?;
    let tell = async {
        while let Some(told) = watcher.next().await {
            let mut line = serde_json::to_vec(&told)?;
            line.push(b'\n');
            write.write_all(&line).await?;
        }
        Ok(())
    };
    let left = async {
        let mut rest = [0; 64];
        while read.read(&mut rest).await? > 0 {}
        Ok(())
    };
    tokio::select! {
        result = tell => result,
        result = left => result,
    }
}

/// Passes a request to the loop, and waits for its answer.
pub(in crate::shell) async fn ask(calls: &mpsc::Sender<Call>, request: Request) -> Reply<Answer> {
    let (reply, answer) = oneshot::channel();
    let stopping = || refuse(RefusalCode::Failed, "the daemon is stopping".into());
    if calls.send(Call { request, reply }).await.is_err() {
        return stopping();
    }
    answer.await.unwrap_or_else(|_| stopping())
}

async fn answer(write: &mut (impl AsyncWriteExt + Unpin), reply: &Reply<Answer>) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    timeout(SLOW, write.write_all(&line)).await?
}

fn refuse(code: RefusalCode, message: String) -> Reply<Answer> {
    Reply::Error(Refusal { code, message })
}
