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
fn no_number_of_the_summary_is_cut_at_80_columns() {
    let mut state = State::new(Snapshot::default());
    let mut much = flows(1);
    much.status.version = "0.1.0".into();
    much.status.roles = ["router", "member", "correspondent"]
        .map(String::from)
        .into();
    much.status.problems = vec![view::Problem::default(); 12];
    much.status.summary = view::Summary {
        groups: 1024,
        members: 16_384,
        routes: 1024,
        bindings: 131_072,
        flows: 262_144,
        handshakes: 65_536,
    };
    much.rates = [
        ("correspondent_to_care_of", 123_456.0),
        ("correspondent_from_care_of", 12_345.0),
        ("mld_report_allowed", 9_999.4),
        ("mld_report_denied", 1_250_000.0),
        ("binding_update_accepted", 12_000.0),
    ]
    .map(|(name, rate)| (name.to_owned(), rate))
    .into();
    press(&mut state, "4");
    state.answered(Ok(much));
    let lines = screen(&mut state, 80, 24);
    assert_eq!(
        lines[..5],
        [
            "anycast 0.1.0  router, member, correspondent  up 0ms",
            "12 problems: see status --check",
            "groups 1024  members 16384  routes 1024  bindings 131072  flows 262144",
            "handshakes 65536",
            "per second: to C 123k  from C 12.3k  Reports 9999  denied 1.2M  bound 12.0k",
        ]
    );
    assert!(lines[6].starts_with("1:groups"), "{lines:?}");
    assert!(lines[8].contains("tcp"), "{lines:?}");
}

#[test]
fn rates_take_five_characters() {
    for (rate, text) in [
        (0.0, "0"),
        (9.94, "9.9"),
        (9_999.4, "9999"),
        (9_999.6, "10.0k"),
        (99_949.0, "99.9k"),
        (99_951.0, "100k"),
        (999_499.0, "999k"),
        (999_501.0, "1.0M"),
        (12_345_678_901.0, "12.3G"),
    ] {
        assert_eq!(short(rate), text);
    }
}

/// The end of an empty list is its beginning.
#[test]
fn keys_do_no_harm_where_there_is_nothing() {
    let mut state = State::new(Snapshot::default());
    press(&mut state, "4");
    state.answered(Ok(flows(0)));
    for _ in 0..2 {
        state.key(KeyCode::End.into());
        state.key(KeyCode::Down.into());
        state.key(KeyCode::PageDown.into());
        assert!(screen(&mut state, 80, 24)[5].starts_with("no flows"));
        assert_eq!(state.scroll, 0);
    }
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
