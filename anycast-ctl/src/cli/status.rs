//! The command `status`.

use std::path::Path;

use anyhow::{Result, bail};

use super::{
    ask::{Query, answer},
    show_status,
};
use crate::shell::api::{Request, client, view};

/// Shows the state of the daemon. With `check`, problems are an error.
pub(super) fn run(path: &Path, check: bool, query: Query) -> Result<()> {
    let status: view::Status = client::ask(path, &Request::Status)?;
    match check {
        true => answer(&status.problems, query, |it| show_status::problems(it))?,
        false => answer(&status, query, show_status::status)?,
    }
    match status.problems.len() {
        0 => Ok(()),
        _ if !check => Ok(()),
        1 => bail!("1 problem"),
        problems => bail!("{problems} problems"),
    }
}
