//! Addresses that the daemon assigns: anycast addresses to `lo`, and care-of addresses to their link.
//!
//! They carry our number as their protocol (`IFA_PROTO`, Linux 5.18). So after a crash the next run recognises them as
//! its own, and never removes an address that somebody else added.

use std::{
    collections::BTreeSet,
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use super::netlink::{LinkTable, Netlink, NetlinkError};
use crate::model::address::{Assigned, Held};

/// How soon what has failed is tried again.
pub const AGAIN: Duration = Duration::from_millis(200);
/// Longest time between two tries where nothing changes.
const LONGEST: Duration = Duration::from_secs(30);

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
    /// Whether something may have changed since the last try.
    due: bool,
    /// When the last try was, and how long to wait for the next one where nothing changes, if it failed.
    failed: Option<(Instant, Duration)>,
    /// Those of them that the machine does not serve, and whose packets it routes to another member.
    sent_on: BTreeSet<Ipv6Addr>,
    /// Those that were so the last time.
    were_sent_on: BTreeSet<Ipv6Addr>,
    /// Whether what an earlier run sent on was looked for.
    looked: bool,
    /// Whether that has been said.
    failing: bool,
    /// Whether those that another host had, too, are tried once more.
    tries_duplicates: bool,
}

impl Addresses {
    /// Makes the list of wanted addresses. No address is assigned yet.
    #[must_use]
    pub const fn new(wanted: Vec<Assigned>) -> Self {
        Self {
            wanted,
            due: true,
            failed: None,
            sent_on: BTreeSet::new(),
            were_sent_on: BTreeSet::new(),
            looked: false,
            failing: false,
            tries_duplicates: false,
        }
    }

    /// Other addresses are wanted from now on.
    pub fn want(&mut self, wanted: Vec<Assigned>) {
        self.due |= self.wanted != wanted;
        self.wanted = wanted;
    }

    /// Says which of the addresses others are to reach elsewhere, by a route of this machine.
    pub fn send_on(&mut self, sent_on: BTreeSet<Ipv6Addr>) {
        self.due |= self.sent_on != sent_on;
        self.sent_on = sent_on;
    }

    /// Whether others are to reach the address elsewhere.
    #[must_use]
    pub fn is_sent_on(&self, address: Ipv6Addr) -> bool {
        self.sent_on.contains(&address)
    }

    /// Has addresses that another host had, too, tried once more: that host may be gone, and the kernel does not ask
    /// again by itself.
    pub const fn try_duplicates(&mut self) {
        self.due = true;
        self.tries_duplicates = true;
    }

    /// Notes that links or addresses have changed.
    pub const fn notified(&mut self) {
        self.due = true;
    }

    /// When to call [`reconcile`](Self::reconcile) because the last try failed. A reason why it failed may last.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let (tried, wait) = self.failed?;
        Some(tried + if self.due { AGAIN } else { wait })
    }

    /// Assigns and removes addresses until the kernel has the wanted ones, if something may have changed since the last
    /// time, or that failed and is [due](Self::due).
    pub fn reconcile(&mut self, netlink: &mut Netlink, links: &LinkTable, now: Instant) {
        let is_time = match self.due() {
            Some(due) => due <= now,
            None => self.due,
        };
        if !is_time {
            return;
        }
        self.due = false;
        let wait = self
            .failed
            .map_or(AGAIN, |(_, wait)| (wait * 2).min(LONGEST));
        let done = self.try_all(netlink, links);
        self.failed = (!done).then_some((now, wait));
    }

    /// Gives whether all is as it is to be.
    fn try_all(&mut self, netlink: &mut Netlink, links: &LinkTable) -> bool {
        let held = match netlink.addresses() {
            Ok(held) => held,
            Err(error) => {
                tracing::warn!(%error, "cannot read the addresses: trying again");
                return false;
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
        if std::mem::take(&mut self.tries_duplicates) {
            for (ifindex, wanted) in &there {
                let is_it =
                    |held: &&Held| (held.ifindex, held.address) == (*ifindex, wanted.address);
                let held = held.iter().find(is_it);
                if let Some(held) = held.filter(|held| held.ours && held.duplicate) {
                    try_anew(netlink, *held);
                }
            }
        }
        // What somebody else has assigned stays as it is.
        let is_others = |(ifindex, wanted): &&(u32, &Assigned)| {
            held.iter().any(|held| {
                !held.ours && held.ifindex == *ifindex && held.address == wanted.address
            })
        };
        let places = there.iter().filter(|place| !is_others(place));
        let places: Vec<_> = places
            .map(|(ifindex, wanted)| (*ifindex, wanted.address))
            .collect();
        self.route(netlink, &places)
    }

    /// Has packets of others to the addresses go where they are to. Gives whether they do.
    fn route(&mut self, netlink: &mut Netlink, there: &[(u32, Ipv6Addr)]) -> bool {
        if self.looked && self.sent_on.is_empty() && self.were_sent_on.is_empty() {
            return true;
        }
        let done = netlink.sent_on().and_then(|sent_on| {
            for (ifindex, address) in there {
                if self.sent_on.contains(address) {
                    // Also where it is so already: the kernel makes its routes anew when an interface goes up.
                    netlink.send_on(*ifindex, *address)?;
                } else if sent_on.contains(address) {
                    take_back(netlink, *ifindex, *address)?;
                }
            }
            // Of addresses that are no longer assigned.
            for address in sent_on {
                if !there.iter().any(|(_, there)| *there == address) {
                    netlink.take_back(None, address)?;
                }
            }
            Ok(())
        });
        match done {
            Ok(()) => {
                self.looked = true;
                self.were_sent_on.clone_from(&self.sent_on);
                self.failing = false;
            }
            // A kernel without rules has none of an earlier run.
            Err(_) if self.sent_on.is_empty() && self.were_sent_on.is_empty() => self.looked = true,
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(target: "anycast::member", %error,
                        "cannot route what is not served here: trying again");
                }
                return false;
            }
        }
        true
    }

    /// Sends nothing on any more.
    pub fn serve_all(&mut self, netlink: &mut Netlink, links: &LinkTable) {
        self.send_on(BTreeSet::new());
        self.now(netlink, links);
    }

    /// Removes all addresses of ours.
    pub fn withdraw(&mut self, netlink: &mut Netlink, links: &LinkTable) {
        self.serve_all(netlink, links);
        self.wanted.clear();
        self.due = true;
        self.now(netlink, &LinkTable::default());
    }

    /// At the end nothing is put off.
    fn now(&mut self, netlink: &mut Netlink, links: &LinkTable) {
        self.failed = None;
        self.reconcile(netlink, links, Instant::now());
    }
}

/// The kernel makes the routes of an address when it is added.
fn take_back(netlink: &mut Netlink, ifindex: u32, address: Ipv6Addr) -> Result<(), NetlinkError> {
    let held = Held {
        ifindex,
        address,
        length: 128,
        ours: true,
        preferred: false,
        duplicate: false,
    };
    netlink.remove_address(held)?;
    netlink.add_address(ifindex, address, false)?;
    netlink.take_back(Some(ifindex), address)
}

/// Duplicate address detection runs once more. That it is needed stands in `status`, and in the kernel's log.
fn try_anew(netlink: &mut Netlink, held: Held) {
    let Held {
        ifindex, address, ..
    } = held;
    let added = netlink
        .remove_address(held)
        .and_then(|()| netlink.add_address(ifindex, address, true));
    if let Err(error) = added {
        tracing::warn!(target: "anycast::member", %address, %error,
            "cannot try an address once more that another host had");
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
            duplicate: false,
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
