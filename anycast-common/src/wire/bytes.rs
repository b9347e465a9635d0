//! A writer that reports a full buffer instead of panicking.

use super::Error;

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
}

/// Replaces the two octets at `offset`; `value` is in memory order (see [`super::checksum`]).
pub(super) fn patch(buffer: &mut [u8], offset: usize, value: u16) -> Result<(), Error> {
    let needed = offset.saturating_add(2);
    buffer
        .get_mut(offset..needed)
        .ok_or(Error::BufferTooSmall { needed })?
        .copy_from_slice(&value.to_ne_bytes());
    Ok(())
}
