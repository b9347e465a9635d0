//! Serves metrics by HTTP. Each scrape has a task of its own, so that a slow one delays only itself.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinHandle,
    time::timeout,
};

use super::families::Form;
use crate::shell::api::{
    Answer, Reply, Request,
    server::{Call, ask},
};

/// Largest number of scrapes at the same time. Others wait.
const SCRAPES: usize = 8;
/// A client that takes longer is disconnected.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest head of a request in octets.
const HEAD: usize = 8192;
/// Time between two tries to listen on an address that is not there, or is taken.
const AGAIN: Duration = Duration::from_secs(2);
const PATH: &str = "/metrics";
/// By this name of a media type a client says that it knows OpenMetrics.
const OPENMETRICS: &str = "application/openmetrics-text";

/// A listening socket. Dropping it closes it.
#[derive(Debug)]
pub(in crate::shell) struct Listener {
    address: SocketAddr,
    task: JoinHandle<()>,
    /// Why nobody can scrape.
    failure: Arc<Mutex<Option<String>>>,
}

impl Listener {
    /// Listens on `address`, and passes scrapes to the loop. The address may come later than the daemon, which must not
    /// depend on who watches it.
    pub(in crate::shell) async fn start(address: SocketAddr, calls: mpsc::Sender<Call>) -> Self {
        let failure = Arc::default();
        let bound = bind(address, &failure).await;
        let told = Arc::clone(&failure);
        let task = tokio::spawn(async move {
            let mut bound = bound;
            let listener = loop {
                match bound {
                    Some(listener) => break listener,
                    None => tokio::time::sleep(AGAIN).await,
                }
                bound = bind(address, &told).await;
            };
            accept(listener, calls).await;
        });
        Self {
            address,
            task,
            failure,
        }
    }

    /// What is wrong with it.
    pub(in crate::shell) fn problem(&self) -> Option<String> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let error = failure.as_ref()?;
        let address = self.address;
        Some(format!(
            "nobody can scrape metrics at {address}: {error}; it is tried again and again"
        ))
    }
}

async fn bind(address: SocketAddr, failure: &Mutex<Option<String>>) -> Option<TcpListener> {
    let bound = TcpListener::bind(address).await;
    let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
    match bound {
        Ok(listener) => {
            tracing::info!(%address, "serving metrics");
            *failure = None;
            Some(listener)
        }
        Err(error) => {
            let said = error.to_string();
            if failure.as_ref() != Some(&said) {
                tracing::warn!(%address, %error, "cannot listen on the address of `metrics`: trying again");
                *failure = Some(said);
            }
            None
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, calls: mpsc::Sender<Call>) {
    let places = Arc::new(Semaphore::new(SCRAPES));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let calls = calls.clone();
                tokio::spawn(async move {
                    match timeout(PATIENCE, serve(stream, &calls)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => tracing::debug!(%error, "a scrape broke off"),
                        Err(_) => tracing::debug!("a scrape took too long"),
                    }
                    drop(place);
                });
            }
            Err(error) => {
                // The process has no file descriptors left until other connections are closed.
                tracing::debug!(%error, "cannot accept a scrape");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(mut stream: TcpStream, calls: &mpsc::Sender<Call>) -> io::Result<()> {
    let head = head(&mut stream).await?;
    let response = match wanted(&head) {
        Ok(Wanted { form, body }) => {
            let openmetrics = form == Form::OpenMetrics;
            match ask(calls, Request::Metrics { openmetrics }).await {
                Reply::Ok(Answer::Metrics(metrics)) => ok(form, &metrics.text, body),
                Reply::Ok(_) => failed("500 Internal Server Error", "another answer"),
                Reply::Error(refusal) => failed("503 Service Unavailable", &refusal.message),
            }
        }
        Err((status, reason)) => failed(status, reason),
    };
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await
}

/// Reads until the empty line that ends the head of a request.
async fn head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < HEAD {
        let mut part = [0; 1024];
        match stream.read(&mut part).await? {
            0 => break,
            read => head.extend(&part[..read]),
        }
    }
    Ok(head)
}

#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    form: Form,
    /// False for HEAD.
    body: bool,
}

/// What a request wants, or the status and the reason of a refusal.
fn wanted(head: &[u8]) -> Result<Wanted, (&'static str, &'static str)> {
    const BAD: (&str, &str) = ("400 Bad Request", "not a request of HTTP/1.1");
    let head = std::str::from_utf8(head).map_err(|_| BAD)?;
    let (head, _) = head.split_once("\r\n\r\n").ok_or(BAD)?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(BAD);
    };
    if !version.starts_with("HTTP/1.") {
        return Err(BAD);
    }
    if target.split('?').next() != Some(PATH) {
        return Err(("404 Not Found", "metrics are at /metrics"));
    }
    let body = match method {
        "GET" => true,
        "HEAD" => false,
        _ => return Err(("405 Method Not Allowed", "GET and HEAD are allowed")),
    };
    let accepts = lines
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.eq_ignore_ascii_case("accept"))
        .any(|(_, value)| value.to_ascii_lowercase().contains(OPENMETRICS));
    let form = match accepts {
        true => Form::OpenMetrics,
        false => Form::Prometheus,
    };
    Ok(Wanted { form, body })
}

fn ok(form: Form, text: &str, body: bool) -> String {
    let kind = match form {
        Form::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        Form::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
    };
    respond("200 OK", kind, text, body)
}

fn failed(status: &str, reason: &str) -> String {
    respond(
        status,
        "text/plain; charset=utf-8",
        &format!("{reason}\n"),
        true,
    )
}

fn respond(status: &str, kind: &str, text: &str, body: bool) -> String {
    let allow = match status.starts_with("405") {
        true => "Allow: GET, HEAD\r\n",
        false => "",
    };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{allow}Connection: close\r\n\r\n{}",
        text.len(),
        if body { text } else { "" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(request: &str) -> Result<Wanted, &'static str> {
        wanted(request.as_bytes()).map_err(|(status, _)| &status[..3])
    }

    #[test]
    fn the_accepted_format_is_given() {
        let wants = |form, body| Ok(Wanted { form, body });
        assert_eq!(
            status("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"),
            wants(Form::Prometheus, true)
        );
        let accept = "accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2";
        assert_eq!(
            status(&format!("GET /metrics?x=1 HTTP/1.1\r\n{accept}\r\n\r\n")),
            wants(Form::OpenMetrics, true)
        );
        assert_eq!(
            status("HEAD /metrics HTTP/1.0\r\n\r\n"),
            wants(Form::Prometheus, false)
        );
    }

    #[test]
    fn other_requests_are_refused() {
        for (request, code) in [
            ("", "400"),
            ("GET /metrics HTTP/1.1\r\n", "400"),
            ("GET /metrics\r\n\r\n", "400"),
            ("GET /metrics HTTP/2\r\n\r\n", "400"),
            ("GET /a b HTTP/1.1\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\n\r\n", "404"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
        ] {
            assert_eq!(status(request), Err(code), "{request:?}");
        }
        assert_eq!(
            wanted(b"\xff\r\n\r\n").map_err(|(status, _)| &status[..3]),
            Err("400")
        );
    }

    #[test]
    fn a_response_has_its_length_and_says_what_is_allowed() {
        let response = ok(Form::OpenMetrics, "# EOF\n", false);
        assert!(response.contains("Content-Length: 6\r\n") && response.ends_with("\r\n\r\n"));
        assert!(failed("405 Method Not Allowed", "no").contains("Allow: GET, HEAD\r\n"));
    }
}
