//! What is fuzzed.

use clap::ValueEnum;

/// A target of fuzzing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// The IPv6 header and its extension header chain, whole and cut short
    Ipv6,
    /// ICMPv6 errors and the packets that they quote
    Icmpv6,
    /// MLD Queries, Reports and Dones
    Mld,
    /// Mobility messages, their options and the authenticator
    Mobility,
    /// Neighbor Solicitations
    Neighbor,
    /// Messages of a fleet: of a stranger, and of a gateway that has the secret
    Fleet,
    /// The controller with all roles: packets, errors, commands, and time
    Controller,
}

impl Target {
    /// Name of the target's program and of its directories.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipv6 => "ipv6",
            Self::Icmpv6 => "icmpv6",
            Self::Mld => "mld",
            Self::Mobility => "mobility",
            Self::Neighbor => "neighbor",
            Self::Fleet => "fleet",
            Self::Controller => "controller",
        }
    }

    /// Longest input in octets: a packet, or a script of several packets.
    pub(super) const fn longest(self) -> usize {
        match self {
            Self::Ipv6 | Self::Mld | Self::Mobility | Self::Neighbor => 512,
            Self::Icmpv6 => 1500,
            Self::Fleet => 1500,
            Self::Controller => 2048,
        }
    }
}
