//! Makes one health check.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{command, unwell::Unwell};
use crate::model::health::{Target, Web};

/// Octets at the start of an HTTP answer that are read. The status line fits in them.
const HEAD: usize = 512;

/// Makes the check, without a time limit. Gives the output of the service, in one line.
pub(super) async fn check(target: &Target) -> Result<String, Unwell> {
    match target {
        Target::Tcp(address) => connect(*address)
            .await
            .map(|_| format!("connected to {address}")),
        Target::Http(web) => get(web).await.map(|status| format!("HTTP status {status}")),
        Target::Command(command) => command::run(command).await,
    }
}

async fn connect(address: std::net::SocketAddr) -> Result<TcpStream, Unwell> {
    let connecting = TcpStream::connect(address).await;
    connecting.map_err(|error| Unwell::Connect { address, error })
}

/// Sends an HTTP request and reads the status line. Nothing else is read, so that HTTP 1.0 is enough.
async fn get(web: &Web) -> Result<u16, Unwell> {
    let Web {
        address,
        path,
        status: wanted,
    } = web;
    let mut stream = connect(*address).await?;
    let request = format!(
        "GET {path} HTTP/1.0\r\nHost: {address}\r\nUser-Agent: anycast-ctl\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.contains(&b'\n') && head.len() < HEAD {
        if stream.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    let status = status(&head).ok_or_else(|| Unwell::NotHttp(command::first_line(&head)))?;
    let good = match wanted {
        Some(wanted) => status == *wanted,
        None => (200..300).contains(&status),
    };
    if good {
        Ok(status)
    } else {
        Err(Unwell::Status(status))
    }
}

/// Reads the status of a line such as `HTTP/1.1 200 OK` (RFC 9112 section 4).
fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|octet| *octet == b'\n').next()?;
    let rest = str::from_utf8(line).ok()?.strip_prefix("HTTP/1.")?;
    let mut words = rest.split_ascii_whitespace();
    let (minor, status) = (words.next()?, words.next()?);
    let digits = |text: &str, many| text.len() == many && text.bytes().all(|b| b.is_ascii_digit());
    let number = status.parse().ok()?;
    (digits(minor, 1) && digits(status, 3) && number >= 100).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::status;

    #[test]
    fn only_a_status_line_has_a_status() {
        let rows: [(&str, Option<u16>); 9] = [
            ("HTTP/1.1 200 OK\r\n", Some(200)),
            ("HTTP/1.0 503 Service Unavailable\r\nX: y\r\n", Some(503)),
            ("HTTP/1.1 204\n", Some(204)),
            ("HTTP/1.1 20 OK\r\n", None),
            ("HTTP/1.1 +20 OK\r\n", None),
            ("HTTP/2 200\r\n", None),
            ("220 mail.example ESMTP\r\n", None),
            ("HTTP/1.1\r\n 200 OK", None),
            ("", None),
        ];
        for (head, expected) in rows {
            assert_eq!(status(head.as_bytes()), expected, "{head:?}");
        }
    }
}
