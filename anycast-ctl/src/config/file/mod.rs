//! What may stand in a configuration file. Unknown keys are errors.

mod correspondent;
mod member;
mod router;

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

pub use self::{
    correspondent::{Correspondent, MessageLimits, Pins},
    member::{Group, Handshake, Join, Listener, Member, Sessions},
    router::{NextHops, ReportLimits, Resilient, Router, RouterInterface, Rule, Timers},
};

/// Where the control socket is unless a configuration or an option says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/anycast/control.sock";

/// A whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The control socket.
    #[serde(default)]
    pub control: Control,
    /// What is in the kernel.
    #[serde(default)]
    pub data_plane: DataPlane,
    /// This machine is the first hop of members.
    pub router: Option<Spanned<Router>>,
    /// This machine serves anycast addresses.
    pub member: Option<Spanned<Member>>,
    /// This machine answers for clients.
    pub correspondent: Option<Spanned<Correspondent>>,
}

impl Config {
    /// The router role.
    #[must_use]
    pub fn router_role(&self) -> Option<&Router> {
        self.router.as_ref().map(Spanned::get_ref)
    }

    /// The member role.
    #[must_use]
    pub fn member_role(&self) -> Option<&Member> {
        self.member.as_ref().map(Spanned::get_ref)
    }

    /// The correspondent role.
    #[must_use]
    pub fn correspondent_role(&self) -> Option<&Correspondent> {
        self.correspondent.as_ref().map(Spanned::get_ref)
    }
}

/// `[control]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// Path of the control socket.
    pub socket: Option<Spanned<PathBuf>>,
}

/// `[data_plane]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataPlane {
    /// An orderly end leaves the programs where they are, for sessions that are pinned to go on. A
    /// crash always does.
    pub keep: bool,
    /// Flows that a correspondent pins at the same time.
    pub flows: Option<Spanned<u32>>,
    /// Bindings of a correspondent, and pairs of a client and a care-of address.
    pub bindings: Option<Spanned<u32>>,
    /// Flows of a member that come by a care-of address.
    pub member_flows: Option<Spanned<u32>>,
    /// Clients that a member knows.
    pub clients: Option<Spanned<u32>>,
    /// Packets that come in fragments at the same time.
    pub fragments: Option<Spanned<u32>>,
}

impl Default for DataPlane {
    fn default() -> Self {
        Self {
            keep: true,
            flows: None,
            bindings: None,
            member_flows: None,
            clients: None,
            fragments: None,
        }
    }
}
