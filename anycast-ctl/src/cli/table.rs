//! Tables of text with aligned columns.

/// A table whose columns are as wide as their widest cells.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Makes an empty table with these headings.
    pub(super) fn new(headings: &[&str]) -> Self {
        Self {
            rows: vec![headings.iter().map(|text| (*text).to_owned()).collect()],
        }
    }

    /// Adds a row; an empty cell is shown as a dash.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        let cell = |cell: String| {
            if cell.is_empty() {
                "-".to_owned()
            } else {
                cell
            }
        };
        self.rows.push(cells.into_iter().map(cell).collect());
    }

    /// Formats the table. A table without rows gives the text `otherwise`.
    pub(super) fn render(&self, otherwise: &str) -> String {
        if self.rows.len() < 2 {
            return format!("{otherwise}\n");
        }
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(&widths);
            let line: Vec<String> = cells
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            text.push_str(line.join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

/// Formats a duration in a form that is easy to read: `850ms`, `12.3s`, `4m05s`, `3h02m`, `5d07h`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "times are small and not negative; the cast saturates"
)]
pub(super) fn seconds(seconds: f64) -> String {
    let whole = seconds as u64;
    let (minutes, hours, days) = (whole / 60, whole / 3600, whole / 86400);
    if seconds < 0.9995 {
        format!("{:.0}ms", seconds * 1000.0)
    } else if seconds < 59.95 {
        format!("{seconds:.1}s")
    } else if hours == 0 {
        format!("{minutes}m{:02}s", whole % 60)
    } else if days == 0 {
        format!("{hours}h{:02}m", minutes % 60)
    } else {
        format!("{days}d{:02}h", hours % 24)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_trails() {
        let mut table = Table::new(&["NAME", "X"]);
        table.row(["a".into(), String::new()]);
        table.row(["longer".into(), "1".into()]);
        assert_eq!(table.render("none"), "NAME    X\na       -\nlonger  1\n");
        assert_eq!(Table::new(&["NAME"]).render("none"), "none\n");
    }

    #[test]
    fn times_have_two_units_at_most() {
        let shown: Vec<_> = [0.0, 0.85, 1.0, 12.34, 59.99, 245.0, 10_950.0, 457_200.0]
            .iter()
            .map(|time| seconds(*time))
            .collect();
        assert_eq!(
            shown,
            [
                "0ms", "850ms", "1.0s", "12.3s", "0m59s", "4m05s", "3h02m", "5d07h"
            ]
        );
    }
}
