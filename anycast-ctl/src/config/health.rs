//! The `[member.group.health]` section: how a member finds out whether its service works.

use std::{
    net::{Ipv6Addr, SocketAddr},
    num::{NonZeroU16, NonZeroU32},
    time::Duration,
};

use serde::Deserialize;

use crate::{
    core::member::HealthSettings,
    model::health::{Target, Web},
};

const INTERVAL: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(2);
const RISE: u32 = 2;
const FALL: u32 = 3;
const HTTP: u16 = 80;

/// What the health check tests, and how often.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Kind of the check.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// For `tcp` and `http`: address and port to connect to.
    pub address: Option<SocketAddr>,
    /// For `tcp` and `http`: port to connect to at the anycast address.
    pub port: Option<NonZeroU16>,
    /// For `http`: path to request.
    pub path: Option<String>,
    /// For `http`: the one status that passes. Unless given, any status from 200 to 299 passes.
    pub status: Option<u16>,
    /// For `command`: program and arguments. Exit status 0 passes.
    pub command: Option<Vec<String>>,
    /// Time from the start of one check to the start of the next.
    #[serde(default, with = "humantime_serde")]
    pub interval: Option<Duration>,
    /// Longest time that a check may take before it counts as failed.
    #[serde(default, with = "humantime_serde")]
    pub timeout: Option<Duration>,
    /// Number of checks that must pass in a row before the service counts as healthy.
    pub rise: Option<NonZeroU32>,
    /// Number of checks that must fail in a row before the service counts as unhealthy.
    pub fall: Option<NonZeroU32>,
}

/// Kind of a health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The check passes when a TCP connection can be made.
    Tcp,
    /// The check passes when an HTTP server answers with the right status.
    Http,
    /// The check passes when a program ends with exit status 0.
    Command,
}

impl Health {
    /// When checks are made. If `presumed` is true, the service counts as healthy until its checks fail.
    #[must_use]
    pub fn settings(&self, presumed: bool) -> HealthSettings {
        HealthSettings {
            interval: self.interval.unwrap_or(INTERVAL),
            timeout: self.timeout.unwrap_or(TIMEOUT),
            rise: self.rise.map_or(RISE, Into::into),
            fall: self.fall.map_or(FALL, Into::into),
            presumed,
        }
    }

    /// The target of the check for the group `anycast`, or a sentence that says what is wrong with the settings.
    pub fn target(&self, anycast: Ipv6Addr) -> Result<Target, &'static str> {
        if self.path.is_some() && self.kind != Kind::Http {
            return Err("`path` is for type = \"http\"");
        }
        if self.status.is_some() && self.kind != Kind::Http {
            return Err("`status` is for type = \"http\"");
        }
        if self.command.is_some() && self.kind != Kind::Command {
            return Err("`command` is for type = \"command\"");
        }
        match self.kind {
            Kind::Tcp => self.address(anycast, None).map(Target::Tcp),
            Kind::Http => self.web(anycast).map(Target::Http),
            Kind::Command => match (&self.command, self.address, self.port) {
                (Some(command), None, None) if command.first().is_some_and(|p| !p.is_empty()) => {
                    Ok(Target::Command(command.clone()))
                }
                (_, None, None) => Err("a health check of type \"command\" needs its `command`"),
                _ => Err("a health check of type \"command\" has no address and no port"),
            },
        }
    }

    /// Checks that the given times are consistent, or says what is wrong with them.
    pub(super) fn times(&self) -> Result<(), &'static str> {
        let settings = self.settings(false);
        if settings.timeout.is_zero() {
            Err("`timeout` cannot be 0: every check would fail")
        } else if settings.interval < settings.timeout {
            Err("`interval` is less than `timeout`: only one check of a group runs at a time")
        } else {
            Ok(())
        }
    }

    fn web(&self, anycast: Ipv6Addr) -> Result<Web, &'static str> {
        let path = self.path.clone().unwrap_or_else(|| "/".into());
        let plain = |c: char| c.is_ascii_graphic();
        if !path.starts_with('/') || !path.chars().all(plain) {
            return Err("`path` starts with / and has no spaces, such as \"/health?deep=1\"");
        }
        if self
            .status
            .is_some_and(|status| !(100..=599).contains(&status))
        {
            return Err("`status` is from 100 to 599");
        }
        Ok(Web {
            address: self.address(anycast, Some(HTTP))?,
            path,
            status: self.status,
        })
    }

    fn address(&self, anycast: Ipv6Addr, default: Option<u16>) -> Result<SocketAddr, &'static str> {
        match (self.address, self.port.map(Into::into).or(default)) {
            (Some(_), _) if self.port.is_some() => {
                Err("a health check has an `address` or a `port`, not both")
            }
            (Some(address), _) => Ok(address),
            (None, Some(port)) => Ok(SocketAddr::from((anycast, port))),
            (None, None) => Err("a health check needs a `port`, or an `address` with one"),
        }
    }
}
