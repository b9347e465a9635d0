//! The daemon around the core: everything that has an effect or a cause outside of the process.
//!
//! One loop (`daemon`) turns what happens into inputs of the core, and performs the actions that the core gives. Each
//! kind of action has a file that is named after it.

pub mod addresses;
mod advice;
pub mod all_multicasts;
mod alone;
mod answer;
pub mod api;
mod attached;
mod bounded;
mod bpf;
mod bridges;
mod bus;
pub mod capture;
mod cards;
mod cgroup;
pub mod clock;
mod credentials;
mod daemon;
pub mod dataplane;
pub mod descriptors;
mod engine;
mod error;
mod filters;
pub mod finding;
mod fitness;
mod flows;
pub mod groups;
mod handover;
pub mod health;
pub mod host;
pub mod interfaces;
pub mod leave;
mod memory;
mod metrics;
pub mod neighbors;
mod netdev;
pub mod netlink;
mod next_hops;
mod notices;
mod others;
mod paths;
mod perform;
mod plain_routes;
mod plane;
mod policy;
pub mod privilege;
mod reachability;
mod recent;
pub mod reconcile;
mod room;
pub mod routes;
mod routing_daemons;
pub mod secret;
mod signals;
pub mod sockets;
mod start;
mod sum;
pub mod surroundings;
mod sysctl;
mod systemd;
#[cfg(test)]
mod tests;
mod throttle;
mod way;

pub use error::ShellError;
pub use paths::Paths;

use crate::config::{Config, file, running::Running};

/// Runs the daemon until SIGINT or SIGTERM. `running` is what was read of the file that `config` comes from, and
/// `object` the compiled eBPF programs.
pub async fn run(
    config: Config,
    running: Running,
    paths: &Paths,
    object: &[u8],
) -> Result<(), ShellError> {
    if object.is_empty() {
        return Err(ShellError::NoPrograms);
    }
    privilege::check()?;
    // From now on, and so that one which comes while the programs load is not lost, and ends nothing half-way.
    let signals = signals::Signals::catch().map_err(ShellError::io("cannot catch signals"))?;
    let configured = config.control.socket.as_ref().map(|path| path.get_ref());
    let socket = paths
        .socket
        .as_ref()
        .or(configured)
        .cloned()
        .unwrap_or_else(|| file::DEFAULT_SOCKET.into());
    // This comes before anything is attached: a second daemon must not disturb the first one.
    let server = api::server::Server::bind(&socket)?;
    let _alone = alone::claim()?;
    let not_admitted = config.control.read_group.as_ref().and_then(|group| {
        // Those who watch have to wait for somebody. Sessions do not wait for those who watch.
        let error = server.admit(group.get_ref()).err()?;
        tracing::warn!(%error, "users of read_group cannot ask");
        Some(error.to_string())
    });
    let mut daemon =
        daemon::Daemon::start(&config, running, paths, server, object, not_admitted).await?;
    let result = daemon.run(signals).await;
    daemon.stop().await;
    result
}
