//! The inputs from which fuzzing starts, and which the ordinary tests replay.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::target::Target;

#[path = "../../../anycast-common/tests/common/fixture.rs"]
mod fixture;

/// Directory of recorded packets.
const FIXTURES: &str = "anycast-common/tests/fixtures";
/// Directory of the crate that is fuzzed.
pub(super) const CRATE: &str = "anycast-ctl/fuzz";

/// The recorded packets as inputs of a target, with their names.
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

/// All known inputs of a target: the seeds, the corpus, and inputs that once broke the target.
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

/// Directory of inputs that reach code which the seeds do not reach. It is kept minimal.
pub(super) fn corpus(target: Target) -> PathBuf {
    let name = target.name();
    crate::workspace().join(CRATE).join("corpus").join(name)
}

/// Directory of inputs that once broke the target.
pub(super) fn regressions(target: Target) -> PathBuf {
    let name = target.name();
    crate::workspace()
        .join(CRATE)
        .join("regressions")
        .join(name)
}

/// Replaces the corpus by the inputs in `merged`, without inputs that exist under another name: seeds, and inputs that
/// a person wrote, which stay.
pub(super) fn replace(target: Target, merged: &Path) -> Result<()> {
    let corpus = corpus(target);
    for path in files(&corpus)? {
        if is_digest(&path) {
            fs::remove_file(path)?;
        }
    }
    let known: Vec<Vec<u8>> = inputs(target)?.into_iter().map(|input| input.1).collect();
    for path in files(merged)? {
        let octets = fs::read(&path)?;
        if !known.contains(&octets) {
            fs::write(corpus.join(path.file_name().unwrap_or_default()), octets)?;
        }
    }
    Ok(())
}

/// Whether a file has a name that libFuzzer gave it, which is the SHA-1 of the input.
fn is_digest(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.len() == 40 && name.bytes().all(|octet| octet.is_ascii_hexdigit())
}

/// Makes an input of a packet, in the form in which the target reads it.
fn input(target: Target, packet: Vec<u8>) -> Vec<u8> {
    match target {
        Target::Ipv6 | Target::Icmpv6 | Target::Mld | Target::Mobility | Target::Neighbor => packet,
        // As the body of a message of each kind, and as a Binding Update.
        Target::Fleet => {
            let length = u16::try_from(packet.len()).unwrap_or(u16::MAX);
            let mut script = vec![1, 1];
            script.extend(&packet);
            for kind in 2..7 {
                script.push(kind);
                script.extend(length.to_be_bytes());
                script.extend(&packet);
            }
            script
        }
        // The packet is given to the controller as each kind of record in turn.
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

/// The files of a directory, in order. An empty list where there is no such directory.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_of_libfuzzer_are_told_from_those_of_people() {
        let digest = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
        assert!(is_digest(&Path::new("corpus").join(digest)));
        assert!(!is_digest(Path::new("corpus/handshakes")));
    }
}
