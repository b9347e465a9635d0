//! tshark as the judge of what went over the wires.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use xtask::process::find;

const CHECK: [&str; 3] = [
    "tcp.check_checksum:TRUE",
    "udp.check_checksum:TRUE",
    "tcp.analyze_sequence_numbers:FALSE",
];
/// What the visitors carry is no protocol that tshark should know: in random octets it would sooner or
/// later recognise one, malformed.
const OPAQUE: [&str; 2] = ["tcp.port==1-65535,data", "udp.port==1-65535,data"];
/// Linux writes a checksum of zero as 0xffff, which is the same number; tshark reports it.
const WRONG: &str = "_ws.malformed || icmpv6.checksum.status == 0 || udp.checksum.status == 0 \
    || (tcp.checksum.status == 0 && tcp.checksum != 0xffff)";

/// No packet of these captures is malformed or has a bad checksum.
pub(super) fn judge(directory: &Path) -> Result<()> {
    let tshark =
        find("tshark").context("tshark is missing: cargo xtask doctor says how to get it")?;
    let mut running = Vec::new();
    for entry in fs::read_dir(directory)? {
        let file = entry?.path();
        if file.extension().is_none_or(|extension| extension != "pcap") {
            continue;
        }
        let mut command = Command::new(&tshark);
        CHECK.iter().for_each(|option| {
            command.args(["-o", option]);
        });
        OPAQUE.iter().for_each(|ports| {
            command.args(["-d", ports]);
        });
        command.args(["-Y", WRONG, "-r"]).arg(&file);
        running.push((file, std::thread::spawn(move || command.output())));
    }
    ensure!(
        running.len() == 7,
        "{} captures instead of 7",
        running.len()
    );
    for (file, output) in running {
        let output = output.join().ok().context("a thread panicked")??;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {errors}", file.display());
        let wrong = String::from_utf8_lossy(&output.stdout);
        ensure!(wrong.is_empty(), "{}:\n{wrong}", file.display());
    }
    Ok(())
}
