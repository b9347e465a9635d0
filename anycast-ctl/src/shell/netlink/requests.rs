//! Sends netlink requests to the kernel, many at a time.
//!
//! The kernel executes a request while it is being sent, so that nothing is gained by waiting for each answer in turn.
//! A batch is therefore sent in few system calls, and then its answers are read.

use std::{io, os::fd::AsFd as _};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::error::{NetlinkError, PATIENCE};

/// Number of messages whose answers may be outstanding at the same time. Their answers fit the receive buffer.
const WINDOW: usize = 256;
/// Octets that are sent in one system call. The kernel's send buffer has room for more.
const CHUNK: usize = 64 << 10;
/// Size of the receive buffer in octets: the answers of a window, for each of which the kernel charges about a
/// kilobyte.
const RECEIVE_BUFFER: usize = 1 << 20;
/// Longest message of a dump in octets.
const DATAGRAM: usize = 64 << 10;
/// How often a dump is tried again when changes interrupt it. Differences that are left are found by the next dump.
const DUMPS: usize = 3;

/// Position of the sequence number in a message.
const SEQUENCE: std::ops::Range<usize> = 8..12;

/// Messages that are sent to the kernel together.
#[derive(Debug, Default)]
pub struct Batch {
    octets: Vec<u8>,
    /// Position at which each message ends.
    ends: Vec<usize>,
}

impl Batch {
    /// Adds a message that asks for an acknowledgement. `flags` are set in addition to those for the acknowledgement.
    pub fn push<M: NetlinkSerializable>(&mut self, message: M, flags: u16) {
        self.write(message, flags | NLM_F_REQUEST | NLM_F_ACK);
    }

    fn write<M: NetlinkSerializable>(&mut self, message: M, flags: u16) {
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        message.finalize();
        let start = self.octets.len();
        self.octets.resize(start + message.buffer_len(), 0);
        message.serialize(&mut self.octets[start..]);
        // A message may have an odd length, but the next one has to be aligned.
        self.octets.resize(self.octets.len().next_multiple_of(4), 0);
        self.ends.push(self.octets.len());
    }

    /// Number of messages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.ends[before])
    }
}

/// A netlink socket for requests, which receives no notifications.
#[derive(Debug)]
pub struct Requests {
    socket: Socket,
    port: u32,
    sequence: u32,
}

