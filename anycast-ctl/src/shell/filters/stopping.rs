//! Which chains of a packet filter stop packets.

use super::chain::{Packet, Table, Unread, Way};

/// A packet filter, with the commands of its rules.
#[derive(Clone, Copy)]
pub(super) enum Filter {
    Nft,
    Legacy,
}

impl Filter {
    /// What puts a rule before the others of a chain that lets the messages pass.
    pub(super) fn remedy(self, table: &str, chain: &str) -> String {
        match self {
            Self::Nft => format!("nft insert rule {table} {chain} meta l4proto 135 accept"),
            Self::Legacy => format!("ip6tables-legacy -t {table} -I {chain} -p 135 -j ACCEPT"),
        }
    }

    /// What shows a chain.
    pub(super) fn shows(self, table: &str, chain: &str) -> String {
        match self {
            Self::Nft => format!("nft list table {table}"),
            Self::Legacy => format!("ip6tables-legacy -t {table} -S {chain}"),
        }
    }
}

/// The interfaces of a way. Nothing passes by it when all of them are stopped.
pub(super) type By<'a> = (Way, Vec<&'a str>);

/// Table and name of each chain that drops the messages of one way at all interfaces of that way. `astray` is what a
/// packet has of that name.
pub(super) fn stopping(
    ways: &[By<'_>],
    astray: bool,
    read: &dyn Fn(&Packet<'_>) -> Vec<Table>,
    unread: Unread,
) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (way, names) in ways {
        let at = |interface: &&str| -> Vec<(String, String)> {
            let packet = Packet {
                interface,
                way: *way,
                astray,
            };
            let tables = read(&packet);
            let stopping = tables.iter().flat_map(|table| {
                let chains = table.stopping(packet.hooks(), unread).into_iter();
                chains.map(|chain| (table.name.clone(), chain.to_owned()))
            });
            stopping.collect()
        };
        let mut all = names.iter().map(at);
        let mut here = all.next().unwrap_or_default();
        for other in all {
            here.retain(|chain| other.contains(chain));
        }
        here.retain(|chain| !found.contains(chain));
        found.extend(here);
    }
    found
}
