//! Reads the ring buffer.

use std::{io, ops::Range};

use anycast_common::abi::event::{HEADER, Header};
use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use tokio::io::{Interest, unix::AsyncFd};
use zerocopy::FromBytes as _;

use super::error::DataplaneError;

/// Number of records that are taken at once, so that a flood leaves the loop time for timers and requests.
const BATCH: usize = 256;

pub(super) struct Events {
    ring: AsyncFd<RingBuf<MapData>>,
    taken: Taken,
}

impl Events {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, DataplaneError> {
        const MAP: &str = "EVENTS";
        let map = ebpf.take_map(MAP).ok_or(DataplaneError::Missing(MAP))?;
        let ring =
            RingBuf::try_from(map).map_err(|error| DataplaneError::Map { map: MAP, error })?;
        // SAFETY: the ring owns its file descriptor, which stays open and does not change until the ring is dropped.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .map_err(|error| error.into_parts().1)?;
        Ok(Self {
            ring,
            taken: Taken::default(),
        })
    }

    /// Passes records to `sink`. Cancellation is safe: records that were not passed to `sink` stay in the ring. Gives
    /// whether more records may be left.
    ///
    /// All are taken out of the ring before the first is handled. The kernel interrupts a processor for a record that
    /// finds the ring empty: who handled one after the other while they come would be interrupted for each, and that
    /// takes whoever sends as long as the rest of a packet's way.
    pub(super) async fn drain(&mut self, sink: impl FnMut(&Header, &[u8])) -> io::Result<bool> {
        let Self { ring, taken } = self;
        let mut guard = ring.readable_mut().await?;
        let ring = guard.get_inner_mut();
        let mut put = |header: &Header, packet: &[u8]| taken.put(header, packet);
        let is_full = (0..BATCH).all(|_| next(ring, &mut put));
        if !is_full {
            guard.clear_ready();
        }
        taken.pass(sink);
        Ok(is_full)
    }

    pub(super) fn take_all(&mut self, mut sink: impl FnMut(&Header, &[u8])) {
        while next(self.ring.get_mut(), &mut sink) {}
    }
}

/// Records that were taken out of the ring and wait to be handled, in their order.
#[derive(Default)]
struct Taken {
    headers: Vec<(Header, Range<usize>)>,
    octets: Vec<u8>,
}

impl Taken {
    fn put(&mut self, header: &Header, packet: &[u8]) {
        let start = self.octets.len();
        self.octets.extend_from_slice(packet);
        self.headers.push((*header, start..self.octets.len()));
    }

    /// Passes them all to `sink`, and keeps the room.
    fn pass(&mut self, mut sink: impl FnMut(&Header, &[u8])) {
        for (header, place) in self.headers.drain(..) {
            sink(&header, self.octets.get(place).unwrap_or_default());
        }
        self.octets.clear();
    }
}

/// Passes the next record to `sink`. False if there is none.
fn next(ring: &mut RingBuf<MapData>, sink: &mut impl FnMut(&Header, &[u8])) -> bool {
    let Some(record) = ring.next() else {
        return false;
    };
    match Header::read_from_prefix(&record) {
        Ok((header, rest)) => {
            let length = usize::from(header.length).min(rest.len());
            sink(&header, &rest[..length]);
        }
        Err(_) => tracing::error!(
            length = record.len(),
            minimum = HEADER,
            "short record in the ring buffer: programs and controller do not match"
        ),
    }
    true
}
