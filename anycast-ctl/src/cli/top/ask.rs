//! Asks the daemon for what is shown.

use std::{collections::BTreeMap, path::PathBuf, time::Instant};

use super::view::View;
use crate::shell::api::{
    RefusalCode, Request,
    client::{self, ClientError},
    view,
};

/// Rows of a list that are read at most. A daemon with a hundred thousand flows is not to be asked for all of them
/// every second; `flows` prints them.
pub(super) const MOST: usize = 2000;

/// What the daemon said.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) status: view::Status,
    /// All counters, by name. Those of the data plane come first where a name is in both.
    pub(super) counters: BTreeMap<String, u64>,
    /// How many of each were counted in a second. Empty before the second answer.
    pub(super) rates: BTreeMap<String, f64>,
    pub(super) list: List,
}

/// The list of the view that was asked for.
#[derive(Debug, Default)]
pub(super) enum List {
    Groups(view::Groups),
    Members(Vec<view::Member>),
    Bindings(Vec<view::Binding>),
    Flows(Vec<view::Flow>),
    Handshakes(Vec<view::Handshake>),
    Refusals(view::Refusals),
    /// The counters are there in any case.
    #[default]
    Counters,
}

/// Asks, and remembers the counters of the last time.
#[derive(Debug)]
pub(super) struct Asker {
    path: PathBuf,
    last: Option<(Instant, BTreeMap<String, u64>)>,
}

impl Asker {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, last: None }
    }

    pub(super) fn ask(&mut self, view: View) -> Result<Snapshot, ClientError> {
        let path = &self.path;
        let status: view::Status = client::ask(path, &Request::Status)?;
        let counters: view::Counters = client::ask(path, &Request::Counters)?;
        let now = Instant::now();
        let list = or_empty(self.list(view), view)?;
        let mut all = counters.controller;
        all.extend(counters.data_plane);
        let rates = self
            .last
            .as_ref()
            .map(|(then, before)| rates(before, &all, now.duration_since(*then).as_secs_f64()));
        self.last = Some((now, all.clone()));
        Ok(Snapshot {
            status,
            counters: all,
            rates: rates.unwrap_or_default(),
            list,
        })
    }

    fn list(&self, view: View) -> Result<List, ClientError> {
        let path = &self.path;
        let which = view::Which::default();
        Ok(match view {
            View::Groups => List::Groups(client::groups(path, MOST)?),
            View::Members => List::Members(client::members(path, None, None, MOST)?),
            View::Bindings => List::Bindings(client::bindings(path, which, MOST)?),
            View::Flows => List::Flows(client::flows(path, which, false, MOST)?),
            View::Handshakes => List::Handshakes(client::handshakes(path, None, None, MOST)?),
            View::Refusals => List::Refusals(client::ask(path, &Request::Refusals)?),
            View::Counters => List::Counters,
        })
    }
}

impl List {
    /// The view that it belongs to.
    pub(super) fn view(&self) -> View {
        match self {
            Self::Groups(_) => View::Groups,
            Self::Members(_) => View::Members,
            Self::Bindings(_) => View::Bindings,
            Self::Flows(_) => View::Flows,
            Self::Handshakes(_) => View::Handshakes,
            Self::Refusals(_) => View::Refusals,
            Self::Counters => View::Counters,
        }
    }

    fn empty(view: View) -> Self {
        match view {
            View::Groups => Self::Groups(view::Groups::default()),
            View::Members => Self::Members(Vec::new()),
            View::Bindings => Self::Bindings(Vec::new()),
            View::Flows => Self::Flows(Vec::new()),
            View::Handshakes => Self::Handshakes(Vec::new()),
            View::Refusals => Self::Refusals(view::Refusals::default()),
            View::Counters => Self::Counters,
        }
    }
}

/// A role that this machine does not have shows nothing. Whatever else the daemon refuses, people have to know.
fn or_empty(list: Result<List, ClientError>, view: View) -> Result<List, ClientError> {
    match list {
        Err(ClientError::Refused(refusal)) if refusal.code == RefusalCode::NoSuchRole => {
            Ok(List::empty(view))
        }
        list => list,
    }
}

/// What was counted in each second. A counter that went back belongs to a daemon that was started meanwhile: all that
/// it has was counted since.
#[expect(clippy::cast_precision_loss, reason = "for people")]
fn rates(
    before: &BTreeMap<String, u64>,
    now: &BTreeMap<String, u64>,
    seconds: f64,
) -> BTreeMap<String, f64> {
    let rate = |(name, value): (&String, &u64)| {
        let since = before.get(name).copied().unwrap_or_default();
        let counted = value.checked_sub(since).unwrap_or(*value);
        (name.clone(), counted as f64 / seconds.max(0.001))
    };
    now.iter().map(rate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::api::Refusal;

    #[test]
    fn only_a_role_that_there_is_not_shows_an_empty_list() {
        let asked = |code| {
            let message = "no".to_owned();
            let refused = ClientError::Refused(Refusal { code, message });
            or_empty(Err(refused), View::Members)
        };
        assert!(
            matches!(asked(RefusalCode::NoSuchRole), Ok(List::Members(list)) if list.is_empty())
        );
        assert!(asked(RefusalCode::Failed).is_err());
    }

    #[test]
    fn a_restart_does_not_count_backwards() {
        let map = |value| BTreeMap::from([("forwarded".to_owned(), value)]);
        let rate = |a, b| rates(&map(a), &map(b), 2.0)["forwarded"];
        assert_eq!(rate(100, 300).to_bits(), 100.0_f64.to_bits());
        assert_eq!(rate(100, 40).to_bits(), 20.0_f64.to_bits());
    }
}
