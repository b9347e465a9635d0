//! Writes the classic capture file format (pcap), with times in nanoseconds.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result};

const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
const ETHERNET: u32 = 1;
/// Octets of whole frames that are written. Of later frames only the headers are kept, since a long run would otherwise
/// fill a disk.
const BUDGET: u64 = 32 << 20;

/// A capture file being written.
#[derive(Debug)]
pub(super) struct Writer {
    file: BufWriter<File>,
    written: u64,
}

impl Writer {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file =
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut file = BufWriter::new(file);
        file.write_all(&MAGIC_NANOSECONDS.to_ne_bytes())?;
        file.write_all(&2_u16.to_ne_bytes())?; // version 2.4
        file.write_all(&4_u16.to_ne_bytes())?;
        file.write_all(&[0; 8])?; // time zone, accuracy
        file.write_all(&0x4_0000_u32.to_ne_bytes())?; // longest frame
        file.write_all(&ETHERNET.to_ne_bytes())?;
        Ok(Self { file, written: 0 })
    }

    pub(super) fn write(&mut self, time: u64, length: u32, bytes: &[u8]) -> Result<()> {
        self.written += bytes.len() as u64;
        let seconds = u32::try_from(time / 1_000_000_000)?;
        let nanoseconds = u32::try_from(time % 1_000_000_000)?;
        for word in [seconds, nanoseconds, u32::try_from(bytes.len())?, length] {
            self.file.write_all(&word.to_ne_bytes())?;
        }
        self.file.write_all(bytes)?;
        Ok(())
    }

    /// Whether whole frames no longer fit the budget.
    pub(super) fn is_full(&self) -> bool {
        self.written >= BUDGET
    }

    pub(super) fn finish(mut self) -> Result<()> {
        self.file.flush().context("cannot write a capture")
    }
}
