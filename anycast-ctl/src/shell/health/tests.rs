//! Checks of real sockets and real programs.

use std::{net::SocketAddr, time::Duration};

use prometheus_client::metrics::histogram::Histogram;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::timeout,
};

use super::*;
use crate::model::health::Web;

const B: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);
const PATIENCE: Duration = Duration::from_secs(10);

async fn finding(target: Target) -> Finding {
    let mut checks = Checks::new(BTreeMap::from([(B, target)]), Histogram::new([1.0]));
    checks.start(B, 7);
    let (anycast, finding) = timeout(PATIENCE, checks.next()).await.expect("a result");
    assert_eq!((anycast, finding.run), (B, 7));
    finding
}

fn shell(script: &str) -> Target {
    Target::Command(["sh", "-c", script].map(str::to_owned).to_vec())
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("[::1]:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

#[tokio::test]
async fn a_connection_can_be_made_or_not() {
    let (listener, address) = listener().await;
    assert!(finding(Target::Tcp(address)).await.passed);
    drop(listener);
    let refused = finding(Target::Tcp(address)).await;
    assert!(!refused.passed);
    assert!(
        refused.text.starts_with("cannot connect to [::1]:"),
        "{}",
        refused.text
    );
}

#[tokio::test]
async fn a_page_has_the_right_status_or_not() {
    let (listener, address) = listener().await;
    let server = tokio::spawn(async move {
        for answer in [
            "HTTP/1.1 200 OK",
            "HTTP/1.1 204 x",
            "HTTP/1.1 503 x",
            "SSH-2.0",
        ] {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut request = vec![0; 1024];
            let length = stream.read(&mut request).await.expect("a request");
            assert!(request[..length].starts_with(b"GET /health HTTP/1.0\r\nHost: [::1]:"));
            stream
                .write_all(format!("{answer}\r\n\r\n").as_bytes())
                .await
                .expect("written");
        }
    });
    let page = |status| {
        Target::Http(Web {
            address,
            path: "/health".into(),
            status,
        })
    };
    let good = finding(page(None)).await;
    assert_eq!((good.passed, good.text.as_str()), (true, "HTTP status 200"));
    let other = finding(page(Some(200))).await;
    assert_eq!(
        (other.passed, other.text.as_str()),
        (false, "HTTP status 204")
    );
    assert!(finding(page(Some(503))).await.passed);
    let strange = finding(page(None)).await;
    assert_eq!(strange.text, "the answer is not HTTP: \"SSH-2.0\"");
    assert!(!strange.passed);
    server.await.expect("every request was right");
}

#[tokio::test]
async fn a_program_says_how_it_is() {
    let good = finding(shell("echo fine; echo more")).await;
    assert_eq!((good.passed, good.text.as_str()), (true, "fine"));
    let bad = finding(shell("echo 'disk full' >&2; exit 3")).await;
    assert_eq!(
        (bad.passed, bad.text.as_str()),
        (false, "status 3: disk full")
    );
    let silent = finding(shell("exit 1")).await;
    assert_eq!(silent.text, "status 1");
    let killed = finding(shell("kill -9 $$")).await;
    assert!(
        !killed.passed && killed.text.contains("signal: 9"),
        "{}",
        killed.text
    );
    // More than a pipe holds, and a process that keeps the pipe open.
    let loud = finding(shell(
        "head -c 300000 /dev/zero | tr '\\0' x; sleep 20 & exit 0",
    ))
    .await;
    assert!(loud.passed && loud.text.len() == 256, "{}", loud.text.len());
    let missing = finding(Target::Command(vec!["/nonexistent/check".into()])).await;
    assert!(
        missing
            .text
            .starts_with("cannot run /nonexistent/check: No such file"),
        "{}",
        missing.text
    );
}

#[tokio::test]
async fn a_program_that_is_given_up_goes_with_its_children() {
    // The child holds a socket of ours open for as long as it lives.
    let (listener, address) = listener().await;
    let port = address.port();
    let script = format!("exec 3<>/dev/tcp/::1/{port}; sleep 60 & wait");
    let target = Target::Command(vec!["bash".into(), "-c".into(), script]);
    let mut checks = Checks::new(BTreeMap::from([(B, target)]), Histogram::new([1.0]));
    checks.start(B, 1);
    let (mut stream, _) = timeout(PATIENCE, listener.accept())
        .await
        .expect("in time")
        .expect("the program runs");
    checks.abort(B);
    let mut rest = Vec::new();
    let ended = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "a child lives on");
}
