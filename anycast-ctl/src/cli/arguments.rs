//! What stands on the command line: the subcommands, their options, and what `--help` says of them.

use std::{net::Ipv6Addr, path::PathBuf};

use clap::{Parser, Subcommand};

use super::{
    ask::{Query, Which},
    capture, drain, fleet, flush,
    log::LogFormat,
    policy,
};
use crate::{model::address::PROTOCOL, shell::api::monitor::ROLES};

const EXAMPLES: &str = "\
Examples:
  anycast-ctl check /etc/anycast/anycast.toml
  anycast-ctl run --config /etc/anycast/anycast.toml
  anycast-ctl status --check                is there anything to look at?
  anycast-ctl top                           what it does, live
  anycast-ctl doctor                        what is wrong with this machine?
  anycast-ctl members --json
  anycast-ctl refusals                      why a host cannot join
  anycast-ctl policy explain fe80::11 2001:db8:a::53
  anycast-ctl monitor router
  anycast-ctl explain 2001:db8:1::100 2001:db8:a::53   why a client is bound or not
  anycast-ctl capture - --client 2001:db8:1::100 | tshark -r -   what programs see and do
  anycast-ctl drain 2001:db8:a::53 --wait   new clients go elsewhere, sessions go on to their end
  anycast-ctl undrain --all";

