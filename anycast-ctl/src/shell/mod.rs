//! The daemon around the core: everything that has an effect or a cause outside.

pub mod api;
pub mod clock;
pub mod dataplane;
pub mod interfaces;
pub mod netlink;
mod notices;
mod perform;
mod privilege;
pub mod reconcile;
mod routes;
pub mod sockets;
mod sysctl;
mod systemd;
#[cfg(test)]
mod tests;
mod throttle;
