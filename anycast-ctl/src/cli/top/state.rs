//! What is shown at the moment, and what the keys do about it.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{ask::Snapshot, cell::Cell, list::Rows, view::View};
use crate::shell::api::client::ClientError;

/// Lines by which a page key moves.
const PAGE: usize = 10;

/// What is shown.
#[derive(Debug)]
pub(super) struct State {
    pub(super) view: View,
    /// The last answer.
    pub(super) snapshot: Snapshot,
    /// Why there is none since.
    pub(super) error: Option<String>,
    /// The list of the last answer. `None` until the list that is shown has been read.
    pub(super) rows: Option<Rows>,
    /// The column that an operator chose to sort by, and whether the greatest comes first.
    sorted: Option<(usize, bool)>,
    /// Only rows with this text in a cell are shown.
    pub(super) filter: String,
    /// Whether keys are part of the filter.
    pub(super) typing: bool,
    pub(super) paused: bool,
    /// The first row that is shown.
    pub(super) scroll: usize,
}

impl State {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self {
            view: View::Groups,
            rows: Some(Rows::of(&snapshot)),
            snapshot,
            error: None,
            sorted: None,
            filter: String::new(),
            typing: false,
            paused: false,
            scroll: 0,
        }
    }

    /// Takes what the daemon said.
    pub(super) fn answered(&mut self, answer: Result<Snapshot, ClientError>) {
        match answer {
            Ok(snapshot) => {
                self.error = None;
                // An answer to a question that was asked before a key was pressed.
                if snapshot.list.view() == self.view {
                    self.rows = Some(Rows::of(&snapshot));
                }
                self.snapshot = snapshot;
            }
            Err(error) => self.error = Some(error.to_string()),
        }
    }

    /// Handles a key. Gives whether it ends the program.
    pub(super) fn key(&mut self, key: KeyEvent) -> bool {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return true;
        }
        if self.typing {
            self.type_filter(key.code);
            return false;
        }
        match key.code {
            KeyCode::Char('q') => return true,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char('p') => self.paused = !self.paused,
            KeyCode::Char('s') => self.sort_by_next(),
            KeyCode::Char('r') => {
                let (column, descending) = self.sorted();
                self.sorted = Some((column, !descending));
            }
            KeyCode::Tab | KeyCode::Right => self.show(self.view.further(1)),
            KeyCode::BackTab | KeyCode::Left => self.show(self.view.further(View::ALL.len() - 1)),
            KeyCode::Char(digit @ '1'..='7') => {
                let number = digit.to_digit(10).unwrap_or(1) as usize;
                self.show(View::ALL[number - 1]);
            }
            KeyCode::Down | KeyCode::Char('j') => self.scroll = self.scroll.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::PageDown | KeyCode::Char(' ') => {
                self.scroll = self.scroll.saturating_add(PAGE);
            }
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(PAGE),
            KeyCode::Home => self.scroll = 0,
            KeyCode::End => self.scroll = usize::MAX,
            _ => {}
        }
        false
    }

    fn type_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(letter) => self.filter.push(letter),
            _ => {}
        }
        self.scroll = 0;
    }

    fn show(&mut self, view: View) {
        if view == self.view {
            return;
        }
        self.view = view;
        self.rows = None;
        self.sorted = None;
        self.paused = false;
        self.scroll = 0;
    }

    /// The column that the list is sorted by, and whether the greatest comes first.
    pub(super) fn sorted(&self) -> (usize, bool) {
        let usual = self.rows.as_ref().map(|rows| rows.sorted);
        self.sorted.or(usual).unwrap_or((0, false))
    }

    /// Sorts by the next column: numbers with the greatest first, words by the alphabet.
    fn sort_by_next(&mut self) {
        let Some(rows) = &self.rows else {
            return;
        };
        let column = (self.sorted().0 + 1) % rows.headings.len();
        let numbers = rows.rows.iter().any(|row| row[column].is_number());
        self.sorted = Some((column, numbers));
    }

    /// The rows that pass the filter, sorted.
    pub(super) fn shown(&self) -> Vec<&Vec<Cell>> {
        let filter = self.filter.to_lowercase();
        let wanted = |row: &&Vec<Cell>| {
            row.iter()
                .any(|cell| cell.text().to_lowercase().contains(&filter))
        };
        let rows = self.rows.iter().flat_map(|rows| &rows.rows);
        let mut shown: Vec<_> = rows.filter(wanted).collect();
        let (column, descending) = self.sorted();
        shown.sort_by(|a, b| {
            let order = a[column].order(&b[column]);
            match descending && a[column] != Cell::Nothing && b[column] != Cell::Nothing {
                true => order.reverse(),
                false => order,
            }
        });
        shown
    }
}
