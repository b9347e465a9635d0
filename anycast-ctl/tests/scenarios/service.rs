//! UDP programs: one answers with datagrams of the size that the other wants.

use std::{
    cell::Cell,
    io,
    net::{Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    errno::Errno,
    libc,
    sys::socket::{setsockopt, sockopt},
};
use socket2::SockRef;
use xtask::{
    lab::scenario::{ASK_AGAIN, SOON},
    net::wait,
};

use super::paths::content;

/// Octets before the content of a question: its number, and how many are wanted for the answer. If that is 0,
/// the path MTU that the server's kernel knows.
const QUESTION: usize = 8;
/// Octets before the content of an answer: the number of the question.
const NUMBER: usize = 4;

/// What a program does with datagrams that are larger than the path MTU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// It wants to know, and sends smaller ones.
    Whole,
    /// It leaves it to the kernel.
    Fragments,
}

/// A UDP program that serves one client.
pub(super) struct Service {
    socket: UdpSocket,
    style: Style,
}

impl Service {
    pub(super) fn open(address: (Ipv6Addr, u16), style: Style) -> Result<Self> {
        let socket = UdpSocket::bind(SocketAddr::from(address))?;
        if style == Style::Whole {
            never_fragment(&socket)?;
        }
        Ok(Self { socket, style })
    }

    fn mtu(&self) -> Result<usize> {
        path_mtu(&self.socket)
    }

    fn say_mtu(&self, number: [u8; NUMBER]) -> Result<()> {
        let mtu = u32::try_from(self.mtu()?)?.to_be_bytes();
        self.socket.send(&[number, mtu].concat())?;
        Ok(())
    }

    /// Answers a question, and gives its number.
    fn answer(&self, question: &[u8]) -> Result<[u8; NUMBER]> {
        let (number, rest) = question.split_first_chunk().context("a short question")?;
        let (wanted, rest) = rest.split_first_chunk().context("a short question")?;
        ensure!(rest == content(rest.len()), "another question came");
        let wanted = usize::try_from(u32::from_be_bytes(*wanted))?;
        if wanted == 0 {
            self.say_mtu(*number)?;
            return Ok(*number);
        }
        let answer = [&number[..], &content(wanted - NUMBER)].concat();
        match self.socket.send(&answer) {
            Err(error) if is_too_big(&error) && self.style == Style::Whole => {
                self.say_mtu(*number)?;
            }
            sent => {
                sent?;
            }
        }
        Ok(*number)
    }

    /// Answers until told to stop.
    pub(super) fn serve(&self, stop: &AtomicBool) -> Result<()> {
        let again = Some(Duration::from_millis(100));
        self.socket.set_read_timeout(again)?;
        let mut question = vec![0; 65536];
        let mut last = [0; NUMBER];
        while !stop.load(Ordering::Relaxed) {
            match self.socket.recv_from(&mut question) {
                Ok((length, from)) => {
                    self.socket.connect(from)?;
                    last = self.answer(&question[..length])?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if is_too_big(&error) => self.say_mtu(last)?,
                Err(error) => bail!("the service: {error}"),
            }
        }
        Ok(())
    }
}

fn is_too_big(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMSGSIZE)
}

/// What comes back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The octets that were wanted.
    Whole,
    /// The kernel says that the last datagram was too big.
    TooBig,
    /// The server's kernel knows this path MTU.
    Mtu(usize),
    /// The kernel says that the last datagram did not come so far.
    Expired,
    /// Nothing yet.
    Lost,
}

/// A UDP program that asks it.
pub(super) struct Client {
    service: Service,
    /// Questions so far.
    asked: Cell<u32>,
}

impl Client {
    pub(super) fn open(
        here: (Ipv6Addr, u16),
        there: (Ipv6Addr, u16),
        style: Style,
    ) -> Result<Self> {
        let service = Service::open(here, style)?;
        service.socket.connect(SocketAddr::from(there))?;
        service
            .socket
            .set_read_timeout(Some(wait::patience(SOON)))?;
        let asked = Cell::new(0);
        Ok(Self { service, asked })
    }

    /// The path MTU that its kernel knows.
    pub(super) fn mtu(&self) -> Result<usize> {
        self.service.mtu()
    }

