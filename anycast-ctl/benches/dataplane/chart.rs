//! A bar chart.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};

use crate::report::Row;

const LABEL: f64 = 270.0;
const BARS: f64 = 400.0;
const LINE: f64 = 22.0;

/// One bar for each case, in nanoseconds.
pub fn write(path: &Path, rows: &[Row]) -> Result<()> {
    let rows: Vec<_> = rows
        .iter()
        .filter(|row| !row.name.starts_with("leader"))
        .collect();
    let longest = rows.iter().map(|row| row.net).fold(1.0, f64::max);
    let (width, height) = (LABEL + BARS + 90.0, LINE * (rows.len() as f64 + 1.0));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    for (index, row) in rows.iter().enumerate() {
        let top = LINE * (index as f64 + 0.5);
        let length = row.net / longest * BARS;
        let ours = !(row.name.contains("XDP_PASS")
            || row.name.starts_with("TIGHT")
            || row.name.starts_with("hash"));
        let colour = if ours { "#2a6fb0" } else { "#9aa3ab" };
        let (text, value) = (top + LINE * 0.62, LABEL + length + 6.0);
        writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{text:.0}\" text-anchor=\"end\" fill=\"#222\">{}</text>\n\
             <rect x=\"{LABEL:.0}\" y=\"{:.0}\" width=\"{length:.1}\" height=\"{:.0}\" fill=\"{colour}\"/>\n\
             <text x=\"{value:.0}\" y=\"{text:.0}\" fill=\"#222\">{:.0} ns</text>",
            LABEL - 8.0,
            row.name,
            top + 2.0,
            LINE - 5.0,
            row.net,
        )?;
    }
    svg.push_str("</svg>\n");
    fs::write(path, svg).with_context(|| format!("cannot write {}", path.display()))
}
