//! Becoming root, or saying why not.

use std::{
    ffi::OsStr,
    io::IsTerminal,
    process::{Command, Stdio},
};

use anyhow::{Result, bail};

use crate::process;

/// How root can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// This process is it already.
    Here,
    /// `sudo` gives it, without a question or with one that a person can answer.
    Sudo,
    /// `sudo` is there, but wants a password and nobody is here to type it.
    SudoPassword,
    /// There is no way.
    None,
}

impl Root {
    /// Looks at this process and at `sudo`.
    pub fn find() -> Self {
        if nix::unistd::geteuid().is_root() {
            return Self::Here;
        }
        if process::find("sudo").is_none() {
            return Self::None;
        }
        let silent = Command::new("sudo")
            .args(["--non-interactive", "true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if silent.is_ok_and(|status| status.success()) || std::io::stdin().is_terminal() {
            Self::Sudo
        } else {
            Self::SudoPassword
        }
    }

    /// Why root cannot be had, in one sentence.
    pub fn refusal(self) -> Option<&'static str> {
        match self {
            Self::Here | Self::Sudo => None,
            Self::SudoPassword => Some("root is needed, and sudo asks for a password here"),
            Self::None => Some("root is needed, and there is no sudo"),
        }
    }

    /// A command for `program`, as root.
    pub fn command(self, program: impl AsRef<OsStr>) -> Result<Command> {
        if let Some(refusal) = self.refusal() {
            bail!("{refusal}: run it again as root");
        }
        Ok(match self {
            Self::Here => Command::new(program),
            _ => {
                let mut sudo = Command::new("sudo");
                // ANYCAST_*, RUST_LOG and the like are meant for the program.
                sudo.arg("--preserve-env").arg("--").arg(program);
                sudo
            }
        })
    }
}
