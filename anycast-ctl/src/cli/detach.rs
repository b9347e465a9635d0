//! The command `detach`.

use anyhow::{Result, anyhow};

use super::ask::{Query, answer};
use crate::shell::{
    api::view,
    dataplane::{Pins, PinsError},
    privilege,
};

/// Removes what a stopped daemon left in the kernel. It refuses to do so while a daemon runs, because that daemon would
/// not notice.
pub(super) fn run(query: Query) -> Result<()> {
    // Without this, the first thing that is refused would be named, and not why.
    privilege::check()?;
    let pins = Pins::left().map_err(|error| match error {
        PinsError::Taken(_) => anyhow!("{error}: end that first"),
        error => error.into(),
    })?;
    let programs = pins.map_or(Ok(0), Pins::remove)?;
    answer(&view::Detached { programs }, query, |it| {
        match it.programs {
            0 => "nothing was attached\n".to_owned(),
            1 => "1 program detached\n".to_owned(),
            programs => format!("{programs} programs detached\n"),
        }
    })
}
