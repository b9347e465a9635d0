//! The host's own connections by a care-of address, which is an address like any other to its sockets.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};
use xtask::{
    lab::node::Daemon,
    net::{Namespace, Sender, netlink, packet::forge, sysctl, wait},
};

use crate::site::{ASK_AGAIN, B, Lan, SOON, care_of, has, mac, until};

const SERVICE: u16 = 7777;
/// The daemon tries again what failed every 30 s.
const TRIED_AGAIN: Duration = Duration::from_secs(60);
/// What the host asks on the other end of the link.
const ROUTER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, 1);

/// Whether the kernel never chooses the address as a source.
pub fn is_deprecated(namespace: &Namespace, address: Ipv6Addr) -> Result<bool> {
    const DEPRECATED: u32 = 0x20;
    let table = namespace.run(|| Ok(fs::read_to_string("/proc/thread-self/net/if_inet6")?))?;
    let wanted: String = address
        .octets()
        .map(|octet| format!("{octet:02x}"))
        .concat();
    let line = table.lines().find(|line| line.starts_with(&wanted));
    let flags = line.and_then(|line| line.split_ascii_whitespace().nth(4));
    let flags = flags.with_context(|| format!("no {address}"))?;
    Ok(u32::from_str_radix(flags, 16)? & DEPRECATED != 0)
}

/// A connection from this address, in the namespace of the calling thread.
fn connect(source: Ipv6Addr, to: (Ipv6Addr, u16)) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect_timeout(&SocketAddr::from(to).into(), SOON)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(wait::patience(SOON)))?;
    Ok(stream)
}

/// Sends a word, and gets it back.
fn echoed(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(b"word")?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer)?;
    ensure!(&answer == b"word", "{answer:?}");
    Ok(())
}

/// What cannot be sent is logged with where to: here a member's messages to a client that it has no route to.
pub fn nowhere() -> Result<()> {
    const CLIENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x99);
    let lan = Lan::up()?;
    let group = format!("care_of = \"{}\"\nassign = true", care_of(1));
    let member = lan.member(0, &group)?;
    let line = |daemon: &Daemon| {
        let lines = daemon.tail(usize::MAX);
        lines
            .into_iter()
            .find(|line| line.contains("cannot send a packet"))
    };
    ensure!(line(&member).is_none(), "{:?}", line(&member));
    let [from, to] = [(CLIENT, 1), (B, SERVICE)];
    let ends = [from, to].map(|(address, port)| SocketAddrV6::new(address, port, 0, 0));
    let frame = forge::udp([mac(1), mac(0x11)], ends[0], ends[1], b"word");
    Sender::open(&lan.router, "eth0")?.send(&frame)?;
    until("the packet that cannot be sent is logged", || {
        Ok(line(&member).is_some())
    })?;
    let line = line(&member).unwrap_or_default();
    ensure!(line.contains(&CLIENT.to_string()), "{line}");
    Ok(())
}

/// Sends back what comes, on connections and in datagrams, as long as the test lives.
fn echo(namespace: &Namespace, address: Ipv6Addr) -> Result<()> {
    let (listener, datagrams) = namespace.run(|| {
        let datagrams = UdpSocket::bind((address, SERVICE))?;
        Ok((TcpListener::bind((address, SERVICE))?, datagrams))
    })?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    thread::spawn(move || {
        let mut buffer = [0; 100];
        while let Ok((length, from)) = datagrams.recv_from(&mut buffer) {
            let _ = datagrams.send_to(&buffer[..length], from);
        }
    });
    Ok(())
}

/// Asks by a datagram, with a socket that is connected or not.
fn asks(host: &Namespace, source: Ipv6Addr, connected: bool) -> Result<()> {
    host.run(|| {
        let socket = UdpSocket::bind((source, 0))?;
        socket.set_read_timeout(Some(wait::patience(SOON)))?;
        let to = SocketAddrV6::new(ROUTER, SERVICE, 0, 0);
        for _ in 0..3 {
            if connected {
                socket.connect(to)?;
                socket.send(b"word")?;
            } else {
                socket.send_to(b"word", to)?;
            }
            let mut answer = [0; 10];
            let length = socket.recv(&mut answer).context("no answer")?;
            ensure!(&answer[..length] == b"word", "{answer:?}");
        }
        Ok(())
    })
}

