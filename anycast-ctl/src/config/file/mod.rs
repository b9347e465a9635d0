//! The structure of the configuration file. A key that is not known is an error.

mod correspondent;
mod member;
mod router;

use std::{net::SocketAddr, path::PathBuf};

use serde::Deserialize;
use toml::Spanned;

pub use self::{
    correspondent::{Correspondent, Fleet, Flows, MessageLimits},
    member::{Group, Handshake, Join, Listener, Member, Sessions},
    router::{NextHops, ReportLimits, Resilient, Router, RouterInterface, Rule, Timers},
};

/// Path of the control socket, unless the configuration or a command-line option says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/anycast/control.sock";

/// A whole configuration file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The control socket of the daemon.
    #[serde(default)]
    pub control: Control,
    /// BPF maps and programs in the kernel.
    #[serde(default)]
    pub data_plane: DataPlane,
    /// Router role: this machine is the first hop of members.
    pub router: Option<Spanned<Router>>,
    /// Member role: this machine serves anycast addresses.
    pub member: Option<Spanned<Member>>,
    /// Correspondent role: this machine answers members in the name of clients.
    pub correspondent: Option<Spanned<Correspondent>>,
}

impl Config {
    /// The settings of the router role, if it is configured.
    #[must_use]
    pub fn router_role(&self) -> Option<&Router> {
        self.router.as_ref().map(Spanned::get_ref)
    }

    /// The settings of the member role, if it is configured.
    #[must_use]
    pub fn member_role(&self) -> Option<&Member> {
        self.member.as_ref().map(Spanned::get_ref)
    }

    /// The settings of the correspondent role, if it is configured.
    #[must_use]
    pub fn correspondent_role(&self) -> Option<&Correspondent> {
        self.correspondent.as_ref().map(Spanned::get_ref)
    }
}

/// The `[control]` section.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// Path of the control socket.
    pub socket: Option<Spanned<PathBuf>>,
    /// Group whose users may use the socket for questions. Nobody unless given, apart from the user of the daemon and
    /// root.
    pub read_group: Option<Spanned<String>>,
    /// Where metrics are served by HTTP, such as `[::1]:9472`. Nowhere unless given.
    pub metrics: Option<Spanned<SocketAddr>>,
}

/// The `[data_plane]` section: sizes of the BPF maps, in entries.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataPlane {
    /// Whether an orderly shutdown leaves the programs attached, so that pinned sessions go on. After a crash they
    /// always stay attached.
    pub keep: bool,
    /// Correspondent: flows that can be pinned at the same time.
    pub flows: Option<Spanned<u32>>,
    /// Correspondent: bindings, and pairs of a client's address and a care-of address.
    pub bindings: Option<Spanned<u32>>,
    /// Member: flows that the member tracks because they came by its care-of address.
    pub member_flows: Option<Spanned<u32>>,
    /// Member: clients that the member knows.
    pub clients: Option<Spanned<u32>>,
    /// Packets whose first fragment is remembered at the same time.
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
