//! The commands `drain` and `undrain`.

use std::{
    collections::BTreeMap,
    net::Ipv6Addr,
    path::Path,
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use clap::Args;
use serde::{Deserialize as _, de::IntoDeserializer as _};

use super::{
    ask::{Query, answer, print},
    show,
};
use crate::{
    core::rr::BINDING_LIFETIME,
    shell::api::{Request, client, view},
};

/// How often the client asks the daemon which sessions are left.
const ASK: Duration = Duration::from_millis(500);
/// The daemon reads a whole map to answer. So the client waits at least this many times as long as the last answer took
/// before it asks again.
const SPARE: u32 = 10;

/// So long after a drain began, routes lead elsewhere: a router asks twice, a second apart, before it lets a member go
/// (RFC 2710 section 7.8), and tells others.
const ROUTES: Duration = Duration::from_secs(4);

/// Which groups a command is for.
#[derive(Clone, Copy, Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Which {
    /// Anycast address of the group
    anycast: Option<Ipv6Addr>,
    /// Every group that this machine serves
    #[arg(long)]
    all: bool,
}

/// How long `drain --timeout` waits, written as a time such as `5m` or `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience(Duration);

impl FromStr for Patience {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The time is written as in the configuration file.
        let text = text.into_deserializer();
        humantime_serde::Serde::deserialize(text)
            .map(|time: humantime_serde::Serde<Duration>| Self(time.into_inner()))
            .map_err(|error: serde::de::value::Error| error.to_string())
    }
}

/// Drains the groups, and waits for their sessions to end if the operator wants that.
pub(super) fn drain(
    path: &Path,
    which: &Which,
    wait: Option<Option<Patience>>,
    query: Query,
) -> Result<()> {
    let groups = groups(path, which)?;
    for anycast in &groups {
        let _: view::Done = client::ask(path, &Request::Drain { anycast: *anycast })?;
    }
    let mut shown = Shown::new(query);
    shown.changes(&left(path, &groups)?)?;
    if let Some(patience) = wait {
        until_none_is_left(path, &groups, patience, &mut shown)?;
    }
    shown.end(&left(path, &groups)?)
}

/// Ends the drain of the groups.
pub(super) fn undrain(path: &Path, which: &Which, query: Query) -> Result<()> {
    let groups = groups(path, which)?;
    for anycast in &groups {
        let _: view::Done = client::ask(path, &Request::Undrain { anycast: *anycast })?;
    }
    let mut shown = Shown::new(query);
    let left = left(path, &groups)?;
    shown.changes(&left)?;
    shown.end(&left)
}

fn groups(path: &Path, which: &Which) -> Result<Vec<Ipv6Addr>> {
    if let Some(anycast) = which.anycast {
        return Ok(vec![anycast]);
    }
    let groups: view::Groups = client::ask(path, &Request::Groups { after: None })?;
    if groups.member.is_empty() {
        bail!("this machine serves no groups");
    }
    Ok(groups.member.iter().map(|group| group.anycast).collect())
}

fn until_none_is_left(
    path: &Path,
    groups: &[Ipv6Addr],
    patience: Option<Patience>,
    shown: &mut Shown,
) -> Result<()> {
    // What the clock does not reach is as long as there is none.
    let end = patience.and_then(|Patience(time)| Instant::now().checked_add(time));
    loop {
        let asked = Instant::now();
        let left = left(path, groups)?;
        let pause = ASK.max(asked.elapsed() * SPARE);
        shown.changes(&left)?;
        let of = |wanted| left.iter().find(|group| group.anycast == wanted);
        if let Some(gone) = groups.iter().find(|wanted| of(**wanted).is_none()) {
            bail!("{gone} is not served any more: sessions that are bound here may go on");
        }
        if let Some(group) = left.iter().find(|group| group.draining_seconds.is_none()) {
            bail!("{} is not draining any more", group.anycast);
        }
        let sessions: usize = left.iter().map(|group| group.sessions).sum();
        let more = left.iter().map(may_come).max().unwrap_or_default();
        if sessions == 0 && more.is_zero() {
            return Ok(());
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            shown.end(&left)?;
            match sessions {
                0 => bail!(
                    "not yet: for {:.0} s more, new sessions may still be sent here; the drain goes on",
                    more.as_secs_f64().ceil()
                ),
                _ => bail!("not yet: {sessions} left; the drain goes on"),
            }
        }
        let soon = match sessions {
            0 => more,
            _ => pause,
        };
        thread::sleep(pause.min(soon));
    }
}

/// For how long new sessions may still come to a group: by routes that have not changed yet, and by bindings, which a
/// drain leaves as they are.
fn may_come(group: &view::MemberGroup) -> Duration {
    let all = match group.care_of {
        Some(_) => BINDING_LIFETIME.max(ROUTES),
        None => ROUTES,
    };
    let drained = group.draining_seconds.unwrap_or_default();
    all.saturating_sub(Duration::try_from_secs_f64(drained).unwrap_or_default())
}

fn left(path: &Path, groups: &[Ipv6Addr]) -> Result<Vec<view::MemberGroup>> {
    let mut all: view::Groups = client::ask(path, &Request::Groups { after: None })?;
    all.member.retain(|group| groups.contains(&group.anycast));
    Ok(all.member)
}

/// What was printed of the groups.
struct Shown {
    query: Query,
    states: BTreeMap<Ipv6Addr, String>,
}

impl Shown {
    fn new(query: Query) -> Self {
        Self {
            query,
            states: BTreeMap::new(),
        }
    }

    /// Prints a line for each group whose state differs from the one that was printed last. JSON has the last state
    /// alone.
    fn changes(&mut self, groups: &[view::MemberGroup]) -> Result<()> {
        for group in groups.iter().filter(|_| !self.query.json) {
            let state = show::state(group);
            if self.states.get(&group.anycast) != Some(&state) {
                print(&format!("{} {state}\n", group.anycast))?;
                self.states.insert(group.anycast, state);
            }
        }
        Ok(())
    }

    fn end(&self, groups: &[view::MemberGroup]) -> Result<()> {
        match self.query.json {
            true => answer(&groups, self.query, |_| String::new()),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patience_reads_as_in_the_configuration() {
        let minutes = |minutes: u64| Ok(Patience(Duration::from_secs(60 * minutes)));
        assert_eq!("5m".parse(), minutes(5));
        assert_eq!("1h 30m".parse(), minutes(90));
        assert!("5".parse::<Patience>().is_err());
        assert!("soon".parse::<Patience>().is_err());
    }
}
