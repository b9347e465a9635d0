//! The command `detach`.

use anyhow::{Context as _, Result, anyhow};

use super::ask::{Query, answer};
use crate::shell::{
    api::view,
    dataplane::{Pins, PinsError},
    leave::Leave,
    privilege,
};

/// Removes what a stopped daemon left in the kernel. It refuses to do so while a daemon runs, because that daemon would
/// not notice.
pub(super) fn run(protocol: u8, query: Query) -> Result<()> {
    // Without this, the first thing that is refused would be named, and not why.
    privilege::check()?;
    let leave = Leave::begin()?;
    let pins = Pins::left().map_err(|error| match error {
        PinsError::Taken(_) => anyhow!("{error}: end that first"),
        error => error.into(),
    })?;
    let programs = pins.map_or(Ok(0), Pins::remove)?;
    let addresses = leave.addresses().context("cannot remove the addresses")?;
    let routes = leave.routes(protocol).context("cannot remove the routes")?;
    let removed = view::Detached {
        programs,
        addresses,
        routes,
    };
    answer(&removed, query, |it| {
        let programs = match it.programs {
            0 => "nothing was attached".to_owned(),
            1 => "1 program detached".to_owned(),
            programs => format!("{programs} programs detached"),
        };
        let addresses = match it.addresses {
            0 => String::new(),
            1 => ", 1 address removed".to_owned(),
            addresses => format!(", {addresses} addresses removed"),
        };
        let routes = match it.routes {
            0 => String::new(),
            1 => ", 1 route removed".to_owned(),
            routes => format!(", {routes} routes removed"),
        };
        format!("{programs}{addresses}{routes}\n")
    })
}
