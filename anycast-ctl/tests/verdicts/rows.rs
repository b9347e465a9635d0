//! Verdict tables: what a program must do with a frame, and everything that must come of it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

use crate::harness::{Bench, Hook, Row, Verdict};

impl Bench {
    /// Checks every row, and says of all that differ how they do.
    pub fn table(&mut self, rows: &[Row]) -> Result<()> {
        let failures: Vec<String> = rows
            .iter()
            .filter_map(|row| {
                self.row(row)
                    .err()
                    .map(|error| format!("{}: {error:#}", row.name))
            })
            .collect();
        ensure!(failures.is_empty(), "\n{}", failures.join("\n"));
        Ok(())
    }

    fn row(&mut self, row: &Row) -> Result<()> {
        // No stack has less than an IPv6 header, and the kernel runs no test with it.
        if self.hook != Hook::Xdp && row.frame.len() < 14 + 40 {
            return Ok(());
        }
        let before = self.counters()?;
        let (verdict, frame) = self.run(&row.frame)?;
        self.compare(row, &before, verdict, &frame)
    }

    /// The same through the member's egress program.
    pub fn egress_row(&mut self, row: &Row) -> Result<()> {
        let before = self.counters()?;
        let (verdict, frame) = self.egress(&row.frame)?;
        self.compare(row, &before, verdict, &frame)
            .with_context(|| row.name)
    }

    fn compare(
        &mut self,
        row: &Row,
        before: &BTreeMap<&'static str, u64>,
        verdict: Verdict,
        frame: &[u8],
    ) -> Result<()> {
        let after = self.counters()?;
        let counted: BTreeMap<_, _> = after
            .iter()
            .filter_map(|(name, value)| {
                let more = value - before[name];
                (more != 0).then_some((*name, more))
            })
            .collect();
        let kinds: Vec<u8> = self.events()?.iter().map(|event| event.0.kind).collect();
        ensure!(
            verdict == row.verdict,
            "{verdict:?}, expected {:?}, counted {counted:?}",
            row.verdict
        );
        ensure!(
            counted == row.counts.iter().copied().collect(),
            "counted {counted:?}, expected {:?}",
            row.counts
        );
        let expected = row.becomes.as_ref().unwrap_or(&row.frame);
        ensure!(
            frame == expected,
            "the frame is\n{}, expected\n{}",
            hex(frame),
            hex(expected)
        );
        ensure!(
            kinds == row.events,
            "events {kinds:?}, expected {:?}",
            row.events
        );
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .chunks(16)
        .map(|line| {
            line.iter()
                .map(|octet| format!("{octet:02x}"))
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect::<Vec<_>>()
        .join("\n")
}
