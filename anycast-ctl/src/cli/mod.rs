//! The command line.

mod arguments;
mod ask;
mod capture;
mod check;
mod detach;
mod drain;
mod fleet;
mod flush;
mod log;
mod monitor;
mod policy;
mod run;
mod shipped;
mod show;
mod show_client;
mod show_flows;
mod show_policy;
mod show_status;
mod status;
mod table;
mod top;

use anyhow::Result;

use self::{
    arguments::Command,
    ask::{answer, ask, print},
};
use crate::{
    config,
    shell::api::{Request, client, view},
};
pub use arguments::Cli;
pub use log::{LogFormat, fatal};

/// Executes the command line.
pub fn run(cli: Cli) -> Result<()> {
    let socket = cli.socket.as_deref();
    let path = socket.unwrap_or(config::file::DEFAULT_SOCKET.as_ref());
    match cli.command {
        Command::Run {
            config,
            log_format,
            verbose,
        } => run::run(&config, socket, log_format, verbose),
        Command::Check { file, host, query } => check::run(&file, host, query),
        Command::Doctor { file, query } => check::doctor(path, &file, query),
        Command::Status { check, query } => status::run(path, check, query),
        Command::Groups(query) => answer(&client::groups(path, client::ALL)?, query, show::groups),
        Command::Members {
            group,
            member,
            query,
        } => answer(
            &client::members(path, group, member, client::ALL)?,
            query,
            |members| show::members(members),
        ),
        Command::Top { interval } => top::run(path, interval.into()),
        Command::Policy(command) => policy::run(path, command),
        Command::Reload(query) => policy::reload(path, query),
        Command::Refusals(query) => ask(path, &Request::Refusals, query, show_policy::refusals),
        Command::Monitor { roles, query } => monitor::run(path, roles, query.json),
        Command::Bindings { which, query } => {
            let bindings = client::bindings(path, which.into(), client::ALL)?;
            answer(&bindings, query, |bindings| show_flows::bindings(bindings))
        }
        Command::Handshakes {
            client,
            anycast,
            query,
        } => {
            let known = client::handshakes(path, client, anycast, client::ALL)?;
            answer(&known, query, |known| show_flows::handshakes(known, client))
        }
        Command::Flows { which, all, query } => {
            let flows = client::flows(path, which.into(), all, client::ALL)?;
            answer(&flows, query, |flows| show_flows::flows(flows))
        }
        Command::Explain {
            client,
            anycast,
            query,
        } => {
            let request = Request::Explain { client, anycast };
            ask(path, &request, query, show_client::explained)
        }
        Command::Flush { which, query } => flush::run(path, &which, query),
        Command::Fleet { ready: true, .. } => fleet::ready(path),
        Command::Fleet { command, query, .. } => fleet::run(path, command, query),
        Command::Detach { protocol, query } => detach::run(protocol, query),
        Command::Counters { query, all } => ask(path, &Request::Counters, query, |counters| {
            show::counters(counters, all)
        }),
        Command::Metrics { openmetrics } => {
            let metrics: view::Metrics = client::ask(path, &Request::Metrics { openmetrics })?;
            print(&metrics.text)
        }
        Command::Join { anycast, query } => {
            let request = Request::Join { anycast };
            ask(path, &request, query, |done: &view::Done| {
                match done.joined {
                    true => format!("joined {anycast}\n"),
                    false => format!("{anycast} will be joined when its service is healthy\n"),
                }
            })
        }
        Command::Leave { anycast, query } => {
            let request = Request::Leave { anycast };
            ask(path, &request, query, |_: &view::Done| {
                format!("left {anycast}\n")
            })
        }
        Command::Drain {
            groups,
            wait,
            timeout,
            query,
        } => drain::drain(path, &groups, wait.then_some(timeout), query),
        Command::Undrain { groups, query } => drain::undrain(path, &groups, query),
        Command::Capture(options) => capture::run(&options),
        Command::Completions { shell } => shipped::completions::<Cli>(shell),
        Command::Man { directory } => shipped::man::<Cli>(&directory),
    }
}
