//! What came of it, for programs.

use std::{fs, sync::Mutex};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::common;

/// A number that there is a target for: a ratio, by rounds.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    median: f64,
    quartiles: [f64; 2],
    /// The median, by the name that targets have for it.
    ratio: f64,
}

static ROWS: Mutex<Vec<Row>> = Mutex::new(Vec::new());

/// Keeps the ratios of all rounds, and gives their median.
pub fn note(name: &'static str, mut ratios: Vec<f64>) -> f64 {
    ratios.sort_by(f64::total_cmp);
    let ratio = common::median(ratios.clone());
    ROWS.lock().unwrap().push(Row {
        name,
        median: ratio,
        quartiles: [ratios[ratios.len() / 4], ratios[ratios.len() * 3 / 4]],
        ratio,
    });
    ratio
}

/// Writes them to the file that was asked for.
pub fn write() -> Result<()> {
    let Some(path) = common::json() else {
        return Ok(());
    };
    let text = serde_json::to_string_pretty(&*ROWS.lock().unwrap())?;
    fs::write(&path, text + "\n").with_context(|| format!("cannot write {path}"))
}