    /// Asks by a datagram of so many octets for one of so many.
    fn ask(&self, octets: usize, wanted: usize) -> Result<Answer> {
        let number = self.asked.get() + 1;
        self.asked.set(number);
        let head = [number, u32::try_from(wanted)?].map(u32::to_be_bytes);
        let question = [&head.concat(), &content(octets - QUESTION)[..]].concat();
        let mut answer = vec![0; 65536];
        let sent = self.service.socket.send(&question);
        let mut received = sent.and_then(|_| self.service.socket.recv(&mut answer));
        // An answer may come when its question has been asked again.
        while received.is_ok() && answer[..NUMBER] != head[0] {
            received = self.service.socket.recv(&mut answer);
        }
        let length = match received {
            Ok(length) => length,
            Err(error) if is_too_big(&error) => return Ok(Answer::TooBig),
            // What Linux makes of Time Exceeded.
            Err(error) if error.kind() == io::ErrorKind::HostUnreachable => {
                return Ok(Answer::Expired);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Answer::Lost),
            Err(error) => bail!("the client: {error}"),
        };
        let answer = &answer[NUMBER..length];
        match <[u8; 4]>::try_from(answer) {
            Ok(mtu) => Ok(Answer::Mtu(usize::try_from(u32::from_be_bytes(mtu))?)),
            Err(_) => {
                ensure!(*answer == content(wanted - NUMBER), "another answer came");
                Ok(Answer::Whole)
            }
        }
    }

    /// Asks once.
    pub(super) fn must(&self, octets: usize, wanted: usize, expected: &Answer) -> Result<()> {
        let answer = self.ask(octets, wanted)?;
        ensure!(
            answer == *expected,
            "{octets} octets that want {wanted}: {answer:?}, not {expected:?}"
        );
        Ok(())
    }

    /// Asks once by a datagram that may go so many hops.
    pub(super) fn must_within(&self, hops: u32, expected: &Answer) -> Result<()> {
        let socket = &self.service.socket;
        // Else the kernel does not tell a program of UDP.
        setsockopt(socket, sockopt::Ipv6RecvErr, &true)?;
        let limit = SockRef::from(socket);
        let before = limit.unicast_hops_v6()?;
        limit.set_unicast_hops_v6(hops)?;
        let answer = self.ask(100, 200)?;
        ensure!(
            answer == *expected,
            "{hops} hops: {answer:?}, not {expected:?}"
        );
        limit.set_unicast_hops_v6(before)?;
        Ok(setsockopt(socket, sockopt::Ipv6RecvErr, &false)?)
    }

    /// Asks again until the answer comes, as programs do which leave fragments to the kernel.
    pub(super) fn insist(&self, octets: usize, wanted: usize) -> Result<()> {
        self.service.socket.set_read_timeout(Some(ASK_AGAIN))?;
        wait::poll(SOON, Duration::ZERO, "an answer", || {
            Ok((self.ask(octets, wanted)? == Answer::Whole).then_some(()))
        })?;
        Ok(self
            .service
            .socket
            .set_read_timeout(Some(wait::patience(SOON)))?)
    }
}

/// Datagrams beyond the path MTU are refused, and those that turn out to be reported (RFC 3542 section 11).
fn never_fragment(socket: &UdpSocket) -> Result<()> {
    let value = libc::IPV6_PMTUDISC_DO;
    // SAFETY: the kernel reads one integer, of the size that it is told.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            (&raw const value).cast(),
            u32::try_from(size_of_val(&value))?,
        )
    };
    Errno::result(result).context("IPV6_MTU_DISCOVER")?;
    Ok(())
}

/// The path MTU that the kernel knows of a connected socket's other end.
fn path_mtu(socket: &UdpSocket) -> Result<usize> {
    let mut mtu: libc::c_int = 0;
    let mut length = u32::try_from(size_of_val(&mtu))?;
    // SAFETY: the kernel writes one integer, of the size that it is told.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU,
            (&raw mut mtu).cast(),
            &raw mut length,
        )
    };
    Errno::result(result).context("IPV6_MTU")?;
    Ok(usize::try_from(mtu)?)
}
