//! The `[correspondent]` section of the configuration file.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use serde::Deserialize;
use toml::Spanned;

use crate::{
    config::value::Prefix,
    model::program::{Forward, Mode},
};

/// The `[correspondent]` section: this machine answers the return routability messages of members in the name of
/// clients. It is a gateway in front of the clients, or a client's own host.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Correspondent {
    /// Links towards the clients and towards the network.
    pub interfaces: Vec<Spanned<String>>,
    /// How programs are attached.
    #[serde(default)]
    pub mode: Mode,
    /// Who forwards packets of bound flows.
    #[serde(default)]
    pub forward: Forward,
    /// This host is itself one of the clients, so that its own packets may be bound as well. Only TCX sees those
    /// packets.
    pub local: Option<Spanned<bool>>,
    /// Prefixes of the clients that this correspondent answers for.
    pub client_prefixes: Vec<Spanned<Prefix>>,
    /// Largest number of bindings at the same time, at most `[data_plane] bindings`. A binding that has ended does not
    /// count.
    pub max_bindings: Option<NonZeroUsize>,
    /// Largest number of bindings for the clients of one /64. Unless given, it is a quarter of `max_bindings`, or all
    /// of them where all clients are in one /64.
    pub max_bindings_per_prefix: Option<NonZeroUsize>,
    /// Largest number of bindings for one care-of address. Unless given, it is three quarters of `max_bindings`.
    pub max_bindings_per_member: Option<NonZeroUsize>,
    /// Prefixes of the anycast addresses that may be bound. An empty list allows every address.
    #[serde(default)]
    pub allow: Vec<Spanned<Prefix>>,
    /// File that keeps the correspondent's nonces from an orderly shutdown until the next start.
    pub state: Option<Spanned<PathBuf>>,
    /// When a bound flow counts as ended.
    #[serde(default, alias = "pins")]
    pub flows: Flows,
    /// The fleet that this correspondent belongs to: gateways that act as one.
    pub fleet: Option<Fleet>,
    /// Limits on how many messages the correspondent answers.
    #[serde(default)]
    pub limits: Option<Spanned<MessageLimits>>,
}

impl Correspondent {
    /// Whether this host is one of the clients.
    #[must_use]
    pub fn is_client(&self) -> bool {
        self.local.as_ref().is_some_and(|local| *local.get_ref())
    }

    /// How programs are attached. A host that is itself a client needs TCX, since XDP does not see what the host sends;
    /// and the kernel forwards what TCX has changed.
    #[must_use]
    pub fn effective_mode(&self) -> Mode {
        match (self.mode, self.forward) {
            (_, Forward::Kernel) => Mode::Tcx,
            (Mode::Auto, Forward::Mode) if self.is_client() => Mode::Tcx,
            (mode, Forward::Mode) => mode,
        }
    }
}

/// The `[correspondent.fleet]` section: several correspondents that act as one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fleet {
    /// File with the secret of the fleet: 32 octets or more, for root alone. White space at its end does not count.
    pub secret: Spanned<PathBuf>,
    /// File with another secret that is accepted besides, while the fleet changes its secret.
    pub previous: Option<Spanned<PathBuf>>,
    /// Servers of NATS, by which the gateways tell each other of bindings and flows: `nats://HOST:PORT`, or
    /// `tls://HOST:PORT`. An empty list is no bus.
    #[serde(default)]
    pub servers: Vec<Spanned<String>>,
    /// The name of this gateway, for people. Unless given, it is the name of the host.
    pub name: Option<Spanned<String>>,
    /// What the subjects of the fleet begin with.
    pub subject: Option<Spanned<String>>,
    /// File with what this gateway proves itself with to the servers, as `nsc generate creds` makes it.
    pub credentials: Option<Spanned<PathBuf>>,
    /// File with certificates of authorities that sign those of the servers, beside those of the system.
    pub authorities: Option<Spanned<PathBuf>>,
    /// File with this gateway's own certificate, for the servers.
    pub certificate: Option<Spanned<PathBuf>>,
    /// File with the key of that certificate.
    pub key: Option<Spanned<PathBuf>>,
}

/// The `[correspondent.limits]` section. Each rate is the number of Test Inits per second, and the same number of
/// Binding Updates is allowed besides. Twice the rate is allowed at once (token bucket).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MessageLimits {
    /// Test Inits to one client per second.
    pub client_rate: Option<NonZeroU32>,
    /// Test Inits from one /64 prefix of senders per second.
    pub prefix_rate: Option<NonZeroU32>,
    /// Test Inits per second to all clients that recently sent a packet to an anycast address.
    pub rate: Option<NonZeroU32>,
    /// Test Inits per second to all other clients.
    pub unsolicited_rate: Option<NonZeroU32>,
}

/// The `[correspondent.flows]` section: how long a flow that is bound to a member may be silent before it counts as
/// ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Flows {
    /// Idle time of a TCP connection.
    #[serde(with = "humantime_serde")]
    pub tcp: Option<Duration>,
    /// Idle time of a UDP flow.
    #[serde(with = "humantime_serde")]
    pub udp: Option<Duration>,
    /// Idle time of an ICMPv6 echo flow.
    #[serde(with = "humantime_serde")]
    pub icmp: Option<Duration>,
    /// Idle time of a flow of another protocol.
    #[serde(with = "humantime_serde")]
    pub other: Option<Duration>,
    /// Time after which a TCP connection that both ends have closed has ended.
    #[serde(with = "humantime_serde")]
    pub closed: Option<Duration>,
    /// Time after which a member has failed that answered before and no longer answers a client that keeps sending.
    #[serde(with = "humantime_serde")]
    pub failure: Option<Duration>,
}
