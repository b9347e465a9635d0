//! The command `top`: what the daemon does, live in a terminal.
//!
//! It asks by the control socket alone, as other commands do: `ask` reads what is shown at the moment, in a thread of
//! its own, so that a daemon which is slow to answer does not make the keys slow. `state` has what the keys change,
//! `view` which lists there are, `list` what is to be shown, and `draw` puts it on the screen.

mod ask;
mod cell;
mod draw;
mod list;
mod state;
mod view;

use std::{
    io::IsTerminal as _,
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use ratatui::crossterm::event::{self, Event, KeyEventKind};

use self::{
    ask::{Asker, Snapshot},
    state::State,
    view::View,
};
use crate::shell::api::client::ClientError;

/// How soon a key has an effect, or an answer is on the screen.
const TICK: Duration = Duration::from_millis(50);

/// Nobody waits for longer, and the clock reaches it.
const LONGEST: Duration = Duration::from_hours(24);

/// Runs until a key ends it.
pub(super) fn run(path: &Path, interval: Duration) -> Result<()> {
    if !std::io::stdout().is_terminal() {
        bail!(
            "top needs a terminal: `status`, `flows` and `counters` print the same once, also as --json"
        );
    }
    // Whether there is a daemon is found out before the screen is taken.
    let mut asker = Asker::new(path.to_owned());
    let first = asker.ask(View::Groups)?;
    let interval = interval.min(LONGEST);
    let (wanted, wants) = mpsc::channel();
    let (answer, answers) = mpsc::channel();
    thread::spawn(move || serve(&mut asker, &wants, &answer));
    let mut terminal = ratatui::try_init().context("cannot use this terminal")?;
    let result = watch(
        &mut terminal,
        State::new(first),
        interval,
        &wanted,
        &answers,
    );
    ratatui::restore();
    result
}

/// Asks for each view that is wanted, until nobody wants one any more. Of several that are waiting, the last counts.
fn serve(
    asker: &mut Asker,
    wants: &mpsc::Receiver<View>,
    answer: &mpsc::Sender<Result<Snapshot, ClientError>>,
) {
    while let Ok(view) = wants.recv() {
        let view = wants.try_iter().last().unwrap_or(view);
        if answer.send(asker.ask(view)).is_err() {
            return;
        }
    }
}

fn watch(
    terminal: &mut ratatui::DefaultTerminal,
    mut state: State,
    interval: Duration,
    wanted: &mpsc::Sender<View>,
    answers: &mpsc::Receiver<Result<Snapshot, ClientError>>,
) -> Result<()> {
    let mut next = Instant::now() + interval;
    let mut asked = false;
    loop {
        terminal.draw(|frame| draw::draw(frame, &mut state))?;
        if event::poll(TICK)?
            && let Event::Key(key) = event::read()?
            && key.kind != KeyEventKind::Release
        {
            let before = state.view;
            if state.key(key) {
                return Ok(());
            }
            if state.view != before {
                next = Instant::now();
            }
        }
        if let Ok(answer) = answers.try_recv() {
            asked = false;
            state.answered(answer);
        }
        if !asked && Instant::now() >= next && !state.paused {
            // The thread ends with this one alone.
            let _ = wanted.send(state.view);
            asked = true;
            next = Instant::now() + interval;
        }
    }
}