impl Requests {
    /// Opens a socket in the network namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        let port = socket.bind_auto()?.port_number();
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_cap_ack(true)?;
        // With strict checking the kernel filters dumps of routes. The tables of a router can be long.
        socket.set_netlink_get_strict_chk(true)?;
        socket.set_rx_buf_sz(RECEIVE_BUFFER)?;
        // The daemon must not hang when an answer is lost.
        let patience = nix::sys::time::TimeVal::new(PATIENCE.as_secs().try_into().unwrap_or(5), 0);
        setsockopt(&socket.as_fd(), sockopt::ReceiveTimeout, &patience)?;
        Ok(Self {
            socket,
            port,
            sequence: 0,
        })
    }

    /// Port number of the socket, by which notifications name who caused a change.
    #[must_use]
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Lets the kernel execute every message of the batch in order, and gives the result of each one. A message that
    /// fails does not stop the others.
    pub fn perform(&mut self, mut batch: Batch) -> Vec<Result<(), NetlinkError>> {
        let mut results = Vec::with_capacity(batch.len());
        while results.len() < batch.len() {
            let first = results.len();
            let start = batch.start(first);
            let fits = |last: &usize| batch.ends[*last] - start <= CHUNK || *last == first;
            let last = (first..batch.len().min(first + WINDOW))
                .take_while(fits)
                .last()
                .unwrap_or(first);
            let base = self.sequence.wrapping_add(1);
            for index in first..=last {
                self.sequence = self.sequence.wrapping_add(1);
                let at = batch.start(index);
                batch.octets[at..][SEQUENCE].copy_from_slice(&self.sequence.to_ne_bytes());
            }
            let window = &batch.octets[start..batch.ends[last]];
            let mut answers = self.window(window, base, last + 1 - first);
            results.append(&mut answers);
        }
        results
    }

    fn window(&self, octets: &[u8], base: u32, count: usize) -> Vec<Result<(), NetlinkError>> {
        let mut answers: Vec<_> = (0..count).map(|_| None).collect();
        let mut missing = count;
        let mut outcome = self.socket.send(octets, 0).map(drop);
        while outcome.is_ok() && missing > 0 {
            outcome = self.receive(|message| {
                if message.message_type() != NLMSG_ERROR {
                    return;
                }
                let index = message.sequence_number().wrapping_sub(base);
                let answer = usize::try_from(index)
                    .ok()
                    .and_then(|index| answers.get_mut(index));
                // Other answers are late ones to requests that were given up.
                if let Some(answer @ None) = answer {
                    *answer = Some(refusal(message.payload()).map_or(Ok(()), Err));
                    missing -= 1;
                }
            });
        }
        let broken = outcome.err();
        answers
            .into_iter()
            .map(|answer| match (answer, &broken) {
                (Some(answer), _) => answer.map_err(NetlinkError::Refused),
                (None, Some(error)) => Err(lost(error)),
                (None, None) => Err(NetlinkError::Timeout),
            })
            .collect()
    }

    /// Gives everything that `request` asks for and `read` understands. The dump is repeated when the kernel says that
    /// something changed during it.
    pub fn dump<M: NetlinkSerializable + Clone, T>(
        &mut self,
        request: &M,
        mut read: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        Ok(self.dumps(request, &mut read)?.0)
    }

    /// As [`dump`](Self::dump). `None` when changes interrupted every one, so that something may be missing.
    pub fn whole<M: NetlinkSerializable + Clone, T>(
        &mut self,
        request: &M,
        mut read: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Option<Vec<T>>, NetlinkError> {
        let (found, interrupted) = self.dumps(request, &mut read)?;
        Ok((!interrupted).then_some(found))
    }

    /// What was found, and whether that was interrupted.
    fn dumps<M: NetlinkSerializable + Clone, T>(
        &mut self,
        request: &M,
        read: &mut impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<(Vec<T>, bool), NetlinkError> {
        let mut found = Vec::new();
        for _ in 0..DUMPS {
            found.clear();
            if !self.ask(request, NLM_F_DUMP, |payload| found.extend(read(payload)))? {
                return Ok((found, false));
            }
        }
        Ok((found, true))
    }

    /// Gives the one object that `request` asks for, as `read` understands it.
    pub fn get<M: NetlinkSerializable + Clone, T>(
        &mut self,
        request: &M,
        mut read: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, NetlinkError> {
        let mut found = None;
        self.ask(request, 0, |payload| found = read(payload))?;
        Ok(found)
    }

    /// Sends a request for a dump and reads the answers. Gives whether a change interrupted the dump.
    fn ask<M: NetlinkSerializable + Clone>(
        &mut self,
        request: &M,
        flags: u16,
        mut read: impl FnMut(&[u8]),
    ) -> Result<bool, NetlinkError> {
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        let mut batch = Batch::default();
        batch.write(request.clone(), NLM_F_REQUEST | flags);
        batch.octets[SEQUENCE].copy_from_slice(&sequence.to_ne_bytes());
        self.socket
            .send(&batch.octets, 0)
            .map_err(|error| lost(&error))?;
        let (mut end, mut interrupted) = (None, false);
        while end.is_none() {
            self.receive(|message| {
                if message.sequence_number() != sequence || end.is_some() {
                    return;
                }
                interrupted |= message.flags() & NLM_F_DUMP_INTR != 0;
                match message.message_type() {
                    NLMSG_DONE | NLMSG_ERROR => end = Some(refusal(message.payload())),
                    _ => read(message.payload()),
                }
                // A request that is not a dump has one answer, and no message after it.
                if flags & NLM_F_DUMP == 0 {
                    end.get_or_insert(None);
                }
            })
            .map_err(|error| lost(&error))?;
        }
        match end.flatten() {
            Some(error) => Err(NetlinkError::Refused(error)),
            None => Ok(interrupted),
        }
    }

    /// Waits for a datagram, and passes its messages to `show`.
    fn receive(&self, mut show: impl FnMut(&NetlinkBuffer<&[u8]>)) -> io::Result<()> {
        let mut octets = Vec::with_capacity(DATAGRAM);
        loop {
            match self.socket.recv(&mut octets, 0) {
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let mut rest = &octets[..];
        while let Ok(message) = NetlinkBuffer::new_checked(rest) {
            let length = message.length() as usize;
            show(&NetlinkBuffer::new(&rest[..length]));
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(())
    }
}

/// The error in an `NLMSG_ERROR` or `NLMSG_DONE`. `None` if the message is an acknowledgement.
fn refusal(payload: &[u8]) -> Option<io::Error> {
    let code = payload
        .first_chunk()
        .map_or(0, |code| i32::from_ne_bytes(*code));
    (code < 0).then(|| io::Error::from_raw_os_error(-code))
}

/// The socket itself has failed. Which of the requests the kernel executed is found when its tables are read again.
fn lost(error: &io::Error) -> NetlinkError {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => NetlinkError::Timeout,
        kind => NetlinkError::Socket(kind.into()),
    }
}
