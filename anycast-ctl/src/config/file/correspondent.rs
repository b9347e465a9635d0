//! `[correspondent]`

use std::{
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use serde::Deserialize;
use toml::Spanned;

use crate::{config::value::Prefix, model::program::Mode};

/// `[correspondent]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Correspondent {
    /// Links towards the clients and towards the network.
    pub interfaces: Vec<Spanned<String>>,
    /// How programs are attached.
    #[serde(default)]
    pub mode: Mode,
    /// This host is one of the clients: what it sends itself may be bound, too. TCX alone sees that.
    pub local: Option<Spanned<bool>>,
    /// The clients that this machine answers for.
    pub client_prefixes: Vec<Spanned<Prefix>>,
    /// Bindings that are kept at the same time, those included whose sequence number is remembered
    /// after their end; at most as many as `[data_plane] bindings`.
    pub max_bindings: Option<NonZeroUsize>,
    /// Anycast prefixes that may be bound; any when there is none.
    #[serde(default)]
    pub allow: Vec<Spanned<Prefix>>,
    /// File that keeps nonces from an orderly end of the daemon to its next start.
    pub state: Option<Spanned<PathBuf>>,
    /// When a pinned flow has ended.
    #[serde(default)]
    pub pins: Pins,
    /// How much is answered.
    #[serde(default)]
    pub limits: Option<Spanned<MessageLimits>>,
}

impl Correspondent {
    /// Whether this host is one of the clients.
    #[must_use]
    pub fn is_client(&self) -> bool {
        self.local.as_ref().is_some_and(|local| *local.get_ref())
    }

    /// How programs are attached: XDP does not see what this host sends.
    #[must_use]
    pub fn effective_mode(&self) -> Mode {
        match self.mode {
            Mode::Auto if self.is_client() => Mode::Tcx,
            mode => mode,
        }
    }
}

/// `[correspondent.limits]`: Test Inits per second, and as many Binding Updates beside them; twice as
/// many at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MessageLimits {
    /// To one client.
    pub client_rate: Option<NonZeroU32>,
    /// From one /64.
    pub prefix_rate: Option<NonZeroU32>,
    /// To all clients that sent a packet of late.
    pub rate: Option<NonZeroU32>,
    /// To all others.
    pub unsolicited_rate: Option<NonZeroU32>,
}

/// `[correspondent.pins]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pins {
    /// An idle TCP connection.
    #[serde(with = "humantime_serde")]
    pub tcp: Option<Duration>,
    /// An idle UDP flow.
    #[serde(with = "humantime_serde")]
    pub udp: Option<Duration>,
    /// An idle ICMPv6 echo flow.
    #[serde(with = "humantime_serde")]
    pub icmp: Option<Duration>,
    /// An idle flow of another protocol.
    #[serde(with = "humantime_serde")]
    pub other: Option<Duration>,
    /// A TCP connection that both ends closed.
    #[serde(with = "humantime_serde")]
    pub closed: Option<Duration>,
    /// The client sends and the member, which answered before, says nothing.
    #[serde(with = "humantime_serde")]
    pub failure: Option<Duration>,
}
