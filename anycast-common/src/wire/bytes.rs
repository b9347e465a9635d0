//! A writer that reports a full buffer instead of panicking.

use core::net::Ipv6Addr;

use super::{Error, checksum, ipv6};

/// Fills a buffer from the front.
pub(super) struct Writer<'a> {
    buffer: &'a mut [u8],
    at: usize,
}

impl<'a> Writer<'a> {
    /// Takes the first `needed` octets of `buffer`, or says that there are fewer.
    pub(super) fn new(buffer: &'a mut [u8], needed: usize) -> Result<Self, Error> {
        let buffer = buffer
            .get_mut(..needed)
            .ok_or(Error::BufferTooSmall { needed })?;
        Ok(Self { buffer, at: 0 })
    }

    /// Octets written so far.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Appends `octets`.
    pub(super) fn put(&mut self, octets: &[u8]) -> Result<(), Error> {
        let end = self.at.saturating_add(octets.len());
        self.buffer
            .get_mut(self.at..end)
            .ok_or(Error::BufferTooSmall { needed: end })?
            .copy_from_slice(octets);
        self.at = end;
        Ok(())
    }

    /// Writes an IPv6 header; see [`ipv6::header`].
    pub(super) fn ipv6(
        &mut self,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        next_header: u8,
        hop_limit: u8,
        payload_len: usize,
    ) -> Result<(), Error> {
        let mut octets = [0; ipv6::HEADER_LEN];
        ipv6::header(
            &mut octets,
            source,
            destination,
            next_header,
            hop_limit,
            payload_len,
        )?;
        self.put(&octets)
    }

    /// Sets the checksum of the upper-layer packet that runs from `start` to the end; its field
    /// stands `field` octets behind `start` and holds zero.
    pub(super) fn checksum(
        &mut self,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        next_header: u8,
        start: usize,
        field: usize,
    ) -> Result<(), Error> {
        let upper = self.buffer.get_mut(start..).ok_or(Error::Truncated)?;
        let sum = checksum::transport(&source.octets(), &destination.octets(), next_header, upper);
        upper
            .get_mut(field..field.saturating_add(2))
            .ok_or(Error::Truncated)?
            .copy_from_slice(&sum.to_ne_bytes());
        Ok(())
    }
}
