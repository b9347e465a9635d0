//! Tells systemd that the daemon is ready, that it is alive and that it stops (`Type=notify`, `WatchdogSec=`).

use std::{
    env::VarError,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use tokio::time::{Interval, MissedTickBehavior, interval};

/// The service manager that started this process, if there is one.
#[derive(Debug, Default)]
pub(super) struct Manager {
    to: Option<(UnixDatagram, SocketAddr)>,
    /// Ticks when the manager has to hear that the loop runs.
    alive: Option<Interval>,
}

impl Manager {
    /// Finds the service manager by the variables that it sets. Needs a tokio runtime.
    pub(super) fn find() -> Self {
        let Some(address) = std::env::var_os("NOTIFY_SOCKET") else {
            return Self::default();
        };
        let to = match connect(address.as_bytes()) {
            Ok(to) => Some(to),
            Err(error) => {
                tracing::warn!(%error, "cannot tell systemd that the daemon is ready");
                None
            }
        };
        let variable = |name| std::env::var(name);
        let period = watchdog(variable, std::process::id());
        let alive = to.as_ref().and(period).map(|period| {
            let mut alive = interval(period);
            alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
            alive
        });
        Self { to, alive }
    }

    /// Waits until the manager has to hear that the loop runs, or for ever where it does not ask for that.
    pub(super) async fn due(&mut self) {
        match &mut self.alive {
            Some(alive) => drop(alive.tick().await),
            None => std::future::pending().await,
        }
    }

    pub(super) fn ready(&self) {
        self.tell("READY=1");
    }

    pub(super) fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, what: &str) {
        let Some((socket, address)) = &self.to else {
            return;
        };
        if let Err(error) = socket.send_to_addr(what.as_bytes(), address) {
            tracing::warn!(%error, what, "cannot talk to systemd");
        }
    }
}

fn connect(address: &[u8]) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match address.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(address))?,
    };
    Ok((UnixDatagram::unbound()?, address))
}

/// How often to say that the loop runs: twice in the time after which the manager takes this process for hung
/// (sd_watchdog_enabled(3)). `None` where the manager does not ask this process.
fn watchdog(
    variable: impl Fn(&'static str) -> Result<String, VarError>,
    own: u32,
) -> Option<Duration> {
    let number = |name| variable(name).ok()?.parse::<u64>().ok();
    let limit = number("WATCHDOG_USEC").filter(|limit| *limit > 0)?;
    match variable("WATCHDOG_PID") {
        Ok(_) if number("WATCHDOG_PID") != Some(own.into()) => None,
        _ => Some(Duration::from_micros(limit) / 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_for_the_process_that_it_names() {
        let asked = |limit: Option<&'static str>, process: Option<&'static str>| {
            let variable = |name: &'static str| {
                let value = if name == "WATCHDOG_USEC" {
                    limit
                } else {
                    process
                };
                value.map(str::to_owned).ok_or(VarError::NotPresent)
            };
            watchdog(variable, 7)
        };
        let half = Some(Duration::from_secs(15));
        assert_eq!(asked(Some("30000000"), Some("7")), half);
        assert_eq!(asked(Some("30000000"), None), half);
        assert_eq!(asked(Some("30000000"), Some("8")), None, "a parent's");
        assert_eq!(asked(Some("30000000"), Some("x")), None);
        assert_eq!(asked(Some("0"), None), None);
        assert_eq!(asked(Some("soon"), None), None);
        assert_eq!(asked(None, Some("7")), None);
    }
}
