//! What is measured.

use clap::ValueEnum;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Benchmark {
    /// A router with 100,000 members: its core (`core`), and the path from the wire to its routes (`path`)
    Scale,
    /// Binding handshakes: the state machines of both ends (`core`), Test Inits answered by programs
    /// and by a daemon (`answers`), and between two daemons, alone (`path`) and beside a flood (`flood`)
    Handshakes,
    /// Several gateways as one: Binding Updates of others, memory, snapshots and readings of flows in virtual time
    /// (`core`); and by nats-server between daemons, Binding Updates (`updates`) and snapshots (`snapshot`)
    Fleet,
    /// Time of XDP for packets of every kind, compared with C programs that clang compiles
    Dataplane,
    /// Instructions that XDP takes for a packet, counted in a virtual machine
    Instructions,
    /// Time and memory to find one of a million bindings or four million flows
    Lookups,
    /// Packets per second from one veth to another, compared with nftables and a C program
    Forwarding,
    /// TCP through a gateway by TCX and by XDP, compared with the kernel's forwarding, with iperf3
    Tcx,
    /// Time to load the programs of each role, beside those of another build
    Loads,
    /// Time of XDP to refuse a Report
    Refused,
    /// Time of XDP for packets that meet the limits on floods
    Floods,
    /// Measures nothing: the table of what was wanted, by the results that are there
    Table,
}

impl Benchmark {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Scale => "scale",
            Self::Handshakes => "handshakes",
            Self::Fleet => "fleet",
            Self::Dataplane => "dataplane",
            Self::Instructions => "instructions",
            Self::Lookups => "lookups",
            Self::Forwarding => "forwarding",
            Self::Tcx => "tcx",
            Self::Loads => "loads",
            Self::Refused => "refused",
            Self::Floods => "floods",
            Self::Table => "table",
        }
    }

    /// Programs that a benchmark runs, and the packages that contain them.
    pub(super) fn needs(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Dataplane | Self::Handshakes | Self::Lookups => &[("clang", "clang")],
            Self::Forwarding => &[("clang", "clang"), ("nft", "nftables")],
            Self::Tcx => &[("iperf3", "iperf3")],
            _ => &[],
        }
    }
}
