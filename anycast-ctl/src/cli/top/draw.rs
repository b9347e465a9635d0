//! Puts everything on the screen. Nothing depends on colours.

use ratatui::{
    Frame,
    layout::{Constraint, Layout},
    style::{Modifier, Style},
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{
    ask::{MOST, Snapshot},
    cell::{fitted, widths},
    state::State,
    view::View,
};
use crate::cli::table::seconds;

/// Blanks between two columns.
const GAP: usize = 2;

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const REVERSED: Style = Style::new().add_modifier(Modifier::REVERSED);

/// Draws a frame. What is scrolled beyond the end comes back to it.
pub(super) fn draw(frame: &mut Frame<'_>, state: &mut State) {
    let whole = frame.area();
    let summary = summary(state, usize::from(whole.width));
    let lines = u16::try_from(summary.len()).unwrap_or(u16::MAX);
    let [head, tabs, list, foot] = Layout::vertical([
        Constraint::Length(lines),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(whole);
    frame.render_widget(Paragraph::new(summary), head);
    frame.render_widget(Paragraph::new(views(state.view)), tabs);
    let (width, height) = (usize::from(list.width), usize::from(list.height));
    frame.render_widget(Paragraph::new(table(state, width, height)), list);
    frame.render_widget(Paragraph::new(keys(state)), foot);
}

/// What the machine does as a whole. What does not fit a line is on the next one: numbers lose nothing.
fn summary(state: &State, width: usize) -> Vec<Line<'static>> {
    let Snapshot { status, rates, .. } = &state.snapshot;
    let summary = &status.summary;
    let rate = |names: &[&str]| {
        let known = names.iter().filter_map(|name| rates.get(*name));
        let sum: f64 = known.sum();
        match rates.is_empty() {
            true => "-".to_owned(),
            false => short(sum),
        }
    };
    let problems = match status.problems.len() {
        0 => None,
        1 => Some("1 problem: see status --check".to_owned()),
        many => Some(format!("{many} problems: see status --check")),
    };
    let name = format!("anycast {}", status.version);
    let mut whole = vec![
        name.clone(),
        status.roles.join(", "),
        format!("up {}", seconds(status.uptime_seconds)),
    ];
    whole.extend(problems);
    let mut lines: Vec<Line<'static>> = filled(&whole, width).map(Line::from).collect();
    if let Some(first) = lines.first_mut() {
        let rest = first.to_string().split_off(name.len());
        *first = Line::from(vec![Span::styled(name, BOLD), rest.into()]);
    }
    let numbers = [
        ("groups", summary.groups),
        ("members", summary.members),
        ("routes", summary.routes),
        ("bindings", summary.bindings),
        ("flows", summary.flows),
        ("handshakes", summary.handshakes),
    ];
    let numbers = numbers.map(|(what, number)| format!("{what} {number}"));
    lines.extend(filled(&numbers, width).map(Line::from));
    let per_second = [
        format!(
            "per second: to C {}",
            rate(&["correspondent_to_care_of", "member_to_care_of"])
        ),
        format!(
            "from C {}",
            rate(&["correspondent_from_care_of", "member_from_care_of"])
        ),
        format!("Reports {}", rate(&["mld_report_allowed"])),
        format!("denied {}", rate(&["mld_report_denied"])),
        format!(
            "bound {}",
            rate(&["handshake_bound", "binding_update_accepted"])
        ),
    ];
    lines.extend(filled(&per_second, width).map(Line::from));
    lines.push(match (&state.error, state.paused) {
        (Some(error), _) => Line::styled(format!("NO ANSWER: {error}"), REVERSED),
        (None, true) => Line::styled("paused", REVERSED),
        (None, false) => Line::default(),
    });
    lines
}

/// Lines of these pieces, as many on each as fit.
fn filled(pieces: &[String], width: usize) -> impl Iterator<Item = String> {
    let mut lines: Vec<String> = Vec::new();
    for piece in pieces {
        match lines.last_mut() {
            Some(line) if line.chars().count() + GAP + piece.chars().count() <= width => {
                *line += &" ".repeat(GAP);
                *line += piece;
            }
            _ => lines.push(piece.clone()),
        }
    }
    lines.into_iter()
}

/// A rate in five characters at most. `counters` and the list of counters have all its digits.
fn short(rate: f64) -> String {
    let mut rest = rate;
    for unit in ["", "k", "M", "G"] {
        // What would be rounded up to another digit is of the next unit.
        let most = if unit.is_empty() { 9_999.5 } else { 999.5 };
        if rest < most {
            return match unit {
                "" => super::cell::Cell::Rate(rest).text(),
                _ if rest < 99.95 => format!("{rest:.1}{unit}"),
                _ => format!("{rest:.0}{unit}"),
            };
        }
        rest /= 1000.0;
    }
    format!("{rest:.0}T")
}

fn views(shown: View) -> Line<'static> {
    let mut spans = Vec::new();
    for (number, view) in View::ALL.into_iter().enumerate() {
        let style = if view == shown {
            REVERSED
        } else {
            Style::new()
        };
        spans.push(Span::styled(
            format!("{}:{}", number + 1, view.name()),
            style,
        ));
        spans.push(" ".into());
    }
    Line::from(spans)
}

fn table(state: &mut State, width: usize, height: usize) -> Vec<Line<'static>> {
    let Some(rows) = &state.rows else {
        return vec![Line::from("asking the daemon")];
    };
    let shown = state.shown();
    let total = rows.rows.len();
    let (sorted, descending) = state.sorted();
    let heading = |(column, text): (usize, &&str)| match (column == sorted, descending) {
        (false, _) => (*text).to_owned(),
        (true, true) => format!("{text}\u{25be}"),
        (true, false) => format!("{text}\u{25b4}"),
    };
    let headings: Vec<String> = rows.headings.iter().enumerate().map(heading).collect();
    if shown.is_empty() {
        state.scroll = 0;
        let text = match total {
            0 => rows.otherwise.to_owned(),
            _ => format!("none of {total} has \"{}\"", state.filter),
        };
        return vec![Line::from(text)];
    }
    // One line is for the headings, and one for how much there is.
    let lines = height.saturating_sub(2).max(1);
    let scroll = state.scroll.min(shown.len().saturating_sub(lines));
    let visible = &shown[scroll..(scroll + lines).min(shown.len())];
    let cells: Vec<Vec<String>> = visible
        .iter()
        .map(|row| row.iter().map(super::cell::Cell::text).collect())
        .collect();
    let columns = 0..headings.len();
    let numbers: Vec<bool> = columns
        .clone()
        .map(|column| shown.iter().any(|row| row[column].is_number()))
        .collect();
    let natural: Vec<usize> = columns
        .map(|column| {
            let cells = cells.iter().map(|row| row[column].chars().count());
            cells
                .max()
                .unwrap_or_default()
                .max(headings[column].chars().count())
        })
        .collect();
    let widths = widths(&natural, &numbers, GAP, width);
    let line = |cells: &[String]| {
        let cells = cells.iter().zip(&widths).zip(&numbers);
        let texts: Vec<String> = cells
            .map(
                |((cell, width), number)| match (fitted(cell, *width), number) {
                    (cell, true) => format!("{cell:>width$}"),
                    (cell, false) => format!("{cell:<width$}"),
                },
            )
            .collect();
        texts.join(&" ".repeat(GAP)).trim_end().to_owned()
    };
    let mut text = vec![Line::styled(line(&headings), BOLD)];
    text.extend(cells.iter().map(|row| Line::from(line(row))));
    let mut count = format!(
        "{} to {} of {}",
        scroll + 1,
        scroll + visible.len(),
        shown.len()
    );
    if shown.len() < total {
        count += &format!(" with \"{}\", of {total}", state.filter);
    }
    if total >= MOST {
        count += " (the first that there are)";
    }
    text.push(Line::from(count));
    state.scroll = scroll;
    text
}

fn keys(state: &State) -> Line<'static> {
    if state.typing {
        return Line::styled(
            format!("filter: {}_  Enter: done  Esc: none", state.filter),
            BOLD,
        );
    }
    Line::from("1-7 Tab: list  s: sort  r: reverse  /: filter  arrows: scroll  p: pause  q: quit")
}

#[cfg(test)]
mod tests;
