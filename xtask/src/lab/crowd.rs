//! Many sessions of one client, in one process.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::net::{Namespace, Process};

use super::{
    topology::{B, SERVICE},
    visitor::{is_over, start},
};

/// A client with many sessions.
#[derive(Debug)]
pub struct Crowd {
    process: Process,
    opened: usize,
}

impl Crowd {
    /// Starts the client, without a session.
    pub fn start(namespace: &Namespace, directory: &Path) -> Result<Self> {
        let address = SocketAddr::from((B, SERVICE)).to_string();
        let process = start("crowd", namespace, directory, &["crowd", &address])?;
        Ok(Self { process, opened: 0 })
    }

    /// Begins a session and gives its number.
    pub fn open(&mut self) -> Result<usize> {
        self.tell("open")?;
        self.opened += 1;
        Ok(self.opened - 1)
    }

    /// Begins a session from this port and gives its number.
    pub fn open_from(&mut self, port: u16) -> Result<usize> {
        self.tell(&format!("open {port}"))?;
        self.opened += 1;
        Ok(self.opened - 1)
    }

    /// Waits for the first report of a session.
    pub fn first_words(&self, number: usize, limit: Duration) -> Result<Value> {
        let what = format!("session {number} is connected");
        let (event, _) = self.process.wait_line(limit, &what, 0, |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            (event["session"] == number).then_some(event)
        })?;
        Ok(event)
    }

    /// Gives a command to every session.
    pub fn tell(&mut self, command: &str) -> Result<()> {
        self.process.say(command)
    }

    /// Every session exchanges so many octets each way. Gives how many of those that lived have done so; the
    /// others are over.
    pub fn exchange(&mut self, octets: u64, limit: Duration) -> Result<usize> {
        let count = |lines: &[String]| (events(lines, "transferred"), last_words(lines).len());
        let (before, over) = self.process.output().read(|output| count(&output.lines));
        let alive = self.opened - over;
        self.tell(&format!("transfer {octets} {octets}"))?;
        let what = format!("{alive} sessions exchange data");
        let done = self.process.output().wait(limit, &what, |output| {
            let (now, ended) = count(&output.lines);
            let done = now - before;
            (done + (ended - over) >= alive || output.ended).then_some(done)
        })?;
        Ok(done)
    }

    /// The last reports of the sessions that are over, in the order in which they ended.
    pub fn over(&self) -> Vec<Value> {
        self.process
            .output()
            .read(|output| last_words(&output.lines))
    }

    /// Waits for the last reports of all sessions, and gives them in the order of their numbers.
    pub fn ends(&self, limit: Duration) -> Result<Vec<Value>> {
        let what = format!("{} sessions are over", self.opened);
        let mut ends = self.process.output().wait(limit, &what, |output| {
            let ends = last_words(&output.lines);
            (ends.len() == self.opened || output.ended).then_some(ends)
        })?;
        ends.sort_by_key(|end| end["session"].as_u64());
        let all = ends.len() == self.opened;
        all.then_some(ends)
            .with_context(|| format!("the client has ended: {}", self.process.tail(5).join(" | ")))
    }
}

fn events(lines: &[String], name: &str) -> usize {
    let events = lines
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok());
    events
        .filter(|event: &Value| event["event"] == name)
        .count()
}

fn last_words(lines: &[String]) -> Vec<Value> {
    let events = lines
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok());
    let is_last = |event: &Value| event["event"].as_str().is_some_and(is_over);
    events.filter(is_last).collect()
}
