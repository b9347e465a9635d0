//! What a drain waits for: sessions, not whatever came to C.

use std::{
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use socket2::{Domain, SockFilter, Socket, Type};
use xtask::{
    lab::{
        scenario::{ASK_AGAIN, SOON},
        stage::Lab,
        topology::{B, CLIENT, SERVICE, Server},
    },
    net::wait,
};

use super::{
    sessions::{LIFETIME, bound, group, may_go},
    stage::in_lab,
};

/// For so long an answered datagram counts.
const ONE_ANSWER: Duration = Duration::from_secs(10);
/// `BPF_RET | BPF_K`: what it keeps of a packet is the operand.
const KEEP: u16 = 6;
const QUERIES: u16 = 5355;

/// A client that hears nothing of the server, and so never completes its connection.
fn half_open(lab: &Lab) -> Result<Socket> {
    lab.network.client.run(|| {
        let socket = Socket::new(Domain::IPV6, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((CLIENT, 0)).into())?;
        socket.attach_filter(&[SockFilter::new(KEEP, 0, 0, 0)])?;
        socket.set_nonblocking(true)?;
        let begun = socket.connect(&SocketAddr::from((B, SERVICE)).into());
        let error = begun.err().context("it is connected at once")?;
        ensure!(
            error.raw_os_error() == Some(nix::libc::EINPROGRESS),
            "{error}"
        );
        Ok(socket)
    })
}

/// A query, and its answer by the member.
fn query(lab: &Lab, server: Server) -> Result<()> {
    let service = lab
        .network
        .server(server)
        .run(|| Ok(UdpSocket::bind((B, QUERIES))?))?;
    let client = lab
        .network
        .client
        .run(|| Ok(UdpSocket::bind((CLIENT, 0))?))?;
    for socket in [&service, &client] {
        socket.set_read_timeout(Some(wait::patience(SOON)))?;
    }
    let mut buffer = [0; 16];
    client.send_to(b"query", (B, QUERIES))?;
    let (length, from) = service.recv_from(&mut buffer)?;
    service.send_to(&buffer[..length], from)?;
    let length = client.recv(&mut buffer)?;
    ensure!(&buffer[..length] == b"query", "{buffer:?}");
    Ok(())
}

/// A connection that was never established does not count, and an answered datagram does for seconds.
pub(super) fn counts() -> Result<()> {
    in_lab(None, |lab, report| {
        let mut session = bound(lab, report)?;
        let here = session.server;
        let sessions =
            || -> Result<Option<u64>> { Ok(group(lab, here.name)?["sessions"].as_u64()) };
        ensure!(sessions()? == Some(1), "{:?}", sessions()?);
        let half = half_open(lab)?;
        let port = half.local_addr()?.as_socket().context("an address")?.port();
        let is_known = || {
            let flows = lab.daemon(here.name)?.list("flows")?;
            anyhow::Ok(flows.iter().any(|flow| flow["client_port"] == port))
        };
        wait::poll(
            SOON,
            ASK_AGAIN,
            "the half-open connection comes by C",
            || Ok(is_known()?.then_some(())),
        )?;
        ensure!(sessions()? == Some(1), "a half-open connection counts");
        query(lab, here)?;
        ensure!(sessions()? == Some(2), "an answered query does not count");

        let daemon = lab.daemon(here.name)?;
        let mut waiting =
            daemon.start_telling("drain", &["drain", "--all", "--wait", "--timeout", "60s"])?;
        let says = |left: &str| format!("{B} draining, {left}");
        let one = says("1 session left");
        let (_, next) =
            waiting.wait_line(ONE_ANSWER + SOON, "the query counts no more", 0, |line| {
                (line == one).then_some(())
            })?;
        session.visitor.tell("finish")?;
        session.visitor.event("finished", SOON)?;
        let none = says("no sessions left");
        waiting.wait_line(SOON, "it tells that none is left", next, |line| {
            (line == none).then_some(())
        })?;
        let status = waiting.wait_end(LIFETIME + SOON)?;
        ensure!(status.success(), "{status}");
        may_go(lab.daemon(here.name)?)?;
        ensure!(
            is_known()?,
            "the member has forgotten the half-open connection"
        );
        drop(half);
        Ok(())
    })
}
