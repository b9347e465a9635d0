//! Another time of day for a process, by libfaketime.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

/// The library that tells a process another time of day.
pub fn library() -> Option<PathBuf> {
    let places = fs::read_dir("/usr/lib").ok()?;
    let mut places = places.flatten().map(|place| place.path().join("faketime"));
    places.find_map(|place| {
        let library = place.join("libfaketimeMT.so.1");
        library.exists().then_some(library)
    })
}

/// The variables of a process whose clock is off by so much.
pub fn off(by: &str) -> Result<[(&'static str, String); 3]> {
    let library = library().context("no libfaketime")?;
    Ok([
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME", by.to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ])
}
