//! Gets root privileges, or explains why that is not possible.

use std::{
    ffi::OsStr,
    io::IsTerminal,
    process::{Command, Stdio},
};

use anyhow::{Result, bail};

use crate::process;

/// How this process can run programs as root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// This process is root already.
    Here,
    /// `sudo` works, either without a password or with one that a person can type.
    Sudo,
    /// `sudo` exists, but asks for a password and no person is there to type it.
    SudoPassword,
    /// There is no way to become root.
    None,
}

impl Root {
    /// Finds out how to become root, from this process and from `sudo`.
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

    /// Why root privileges cannot be had, in one sentence.
    pub fn refusal(self) -> Option<&'static str> {
        match self {
            Self::Here | Self::Sudo => None,
            Self::SudoPassword => Some("root is needed, and sudo asks for a password here"),
            Self::None => Some("root is needed, and there is no sudo"),
        }
    }

    /// A command that runs `program` as root.
    pub fn command(self, program: impl AsRef<OsStr>) -> Result<Command> {
        if let Some(refusal) = self.refusal() {
            bail!("{refusal}: run it again as root");
        }
        Ok(match self {
            Self::Here => Command::new(program),
            _ => {
                let mut sudo = Command::new("sudo");
                // Variables such as ANYCAST_* and RUST_LOG are meant for the program.
                sudo.arg("--preserve-env").arg("--").arg(program);
                sudo
            }
        })
    }
}