/// IPv6 anycast that hosts join by themselves and that never breaks a session.
#[derive(Debug, Parser)]
#[command(name = "anycast-ctl", version, about, after_help = EXAMPLES)]
pub struct Cli {
    /// Control socket, of the daemon and of those who ask it [default: /run/anycast/control.sock]
    #[arg(long, global = true, value_name = "PATH", env = "ANYCAST_SOCKET")]
    pub(super) socket: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the daemon in the foreground
    Run {
        /// Configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Format of log lines; the variable ANYCAST_LOG selects what is logged (for example anycast=debug)
        #[arg(long, value_enum, default_value = "text")]
        log_format: LogFormat,
        /// Log more, such as all that the kernel says of a program that it refuses
        #[arg(long)]
        verbose: bool,
    },
    /// Check a configuration file
    Check {
        /// Configuration file
        file: PathBuf,
        /// Look at this machine as well: is anything in the way of this configuration?
        #[arg(long)]
        host: bool,
        #[command(flatten)]
        query: Query,
    },
    /// Look at the daemon that runs, its configuration file and this machine, and say what is wrong and what to do
    /// about it
    Doctor {
        /// Configuration file
        #[arg(default_value = "/etc/anycast/anycast.toml")]
        file: PathBuf,
        #[command(flatten)]
        query: Query,
    },
    /// Show the daemon, its interfaces and its links
    Status {
        /// Fail when there is something that somebody should look at, and print only that
        #[arg(long)]
        check: bool,
        #[command(flatten)]
        query: Query,
    },
    /// Show groups, members, bindings, flows, handshakes, refusals and rates, live in this terminal
    Top {
        /// Time between two questions to the daemon
        #[arg(long, value_name = "TIME", default_value = "1s")]
        interval: humantime_serde::re::humantime::Duration,
    },
    /// Show anycast groups: behind this router, and those that this machine serves
    Groups(Query),
    /// Show the members behind this router, and their groups
    Members {
        /// Only members of this anycast address
        #[arg(long, value_name = "ANYCAST")]
        group: Option<Ipv6Addr>,
        /// Only this link-local address
        #[arg(long, value_name = "ADDRESS")]
        member: Option<Ipv6Addr>,
        #[command(flatten)]
        query: Query,
    },
    /// Show, explain or change who may join what
    #[command(subcommand)]
    Policy(policy::Command),
    /// Read the configuration file again, as SIGHUP does, and name what takes a restart
    Reload(Query),
    /// Show the last Reports and Binding Updates that were refused, and why
    Refusals(Query),
    /// Show what happens, as it happens
    Monitor {
        /// Only events of these roles
        #[arg(value_parser = clap::builder::PossibleValuesParser::new(ROLES))]
        roles: Vec<String>,
        #[command(flatten)]
        query: Query,
    },
    /// Show the bindings of clients to members
    Bindings {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        query: Query,
    },
    /// Show the clients that this member knows, what their handshakes wait for, and why a client is
    /// left alone
    Handshakes {
        /// Only this client
        #[arg(long, value_name = "ADDRESS")]
        client: Option<Ipv6Addr>,
        /// Only clients of this anycast address
        #[arg(long, value_name = "ADDRESS")]
        anycast: Option<Ipv6Addr>,
        #[command(flatten)]
        query: Query,
    },
    /// Explain why a client is bound or not, and where its packets go, as far as this machine knows; ask the client's
    /// gateway, the member and the router
    Explain {
        /// Address of the client
        client: Ipv6Addr,
        /// Anycast address
        anycast: Ipv6Addr,
        #[command(flatten)]
        query: Query,
    },
    /// Capture what the programs of this machine see and do, for Wireshark: each packet as it came and as it went, with
    /// the verdict and its reasons. Also where tcpdump sees nothing, and without a daemon
    Capture(capture::Options),
    /// Show the flows that travel by a care-of address
    Flows {
        #[command(flatten)]
        which: Which,
        /// Also show the open flows that a correspondent remembers, which travel by plain anycast
        #[arg(long, conflicts_with = "care_of")]
        all: bool,
        #[command(flatten)]
        query: Query,
    },
    /// End bindings and flows of a correspondent: packets take the anycast route, and members bind again. At a member:
    /// forget what is known of clients, so that they are tried again
    Flush {
        #[command(flatten)]
        which: flush::Which,
        #[command(flatten)]
        query: Query,
    },
    /// Show the other gateways of the fleet and its bus, forget one that was taken away, or make a secret for a fleet
    #[command(args_conflicts_with_subcommands = true)]
    Fleet {
        #[command(subcommand)]
        command: Option<fleet::Command>,
        /// Only say by the exit status whether this gateway is ready: for whoever brings traffic to it
        #[arg(long, conflicts_with = "json")]
        ready: bool,
        #[command(flatten)]
        query: Query,
    },
    /// Remove what a stopped daemon left in the kernel, in the network namespace of the caller: its programs, and with
    /// them the sessions that still use them, its addresses and its routes
    Detach {
        /// Route protocol number of the router's routes, if [router] protocol says another one
        #[arg(long, value_name = "NUMBER", default_value_t = PROTOCOL)]
        protocol: u8,
        #[command(flatten)]
        query: Query,
    },
    /// Show counters that are not zero
    Counters {
        #[command(flatten)]
        query: Query,
        /// Show counters that are zero as well
        #[arg(long)]
        all: bool,
    },
    /// Print all metrics as Prometheus reads them, also where `[control] metrics` serves them nowhere
    Metrics {
        /// In the format of OpenMetrics, instead of the older one of Prometheus
        #[arg(long)]
        openmetrics: bool,
    },
    /// Join a configured group as soon as it is healthy, and end its drain
    Join {
        /// Anycast address of the group
        anycast: Ipv6Addr,
        #[command(flatten)]
        query: Query,
    },
    /// Leave a group: new clients go elsewhere, and pinned sessions go on
    Leave {
        /// Anycast address of the group
        anycast: Ipv6Addr,
        #[command(flatten)]
        query: Query,
    },
    /// Leave a group before maintenance: new clients go elsewhere, pinned sessions go on, and health checks do not make
    /// this machine join again. A drain lasts until undrain, join or a restart of the daemon
    Drain {
        #[command(flatten)]
        groups: drain::Which,
        /// Return when no session is left
        #[arg(long)]
        wait: bool,
        /// Give up waiting after this time, such as 5m, with status 1
        #[arg(long, requires = "wait", value_name = "TIME")]
        timeout: Option<drain::Patience>,
        #[command(flatten)]
        query: Query,
    },
    /// End a drain: groups that are wanted and healthy are joined again
    Undrain {
        #[command(flatten)]
        groups: drain::Which,
        #[command(flatten)]
        query: Query,
    },
    /// Print the completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the man pages of all commands
    Man {
        /// Directory, which is made if it is not there
        directory: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_socket_can_stand_on_either_side_of_the_command() {
        for line in [
            ["anycast-ctl", "--socket", "/tmp/x", "status"],
            ["anycast-ctl", "status", "--socket", "/tmp/x"],
        ] {
            let cli = Cli::try_parse_from(line).expect("parsed");
            assert_eq!(cli.socket, Some("/tmp/x".into()));
        }
    }
}
