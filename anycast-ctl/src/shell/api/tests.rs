//! Round trips over real Unix sockets.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
};

use super::{
    client::{self, ClientError},
    server::{Server, ServerError},
    *,
};
use crate::core::Notice;

/// A directory of its own that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("anycast-api-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a scratch directory");
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("run/control.sock")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn reply(request: Request) -> Reply<Answer> {
    match request {
        Request::Join { anycast } => Reply::Ok(Answer::Done(view::Done {
            anycast,
            joined: true,
        })),
        Request::Counters => Reply::Ok(Answer::Counters(view::Counters::default())),
        _ => Reply::Error(Refusal {
            code: RefusalCode::NoSuchRole,
            message: "no router here".into(),
        }),
    }
}

async fn answer(mut server: Server) {
    while let Some(call) = server.next().await {
        let _ = call.reply.send(reply(call.request));
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work)
        .await
        .expect("the client ran")
}

fn exchange(path: &Path, lines: &[u8]) -> Vec<String> {
    let mut stream = UnixStream::connect(path).expect("a daemon");
    stream.write_all(lines).expect("written");
    stream
        .shutdown(std::net::Shutdown::Write)
        .expect("shut down");
    BufReader::new(stream)
        .lines()
        .map(|line| line.expect("a line"))
        .collect()
}

#[tokio::test]
async fn an_answer_and_a_refusal_come_back() {
    let scratch = Scratch::new("round-trip");
    let path = scratch.socket();
    let server = Server::bind(&path).expect("bound");
    let mode = std::fs::metadata(&path)
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let task = tokio::spawn(answer(server));
    let anycast: Ipv6Addr = "2001:db8:a::53".parse().expect("an address");
    let at = path.clone();
    blocking(move || {
        let done: view::Done = client::ask(&at, &Request::Join { anycast }).expect("joined");
        assert_eq!(
            done,
            view::Done {
                anycast,
                joined: true
            }
        );
        let error = client::ask::<view::Groups>(&at, &Request::Groups { after: None })
            .expect_err("refused");
        assert!(matches!(
            error,
            ClientError::Refused(Refusal {
                code: RefusalCode::NoSuchRole,
                ..
            })
        ));
        let error =
            client::ask::<view::Status>(&at, &Request::Counters).expect_err("another shape");
        assert!(matches!(error, ClientError::Version { .. }));
    })
    .await;
    task.abort();
    let _ = task.await;
    assert!(!path.exists(), "the socket goes with the server");
    blocking(move || {
        let error = client::ask::<view::Groups>(&path, &Request::Groups { after: None })
            .expect_err("nobody");
        assert!(matches!(error, ClientError::NotRunning { .. }));
    })
    .await;
}

#[tokio::test]
async fn bad_lines_are_answered_and_long_ones_end_the_connection() {
    let scratch = Scratch::new("bad-lines");
    let path = scratch.socket();
    let task = tokio::spawn(answer(Server::bind(&path).expect("bound")));
    let at = path.clone();
    let lines = blocking(move || {
        exchange(
            &at,
            b"nonsense\n{\"command\":\"fly\"}\n{\"command\":\"join\"}\n{\"command\":\"counters\"}\n",
        )
    })
    .await;
    assert_eq!(lines.len(), 4);
    for line in &lines[..3] {
        assert!(
            line.starts_with(r#"{"error":{"code":"bad_request""#),
            "{line}"
        );
    }
    assert_eq!(lines[3], r#"{"ok":{"data_plane":{},"controller":{}}}"#);
    let lines = blocking(move || exchange(&path, &[b'x'; REQUEST_LIMIT + 1])).await;
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("longer than 4096"), "{}", lines[0]);
    task.abort();
}

#[tokio::test]
async fn a_silent_client_does_not_hold_up_another() {
    let scratch = Scratch::new("slow");
    let path = scratch.socket();
    let task = tokio::spawn(answer(Server::bind(&path).expect("bound")));
    let silent: Vec<_> = (0..8)
        .map(|_| UnixStream::connect(&path).expect("connected"))
        .collect();
    let at = path.clone();
    let counters = blocking(move || client::ask::<view::Counters>(&at, &Request::Counters)).await;
    assert!(counters.is_ok());
    drop(silent);
    task.abort();
}

#[tokio::test]
async fn silent_clients_on_all_places_keep_nobody_out() {
    let scratch = Scratch::new("crowd");
    let path = scratch.socket();
    let server = Server::bind(&path).expect("a socket");
    tokio::spawn(answer(server));
    let began = std::time::Instant::now();
    let asked = blocking(move || {
        let connect = |_| UnixStream::connect(&path).expect("a connection");
        let _silent: Vec<_> = (0..16).map(connect).collect();
        client::ask::<view::Counters>(&path, &Request::Counters)
    });
    asked.await.expect("an answer");
    let waited = began.elapsed();
    assert!(waited < std::time::Duration::from_secs(20), "{waited:?}");
}

#[tokio::test]
async fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
    let scratch = Scratch::new("stale");
    let path = scratch.socket();
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
    assert!(path.exists());
    let first = Server::bind(&path).expect("the dead one is replaced");
    let error = Server::bind(&path).expect_err("the live one stays");
    assert!(matches!(error, ServerError::Taken { .. }), "{error}");
    drop(first);
    std::fs::write(&path, "precious").expect("written");
    let error = Server::bind(&path).expect_err("no socket");
    assert!(matches!(error, ServerError::NotSocket { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&path).expect("there"), "precious");
}

fn joined(number: u16) -> monitor::Event {
    let notice = Notice::Membership {
        anycast: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number),
        joined: true,
    };
    monitor::Event::new(notice, None)
}

