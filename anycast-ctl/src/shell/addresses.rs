//! Addresses that the daemon assigns: anycast addresses to `lo`, and care-of addresses to their link.
//!
//! They carry our number as their protocol (`IFA_PROTO`, Linux 5.18). So after a crash the next run recognises them as
//! its own, and never removes an address that somebody else added.

use std::net::Ipv6Addr;

use super::netlink::{LinkTable, Netlink, NetlinkError};
use crate::model::address::{Assigned, Held};

/// One change of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Add an address, or correct its lifetime.
    Add {
        /// Index of its interface.
        ifindex: u32,
        /// The address.
        address: Ipv6Addr,
        /// Whether the kernel runs duplicate address detection.
        detect_duplicates: bool,
    },
    /// Remove an address of ours that is no longer wanted.
    Remove(Held),
}

/// Gives the changes by which the kernel gets the wanted addresses, which are given as `(interface index, address)`. An
/// address that exists already is accepted, whoever added it. Only our own addresses are removed,
/// or put right.
#[must_use]
pub fn diff(wanted: &[(u32, &Assigned)], held: &[Held]) -> Vec<Change> {
    let same = |held: &Held, (ifindex, wanted): &(u32, &Assigned)| {
        held.ifindex == *ifindex && held.address == wanted.address
    };
    let strays = held
        .iter()
        .filter(|held| held.ours && !wanted.iter().any(|wanted| same(held, wanted)))
        .map(|held| Change::Remove(*held));
    let missing = wanted
        .iter()
        .filter(|wanted| {
            let right = |held: &&Held| same(held, wanted) && !(held.ours && held.preferred);
            !held.iter().any(|held| right(&held))
        })
        .map(|(ifindex, wanted)| Change::Add {
            ifindex: *ifindex,
            address: wanted.address,
            detect_duplicates: wanted.detect_duplicates,
        });
    strays.chain(missing).collect()
}

/// The addresses that this run assigns.
#[derive(Debug, Default)]
pub struct Addresses {
    wanted: Vec<Assigned>,
    due: bool,
}

impl Addresses {
    /// Makes the list of wanted addresses. No address is assigned yet.
    #[must_use]
    pub const fn new(wanted: Vec<Assigned>) -> Self {
        Self { wanted, due: true }
    }

    /// Notes that links or addresses have changed.
    pub const fn notified(&mut self) {
        self.due = true;
    }

    /// Assigns and removes addresses until the kernel has the wanted ones, if something may have changed since the last
    /// time. Gives whether that has to be tried again soon.
    pub fn reconcile(&mut self, netlink: &mut Netlink, links: &LinkTable) -> bool {
        if !std::mem::take(&mut self.due) {
            return false;
        }
        let held = match netlink.addresses() {
            Ok(held) => held,
            Err(error) => {
                tracing::warn!(%error, "cannot read the addresses: trying again");
                self.due = true;
                return true;
            }
        };
        let there: Vec<_> = self
            .wanted
            .iter()
            .filter_map(|wanted| Some((links.index_of(&wanted.interface)?, wanted)))
            .collect();
        for change in diff(&there, &held) {
            apply(netlink, change);
        }
        false
    }

    /// Removes all addresses of ours.
    pub fn withdraw(&mut self, netlink: &mut Netlink) {
        self.wanted.clear();
        self.due = true;
        self.reconcile(netlink, &LinkTable::default());
    }
}

fn apply(netlink: &mut Netlink, change: Change) {
    let (address, result): (Ipv6Addr, Result<(), NetlinkError>) = match change {
        Change::Add {
            ifindex,
            address,
            detect_duplicates,
        } => {
            let result = netlink.add_address(ifindex, address, detect_duplicates);
            (address, result)
        }
        Change::Remove(held) => (held.address, netlink.remove_address(held)),
    };
    match result {
        Ok(()) => tracing::info!(target: "anycast::member", ?change, "address"),
        Err(error) => {
            tracing::warn!(target: "anycast::member", %address, %error, "cannot change an address: trying again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const B: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);
    const C: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, 0xc1);

    fn assigned(address: Ipv6Addr, interface: &str) -> Assigned {
        Assigned {
            address,
            interface: interface.into(),
            detect_duplicates: address == C,
        }
    }

    fn held(ifindex: u32, address: Ipv6Addr, ours: bool) -> Held {
        Held {
            ifindex,
            address,
            length: 128,
            ours,
            preferred: !ours,
        }
    }

    #[test]
    fn only_ours_are_removed_and_only_what_is_missing_is_added() {
        let (b, c) = (assigned(B, "lo"), assigned(C, "eth0"));
        let wanted = [(1, &b), (2, &c)];
        let add = |ifindex, address| Change::Add {
            ifindex,
            address,
            detect_duplicates: address == C,
        };
        let rows = [
            ("nothing there", vec![], vec![add(1, B), add(2, C)]),
            (
                "ours after a crash",
                vec![held(1, B, true), held(2, C, true)],
                vec![],
            ),
            (
                "of the administrator",
                vec![held(1, B, false), held(2, C, false)],
                vec![],
            ),
            (
                "ours of an earlier version",
                vec![
                    Held {
                        preferred: true,
                        ..held(1, B, true)
                    },
                    held(2, C, true),
                ],
                vec![add(1, B)],
            ),
            (
                "on another interface",
                vec![held(3, B, false), held(2, C, true)],
                vec![add(1, B)],
            ),
            (
                "ours on another interface",
                vec![held(3, B, true), held(2, C, true), held(1, B, true)],
                vec![Change::Remove(held(3, B, true))],
            ),
        ];
        for (name, held, expected) in rows {
            assert_eq!(diff(&wanted, &held), expected, "{name}");
        }
        let all = [held(1, B, true), held(2, C, false)];
        assert_eq!(diff(&[], &all), [Change::Remove(held(1, B, true))]);
    }
}
