//! The files of recorded packets. `xtask` includes this too, for the seeds of fuzzing.
#![allow(clippy::unwrap_used, reason = "a damaged fixture is found at once")]

/// Every recorded packet of a file, with its name.
pub fn packets(file: &str) -> impl Iterator<Item = (&str, Vec<u8>)> {
    file.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, hex) = line.split_once(": ").unwrap();
            let octets = (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                .collect();
            (name, octets)
        })
}