#[tokio::test]
async fn a_watcher_sees_its_roles_and_others_go_on_asking() {
    let scratch = Scratch::new("watch");
    let path = scratch.socket();
    let server = Server::bind(&path).expect("bound");
    let monitor = server.monitor();
    let task = tokio::spawn(answer(server));
    let (lines, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let at = path.clone();
    let watching = tokio::task::spawn_blocking(move || {
        let roles = vec!["member".to_owned()];
        let mut left = 2;
        client::watch(
            &at,
            &Request::Monitor { roles },
            |_| (),
            |line| {
                left -= 1;
                let _ = lines.send(line.to_owned());
                Ok(left > 0)
            },
        )
    });
    while !monitor.is_watched() {
        tokio::task::yield_now().await;
    }
    monitor.show(joined(1));
    monitor.show(monitor::Event::new(
        Notice::Route {
            anycast: Ipv6Addr::LOCALHOST,
            next_hops: Vec::new(),
        },
        None,
    ));
    monitor.show(joined(2));
    for number in 1..=2 {
        let line = seen.recv().await.expect("an event");
        let event: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(event["event"], "membership");
        assert_eq!(event["role"], "member");
        assert_eq!(event["anycast"], format!("2001:db8::{number}"));
    }
    watching.await.expect("it ran").expect("it watched");
    let at = path.clone();
    let counters = blocking(move || client::ask::<view::Counters>(&at, &Request::Counters)).await;
    assert!(counters.is_ok());
    let refused = blocking(move || {
        let roles = vec!["king".to_owned()];
        client::watch(&path, &Request::Monitor { roles }, |_| (), |_| Ok(true))
    });
    assert!(matches!(
        refused.await,
        Err(ClientError::Refused(Refusal {
            code: RefusalCode::BadRequest,
            ..
        }))
    ));
    task.abort();
}

#[tokio::test]
async fn a_watcher_that_does_not_read_loses_events_and_is_told_how_many() {
    const EVENTS: u64 = 100_000;
    let scratch = Scratch::new("lost");
    let path = scratch.socket();
    let server = Server::bind(&path).expect("bound");
    let monitor = server.monitor();
    let task = tokio::spawn(answer(server));
    let mut stream = UnixStream::connect(&path).expect("a daemon");
    stream
        .write_all(b"{\"command\":\"monitor\"}\n")
        .expect("written");
    while !monitor.is_watched() {
        tokio::task::yield_now().await;
    }
    // The buffers of the socket take some; the rest goes round in the ring, and nothing waits.
    for number in 0..EVENTS {
        monitor.show(joined(u16::try_from(number % 100).expect("small")));
        if number.is_multiple_of(100) {
            tokio::task::yield_now().await;
        }
    }
    let at = path.clone();
    let counters = blocking(move || client::ask::<view::Counters>(&at, &Request::Counters)).await;
    assert!(counters.is_ok(), "somebody else is answered meanwhile");
    let (events, lost) = blocking(move || {
        let (mut events, mut lost) = (0, 0);
        for line in BufReader::new(stream).lines().skip(1) {
            let line: serde_json::Value =
                serde_json::from_str(&line.expect("a line")).expect("JSON");
            match line["lost"].as_u64() {
                Some(more) => lost += more,
                None => events += 1,
            }
            if events + lost == EVENTS {
                break;
            }
        }
        (events, lost)
    })
    .await;
    assert!(lost > 0 && events > 0, "{events} events, {lost} lost");
    task.abort();
}
