//! The commands `policy` and `reload`.

use std::{net::Ipv6Addr, num::NonZeroU32, path::Path};

use anyhow::Result;
use clap::{Args, Subcommand};

use super::{
    ask::{Query, ask, print},
    show_policy,
};
use crate::{
    config::value::Prefix,
    core::router::Position,
    model::{mac::Mac, policy::Decision},
    shell::api::{Request, client, view},
};

const LOST: &str = "\
Changes of the policy at run time last until the next reload or restart; they are not written to the
configuration file. `policy list --toml` prints the rules as the file wants them.";

#[derive(Debug, Subcommand)]
#[command(after_help = LOST)]
pub(super) enum Command {
    /// Show the rules in their order, with the number of decisions of each
    List {
        /// Print the rules as a configuration file has them
        #[arg(long, conflicts_with = "json")]
        toml: bool,
        #[command(flatten)]
        query: Query,
    },
    /// Add a rule until the next reload or restart; it comes after all others unless told where
    #[command(after_help = LOST)]
    Add {
        #[command(flatten)]
        rule: NewRule,
        #[command(flatten)]
        query: Query,
    },
    /// Remove a rule until the next reload or restart; members that it let in are removed at once
    #[command(after_help = LOST)]
    Remove {
        /// Its number in `policy list`
        id: usize,
        #[command(flatten)]
        query: Query,
    },
    /// Show which rule decides about a Report, and why those before it do not
    Explain {
        /// Link-local source of the Report
        source: Ipv6Addr,
        /// Anycast address that it names
        anycast: Ipv6Addr,
        /// Interface on which it comes [default: each of the router]
        #[arg(long, value_name = "NAME")]
        interface: Option<String>,
        /// Its Ethernet source [default: as the member is known]
        #[arg(long)]
        mac: Option<Mac>,
        #[command(flatten)]
        query: Query,
    },
}

#[derive(Debug, Args)]
pub(super) struct NewRule {
    /// What becomes of a Report
    #[arg(value_enum)]
    action: Decision,
    /// Prefix of its link-local source
    source: Prefix,
    /// Prefix of the anycast address that it names
    anycast: Prefix,
    /// Interface on which it comes
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// Its Ethernet source
    #[arg(long)]
    mac: Option<Mac>,
    /// Cap of an allow
    #[arg(long, value_name = "COUNT")]
    max_members_per_group: Option<NonZeroU32>,
    /// Cap of an allow
    #[arg(long, value_name = "COUNT")]
    max_groups_per_member: Option<NonZeroU32>,
    /// Put it before this rule
    #[arg(long, value_name = "ID", conflicts_with = "after")]
    before: Option<usize>,
    /// Put it after this rule
    #[arg(long, value_name = "ID")]
    after: Option<usize>,
}

pub(super) fn run(path: &Path, command: Command) -> Result<()> {
    match command {
        Command::List { toml: true, .. } => print(&show_policy::policy_toml(&client::ask(
            path,
            &Request::Policy,
        )?)),
        Command::List { query, .. } => ask(path, &Request::Policy, query, show_policy::policy),
        Command::Add { rule: add, query } => {
            let position = match (add.before, add.after) {
                (Some(id), _) => Position::Before(id),
                (None, Some(id)) => Position::After(id),
                (None, None) => Position::End,
            };
            let rule = view::Rule {
                source: add.source.0,
                mac: add.mac,
                interface: add.interface,
                anycast: add.anycast.0,
                action: add.action,
                max_members_per_group: add.max_members_per_group,
                max_groups_per_member: add.max_groups_per_member,
            };
            let request = Request::PolicyAdd { rule, position };
            ask(path, &request, query, |changed: &view::PolicyChanged| {
                let id = changed.id.unwrap_or_default();
                format!("added rule {id}, until the next reload or restart\n")
            })
        }
        Command::Remove { id, query } => {
            let request = Request::PolicyRemove { id };
            ask(path, &request, query, |_: &view::PolicyChanged| {
                format!("removed rule {id}, until the next reload or restart\n")
            })
        }
        Command::Explain {
            source,
            anycast,
            interface,
            mac,
            query,
        } => {
            let request = Request::PolicyExplain {
                source,
                anycast,
                interface,
                mac,
            };
            ask(path, &request, query, |found: &Vec<_>| {
                show_policy::explained(found)
            })
        }
    }
}

pub(super) fn reload(path: &Path, query: Query) -> Result<()> {
    let show = |changed: &view::PolicyChanged| {
        let rules = match changed.rules {
            0 => String::new(),
            1 => ": 1 policy rule".to_owned(),
            rules => format!(": {rules} policy rules"),
        };
        let restart = match &changed.restart[..] {
            [] => String::new(),
            keys => format!("; needs a restart: {}", keys.join(", ")),
        };
        format!("reloaded{rules}{restart}\n")
    };
    ask(path, &Request::Reload, query, show)
}
