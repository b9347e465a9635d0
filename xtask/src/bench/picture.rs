//! Draws the targets as a picture: a bar for each target, and a line that no bar should cross.

use std::fmt::Write as _;

use super::targets::Outcome;

const LABEL: f64 = 320.0;
/// Width in pixels of a bar that uses exactly what its target allows.
const ALLOWED: f64 = 160.0;
/// Longest bar, as a multiple of that. Longer bars are cut here.
const LONGEST: f64 = 3.0;
const LINE: f64 = 22.0;

/// Makes an SVG document.
pub fn svg(outcomes: &[Outcome]) -> String {
    let width = LABEL + ALLOWED * LONGEST + 150.0;
    let height = LINE * (outcomes.len() as f64 + 2.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    for (index, outcome) in outcomes.iter().enumerate() {
        let top = LINE * (index as f64 + 0.5);
        let length = outcome.excess().min(LONGEST) * ALLOWED;
        let colour = if outcome.is_met() {
            "#2e7d4f"
        } else {
            "#b5523b"
        };
        let sign = if outcome.at_least { "≥" } else { "≤" };
        // Writing to a string cannot fail.
        let _ = write!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\" fill=\"#222\">{}</text>\n\
             <rect x=\"{LABEL:.0}\" y=\"{:.0}\" width=\"{length:.1}\" height=\"{:.0}\" fill=\"{colour}\"/>\n\
             <text x=\"{:.0}\" y=\"{:.0}\" fill=\"#222\">{:.2} × {} ({sign} {})</text>\n",
            LABEL - 8.0,
            top + LINE * 0.62,
            outcome.name,
            top + 2.0,
            LINE - 5.0,
            LABEL + length + 6.0,
            top + LINE * 0.62,
            outcome.is,
            outcome.to,
            outcome.wanted,
        );
    }
    let (line, bottom) = (LABEL + ALLOWED, LINE * (outcomes.len() as f64 + 0.5));
    let _ = write!(
        svg,
        "<line x1=\"{line:.0}\" y1=\"6\" x2=\"{line:.0}\" y2=\"{bottom:.0}\" stroke=\"#222\" stroke-dasharray=\"4 3\"/>\n\
         <text x=\"{line:.0}\" y=\"{:.0}\" text-anchor=\"middle\" fill=\"#222\">wanted</text>\n</svg>\n",
        bottom + 16.0
    );
    svg
}
