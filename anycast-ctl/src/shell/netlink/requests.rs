//! Requests to the kernel, many at a time.
//!
//! The kernel does what a message asks while it is being sent, so that nothing is gained by waiting
//! for each answer in turn: a batch goes out in few system calls, and then its answers are read.

use std::{io, os::fd::AsFd as _};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::{NetlinkError, PATIENCE};

/// Messages whose answers are outstanding at the same time: their answers fit the receive buffer.
const WINDOW: usize = 256;
/// Octets of one system call; the kernel's send buffer takes more.
const CHUNK: usize = 64 << 10;
/// Room for the answers of a window, each of which the kernel charges with about a kilobyte.
const RECEIVE_BUFFER: usize = 1 << 20;
/// The kernel's messages of a dump are no longer.
const DATAGRAM: usize = 64 << 10;
/// Tries of a dump that changes interrupt; what still differs shows at the next one.
const DUMPS: usize = 3;

/// Where the sequence number of a message stands.
const SEQUENCE: std::ops::Range<usize> = 8..12;

/// Messages for one round to the kernel.
#[derive(Debug, Default)]
pub struct Batch {
    octets: Vec<u8>,
    /// Where each message ends.
    ends: Vec<usize>,
}

impl Batch {
    /// Adds a message that wants an acknowledgement; `flags` beside those for that.
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
        // The length of a message may be odd, the place of the next one is not.
        self.octets.resize(self.octets.len().next_multiple_of(4), 0);
        self.ends.push(self.octets.len());
    }

    /// How many messages it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.ends[before])
    }
}

/// A netlink socket for requests, which hears no notifications.
#[derive(Debug)]
pub struct Requests {
    socket: Socket,
    sequence: u32,
}

impl Requests {
    /// Opens one in the network namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_cap_ack(true)?;
        // The kernel then filters dumps of routes; the tables of a router can be long.
        socket.set_netlink_get_strict_chk(true)?;
        socket.set_rx_buf_sz(RECEIVE_BUFFER)?;
        // A lost answer must not stall us.
        let patience = nix::sys::time::TimeVal::new(PATIENCE.as_secs().try_into().unwrap_or(5), 0);
        setsockopt(&socket.as_fd(), sockopt::ReceiveTimeout, &patience)?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Has the kernel do everything in the batch, in its order, and gives what became of each
    /// message. One that fails does not hold up the others.
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
                // Others are late answers to what was given up.
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

    /// Everything that `request` asks for and `read` understands; again when the kernel says that it
    /// changed meanwhile.
    pub fn dump<M: NetlinkSerializable + Clone, T>(
        &mut self,
        request: &M,
        mut read: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        let mut found = Vec::new();
        for _ in 0..DUMPS {
            found.clear();
            if !self.ask(request, NLM_F_DUMP, |payload| found.extend(read(payload)))? {
                break;
            }
        }
        Ok(found)
    }

    /// The one thing that `request` asks for, as `read` understands it.
    pub fn get<M: NetlinkSerializable + Clone, T>(
        &mut self,
        request: &M,
        mut read: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, NetlinkError> {
        let mut found = None;
        self.ask(request, 0, |payload| found = read(payload))?;
        Ok(found)
    }

    /// Whether the dump was interrupted by a change.
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
                // Without a dump there is one answer, and nothing after it.
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

    /// Waits for a datagram and shows its messages.
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

/// The error of `NLMSG_ERROR` or `NLMSG_DONE`; none in an acknowledgement.
fn refusal(payload: &[u8]) -> Option<io::Error> {
    let code = payload
        .first_chunk()
        .map_or(0, |code| i32::from_ne_bytes(*code));
    (code < 0).then(|| io::Error::from_raw_os_error(-code))
}

/// The socket itself fails. What the kernel has done of it shows when its tables are read again.
fn lost(error: &io::Error) -> NetlinkError {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => NetlinkError::Timeout,
        kind => NetlinkError::Socket(kind.into()),
    }
}
