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

    /// Formats the table, with numbers and times at the right of their columns. A table without rows gives the text
    /// `otherwise`.
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
        let numbers: Vec<bool> = (0..widths.len())
            .map(|column| self.is_numbers(column))
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).zip(&numbers);
            let line: Vec<String> = cells
                .map(|((cell, width), right)| match right {
                    true => format!("{cell:>width$}"),
                    false => format!("{cell:<width$}"),
                })
                .collect();
            text.push_str(line.join("  ").trim_end());
            text.push('\n');
        }
        text
    }

    /// Whether a column has only numbers and times, apart from its heading and dashes.
    fn is_numbers(&self, column: usize) -> bool {
        let mut cells = self
            .rows
            .iter()
            .skip(1)
            .filter_map(|row| row.get(column))
            .peekable();
        let all_dashes = cells.clone().all(|cell| cell == "-");
        cells.peek().is_some() && !all_dashes && cells.all(|cell| cell == "-" || is_number(cell))
    }
}

/// Whether a cell is a number or a time such as `3`, `12.3s` or `4m05s`. An address is none.
fn is_number(cell: &str) -> bool {
    let permitted = |c: char| c.is_ascii_digit() || ".smhd%".contains(c);
    cell.starts_with(|c: char| c.is_ascii_digit()) && cell.chars().all(permitted)
}

/// Breaks a text into lines that end by column 80, each with this many blanks before it. A word that is longer has a
/// line of its own.
pub(super) fn wrapped(text: &str, indent: usize) -> String {
    const WIDTH: usize = 80;
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let longer = indent + line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && longer > WIDTH {
            lines += &format!("{:indent$}{line}\n", "");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        lines += &format!("{:indent$}{line}\n", "");
    }
    lines
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
    fn numbers_and_times_are_at_the_right() {
        let mut table = Table::new(&["AGE", "COUNT", "ADDRESS", "NONE"]);
        let row =
            |age: &str, count: &str, address: &str| [age, count, address, ""].map(str::to_owned);
        table.row(row("4m05s", "7", "2001:db8::1"));
        table.row(row("1.0s", "", "1::"));
        let shown = "  AGE  COUNT  ADDRESS      NONE\n4m05s      7  2001:db8::1  -\n \
                     1.0s      -  1::          -\n";
        assert_eq!(table.render("none"), shown);
    }

    #[test]
    fn a_long_text_ends_by_column_80() {
        let text = "word ".repeat(40);
        let lines = wrapped(&text, 4);
        assert!(
            lines
                .lines()
                .all(|line| line.len() <= 80 && line.starts_with("    word"))
        );
        assert_eq!(lines.split_whitespace().count(), 40);
        assert_eq!(wrapped("", 4), "");
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
