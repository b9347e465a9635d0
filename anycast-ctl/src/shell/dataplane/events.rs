//! Reads the ring buffer.

use std::io;

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

pub(super) struct Events(AsyncFd<RingBuf<MapData>>);

impl Events {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, DataplaneError> {
        const MAP: &str = "EVENTS";
        let map = ebpf.take_map(MAP).ok_or(DataplaneError::Missing(MAP))?;
        let ring =
            RingBuf::try_from(map).map_err(|error| DataplaneError::Map { map: MAP, error })?;
        // SAFETY: the ring owns its file descriptor, which stays open and does not change until the ring is dropped.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .map_err(|error| error.into_parts().1)?;
        Ok(Self(ring))
    }

    /// Passes records to `sink`. Cancellation is safe: records that were not passed to `sink` stay in the ring. Gives
    /// whether more records may be left.
    pub(super) async fn drain(&mut self, mut sink: impl FnMut(&Header, &[u8])) -> io::Result<bool> {
        let mut guard = self.0.readable_mut().await?;
        let ring = guard.get_inner_mut();
        for _ in 0..BATCH {
            if !next(ring, &mut sink) {
                guard.clear_ready();
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn take_all(&mut self, mut sink: impl FnMut(&Header, &[u8])) {
        while next(self.0.get_mut(), &mut sink) {}
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
