//! What fuzzing starts from, and what the ordinary tests replay.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::Target;

#[path = "../../../anycast-common/tests/common/fixture.rs"]
mod fixture;

/// Recorded packets.
const FIXTURES: &str = "anycast-common/tests/fixtures";
/// The crate that is fuzzed.
pub(super) const CRATE: &str = "anycast-ctl/fuzz";

/// The recorded packets, as inputs of a target, with their names.
pub fn seeds(target: Target) -> Result<Vec<(String, Vec<u8>)>> {
    let mut seeds = Vec::new();
    for path in files(&crate::workspace().join(FIXTURES))? {
        if path.extension().is_none_or(|extension| extension != "hex") {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        let packets = fixture::packets(&text);
        seeds.extend(packets.map(|(name, octets)| (name.to_owned(), input(target, octets))));
    }
    Ok(seeds)
}

/// Everything that a target is known to meet: the seeds, the corpus, and what once broke it.
pub fn inputs(target: Target) -> Result<Vec<(String, Vec<u8>)>> {
    let mut inputs = seeds(target)?;
    for directory in [corpus(target), regressions(target)] {
        for path in files(&directory)? {
            let octets = fs::read(&path)?;
            inputs.push((path.display().to_string(), octets));
        }
    }
    Ok(inputs)
}

/// Inputs that reach what the seeds do not, minimised.
pub(super) fn corpus(target: Target) -> PathBuf {
    let name = target.name();
    crate::workspace().join(CRATE).join("corpus").join(name)
}

/// Inputs that once broke the target.
pub(super) fn regressions(target: Target) -> PathBuf {
    let name = target.name();
    crate::workspace()
        .join(CRATE)
        .join("regressions")
        .join(name)
}

/// A packet, as the target reads it.
fn input(target: Target, packet: Vec<u8>) -> Vec<u8> {
    match target {
        Target::Ipv6 | Target::Icmpv6 | Target::Mld | Target::Mobility | Target::Neighbor => packet,
        // A script of one step: the packet comes as everything that it can be taken for.
        Target::Controller => {
            let [high, low] = u16::try_from(packet.len())
                .unwrap_or(u16::MAX)
                .to_be_bytes();
            let mut script = vec![0];
            for kind in 0..8 {
                script.extend([1, kind, 4, high, low]);
                script.extend(&packet);
            }
            script
        }
    }
}

/// The files of a directory, in order; none where there is no such directory.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let what = || format!("cannot read {}", directory.display());
    let entries = fs::read_dir(directory).with_context(what)?;
    let paths: Result<Vec<_>, _> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths
        .map_err(|error: std::io::Error| error)
        .with_context(what)?;
    paths.sort();
    Ok(paths)
}
