//! Asks the daemon, and shows what it says.

use std::{io::Write as _, net::Ipv6Addr, path::Path};

use anyhow::Result;
use clap::Args;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::shell::api::{Request, client, view};

/// How an answer is shown.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Query {
    /// Print JSON instead of a table
    #[arg(long)]
    pub(super) json: bool,
}

/// Which bindings or flows.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Which {
    /// Only of this client
    #[arg(long, value_name = "ADDRESS")]
    pub(super) client: Option<Ipv6Addr>,
    /// Only of this anycast address
    #[arg(long, value_name = "ADDRESS")]
    pub(super) anycast: Option<Ipv6Addr>,
    /// Only to this address of a member
    #[arg(long, value_name = "ADDRESS")]
    pub(super) care_of: Option<Ipv6Addr>,
}

impl From<Which> for view::Which {
    fn from(which: Which) -> Self {
        let Which {
            client,
            anycast,
            care_of,
        } = which;
        Self {
            client,
            anycast,
            care_of,
        }
    }
}

pub(super) fn ask<T: DeserializeOwned>(
    path: &Path,
    request: &Request,
    query: Query,
    show: impl FnOnce(&T) -> String,
) -> Result<()> {
    if query.json {
        let answer: Value = client::ask(path, request)?;
        print(&format!("{answer:#}\n"))
    } else {
        print(&show(&client::ask(path, request)?))
    }
}

pub(super) fn answer<T: Serialize>(
    answer: &T,
    query: Query,
    show: impl FnOnce(&T) -> String,
) -> Result<()> {
    if query.json {
        print(&format!("{:#}\n", serde_json::to_value(answer)?))
    } else {
        print(&show(answer))
    }
}

/// Writes to standard output. A closed pipe is no error, since a reader such as `head` may have read enough.
pub(super) fn print(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