/// All that a host may do by C of its own accord.
fn everything(lan: &Lan) -> Result<()> {
    let [host, _] = &lan.members;
    let c = care_of(1);
    let mut stream = host.run(|| connect(c, (ROUTER, SERVICE)))?;
    for _ in 0..3 {
        echoed(&mut stream)?;
    }
    drop(stream);
    asks(host, c, true).context("a connected socket")?;
    asks(host, c, false).context("a socket that is bound to C")?;
    Ok(())
}

pub fn connections() -> Result<()> {
    let lan = Lan::up()?;
    let [host, _] = &lan.members;
    let c = care_of(1);
    netlink::deprecated_address(host, "lo", B, 128)?;
    netlink::deprecated_address(host, "eth0", c, 64)?;
    echo(&lan.router, ROUTER)?;
    echo(host, B)?;
    everything(&lan).context("without the daemon")?;
    let mut earlier = host.run(|| connect(c, (ROUTER, SERVICE)))?;
    echoed(&mut earlier)?;

    let member = lan.member(0, &format!("care_of = \"{c}\""))?;
    everything(&lan)?;
    echoed(&mut earlier).context("a connection that is older than the daemon")?;
    let own = member.counter("data_plane", "member_own_flow")?;
    ensure!(own >= 9, "{own} packets were taken for the host's own");
    // And what others send to C is still B's.
    let mut client = lan.router.run(|| connect(ROUTER, (c, SERVICE)))?;
    echoed(&mut client).context("a client that comes by C")?;
    let served = member.counter("data_plane", "member_from_care_of")?;
    ensure!(served >= 3, "{served} packets to B");
    Ok(())
}

pub fn preferred() -> Result<()> {
    let lan = Lan::up()?;
    let [host, other] = &lan.members;
    for (host, index) in [(host, 1), (other, 2)] {
        netlink::deprecated_address(host, "lo", B, 128)?;
        let c = care_of(index);
        match index {
            1 => netlink::address(host, "eth0", c, 128)?,
            _ => netlink::deprecated_address(host, "eth0", c, 128)?,
        }
    }
    for (index, expected) in [(0, true), (1, false)] {
        let c = care_of(u16::try_from(index)? + 1);
        let member = lan.member(index, &format!("care_of = \"{c}\""))?;
        let warned = |lines: &[String]| lines.iter().any(|line| line.contains("preferred_lft 0"));
        let log = member.tail(100);
        ensure!(warned(&log) == expected, "{log:?}");
        let status = member.tell(&["status"])?;
        ensure!(status.contains("preferred_lft 0") == expected, "{status}");
    }
    Ok(())
}

pub fn duplicate() -> Result<()> {
    let lan = Lan::up()?;
    let [host, other] = &lan.members;
    let c = care_of(1);
    sysctl::set(host, &[("ipv6/conf/eth0/accept_dad", "1")])?;
    netlink::address(other, "eth0", c, 128)?;
    let member = lan.member(0, &format!("care_of = \"{c}\"\nassign = true"))?;
    let problems = || -> Result<String> {
        let status = member.ask("status")?;
        Ok(status["problems"].to_string())
    };
    until("it is told of", || {
        Ok(problems()?.contains("care_of_duplicate"))
    })?;
    let gone = format!("-6 address del {c}/128 dev eth0");
    let gone = other.command("ip").args(gone.split(' ')).status()?;
    ensure!(gone.success(), "{gone}");
    wait::poll(TRIED_AGAIN, ASK_AGAIN, "it is used", || {
        Ok((!problems()?.contains("care_of_duplicate")).then_some(()))
    })?;
    // And not because it is gone here, too.
    until("it is here", || has(host, "eth0", c))
}
