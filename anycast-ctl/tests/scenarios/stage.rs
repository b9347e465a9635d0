//! Where a scenario plays.

use std::path::Path;

use xtask::lab::{report::Report, stage::Lab};

/// The daemon that cargo has built for this test.
pub const DAEMON: &str = env!("CARGO_BIN_EXE_anycast-ctl");

/// Runs `body` in a lab of its own, and tells the ends of the daemons' logs when it fails.
pub fn in_lab(
    pcap: Option<&Path>,
    body: impl FnOnce(&mut Lab, &mut Report) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut lab = Lab::up(Path::new(DAEMON), pcap)?;
    let mut report = Report::begin(true);
    let result = body(&mut lab, &mut report);
    result.map_err(|error| {
        let logs = lab.logs(None);
        error.context(format!("the logs:\n{logs}"))
    })
}
