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
    let [head, tabs, list, foot] = Layout::vertical([
        Constraint::Length(4),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(summary(state)), head);
    frame.render_widget(Paragraph::new(views(state.view)), tabs);
    let (width, height) = (usize::from(list.width), usize::from(list.height));
    frame.render_widget(Paragraph::new(table(state, width, height)), list);
    frame.render_widget(Paragraph::new(keys(state)), foot);
}

/// What the machine does as a whole.
fn summary(state: &State) -> Vec<Line<'static>> {
    let Snapshot { status, rates, .. } = &state.snapshot;
    let summary = &status.summary;
    let rate = |names: &[&str]| {
        let known = names.iter().filter_map(|name| rates.get(*name));
        let sum: f64 = known.sum();
        match rates.is_empty() {
            true => "-".to_owned(),
            false => super::cell::Cell::Rate(sum).text(),
        }
    };
    let problems = match status.problems.len() {
        0 => String::new(),
        1 => "  1 problem: see status --check".to_owned(),
        many => format!("  {many} problems: see status --check"),
    };
    let lost = match (&state.error, state.paused) {
        (Some(error), _) => Line::styled(format!("NO ANSWER: {error}"), REVERSED),
        (None, true) => Line::styled("paused", REVERSED),
        (None, false) => Line::default(),
    };
    vec![
        Line::from(vec![
            Span::styled(format!("anycast {}", status.version), BOLD),
            format!(
                "  {}  up {}{problems}",
                status.roles.join(", "),
                seconds(status.uptime_seconds)
            )
            .into(),
        ]),
        Line::from(format!(
            "groups {}  members {}  routes {}  bindings {}  flows {}  handshakes {}",
            summary.groups,
            summary.members,
            summary.routes,
            summary.bindings,
            summary.flows,
            summary.handshakes
        )),
        Line::from(format!(
            "packets/s: to C {}  from C {}   Reports/s: {} allowed, {} denied   bound/s: {}",
            rate(&["correspondent_to_care_of", "member_to_care_of"]),
            rate(&["correspondent_from_care_of", "member_from_care_of"]),
            rate(&["mld_report_allowed"]),
            rate(&["mld_report_denied"]),
            rate(&["handshake_bound", "binding_update_accepted"]),
        )),
        lost,
    ]
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
mod tests {
    use ratatui::{Terminal, backend::TestBackend, crossterm::event::KeyCode};

    use super::*;
    use crate::{cli::top::ask::List, shell::api::view};

    fn flow(client: &str, idle_seconds: f64) -> view::Flow {
        view::Flow {
            client: client.parse().expect("an address"),
            client_port: 40_000,
            anycast: "2001:db8:a::53".parse().expect("an address"),
            service_port: 8080,
            protocol: 6,
            care_of: "2001:db8:20::c1".parse().ok(),
            state: Some("bound".into()),
            age_seconds: Some(90.0),
            idle_seconds,
            role: "correspondent".into(),
        }
    }

    fn flows(count: u16) -> Snapshot {
        let client = |n| format!("2001:db8:1:ffff:ffff:ffff:ffff:{n:x}");
        Snapshot {
            list: List::Flows(
                (1..=count)
                    .map(|n| flow(&client(n), f64::from(n)))
                    .collect(),
            ),
            ..Snapshot::default()
        }
    }

    fn screen(state: &mut State, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        terminal.draw(|frame| draw(frame, state)).expect("drawn");
        let buffer = terminal.backend().buffer().clone();
        let row = |y| {
            (0..width)
                .map(|x| buffer[(x, y)].symbol())
                .collect::<String>()
        };
        (0..height).map(|y| row(y).trim_end().to_owned()).collect()
    }

    fn press(state: &mut State, keys: &str) {
        for key in keys.chars() {
            let code = match key {
                '\n' => KeyCode::Enter,
                key => KeyCode::Char(key),
            };
            assert!(!state.key(code.into()));
        }
    }

    #[test]
    fn the_longest_addresses_fit_80_columns_with_their_numbers() {
        let mut state = State::new(Snapshot::default());
        press(&mut state, "4");
        state.answered(Ok(flows(3)));
        let screen = screen(&mut state, 80, 24);
        assert_eq!(
            screen[5..8],
            [
                "CLIENT             ANYCAST           CARE-OF          PROTO  STATE    AGE  IDLE▴",
                "[2001:db…1]:40000  [2001:d…53]:8080  2001:db8:20::c1  tcp    bound  1m30s   1.0s",
                "[2001:db…2]:40000  [2001:d…53]:8080  2001:db8:20::c1  tcp    bound  1m30s   2.0s",
            ]
        );
    }

    #[test]
    fn keys_sort_filter_scroll_and_quit() {
        let mut state = State::new(Snapshot::default());
        press(&mut state, "4");
        assert!(screen(&mut state, 80, 24)[5].starts_with("asking"));
        state.answered(Ok(flows(50)));
        let idle = |state: &mut State| -> Vec<String> {
            let lines = screen(state, 120, 12);
            let cells = lines[6..9]
                .iter()
                .filter_map(|line| line.split(' ').next_back());
            cells.map(str::to_owned).collect()
        };
        assert_eq!(idle(&mut state), ["1.0s", "2.0s", "3.0s"]);
        press(&mut state, "r");
        assert_eq!(idle(&mut state), ["50.0s", "49.0s", "48.0s"]);
        press(&mut state, "jj");
        assert_eq!(idle(&mut state), ["48.0s", "47.0s", "46.0s"]);
        state.key(KeyCode::End.into());
        assert_eq!(idle(&mut state)[0], "4.0s");
        press(&mut state, "/:1f]");
        // What is typed is no command.
        press(&mut state, "q");
        state.key(KeyCode::Backspace.into());
        press(&mut state, "\n");
        let lines = screen(&mut state, 120, 12);
        assert!(lines[6].contains(":1f]:40000"), "{lines:?}");
        assert!(
            lines[7].starts_with("1 to 1 of 1 with \":1f]\", of 50"),
            "{lines:?}"
        );
        state.key(KeyCode::Esc.into());
        assert!(screen(&mut state, 120, 12)[10].ends_with("of 50"));
        assert!(state.key(KeyCode::Char('q').into()));
    }

    #[test]
    fn a_daemon_that_is_gone_is_told_and_the_last_answer_stays() {
        let mut state = State::new(Snapshot::default());
        press(&mut state, "4");
        state.answered(Ok(flows(1)));
        state.answered(Err(crate::shell::api::client::ClientError::NotRunning {
            path: "/run/x".into(),
        }));
        let lines = screen(&mut state, 80, 24);
        assert!(lines[3].starts_with("NO ANSWER: no daemon listens on /run/x"));
        assert!(lines[6].contains("tcp"));
    }

    #[test]
    fn a_late_answer_to_another_question_is_not_shown() {
        let mut state = State::new(Snapshot::default());
        press(&mut state, "7");
        state.answered(Ok(flows(1)));
        assert!(state.rows.is_none());
    }
}
