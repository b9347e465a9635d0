//! Groups and care-of addresses that a reload took out of the configuration, until no session needs them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use crate::{
    config::{Config, settings},
    core::{Time, controller::Controller, member::HandshakeFilter, rr::BINDING_LIFETIME},
    model::address::Assigned,
};

/// What is still served after a reload, beside what the configuration says.
#[derive(Debug, Default)]
pub(super) struct Retiring {
    retired: Vec<Retired>,
    /// The addresses that the configuration wants assigned.
    wanted: Vec<Assigned>,
}

/// A group without its care-of address, or one that had none, that is no longer configured.
#[derive(Debug)]
pub(super) struct Retired {
    pub(super) anycast: Ipv6Addr,
    pub(super) care_of: Option<Ipv6Addr>,
    /// Until then, correspondents may bind new flows to it.
    until: Time,
    assigned: Vec<Assigned>,
}

/// A care-of address that is to stand for another anycast address, which sessions of the first would be sent to.
pub(super) fn conflict(before: &Config, now: &Config) -> Option<String> {
    let (before, now) = (care_of(before), care_of(now));
    let mut moved = now.iter().filter_map(|(care_of, anycast)| {
        let other = before.get(care_of).filter(|before| *before != anycast)?;
        Some((care_of, other, anycast))
    });
    moved.next().map(|(care_of, other, anycast)| {
        format!("care_of {care_of} stands for {other}: for {anycast} it takes a restart")
    })
}

impl Retiring {
    /// As [`conflict`], with what an earlier reload took out.
    pub(super) fn held(&self, now: &Config) -> Option<String> {
        let now = care_of(now);
        let mut held = self.retired.iter().filter_map(|retired| {
            let care_of = retired.care_of?;
            let other = now.get(&care_of).filter(|now| **now != retired.anycast)?;
            Some((care_of, retired.anycast, other))
        });
        held.next().map(|(care_of, anycast, other)| {
            format!(
                "care_of {care_of} cannot stand for {other} before the last session with {anycast} has ended"
            )
        })
    }

    /// Notes what is no longer configured, and takes up again what is.
    pub(super) fn begin(&mut self, now: Time, core: &Controller, before: &Config, after: &Config) {
        self.wanted = settings::assigned(after);
        let wanted = places(after);
        self.retired
            .retain(|retired| !wanted.contains(&(retired.anycast, retired.care_of)));
        let assigned = settings::assigned(before);
        for (anycast, care_of) in places(before).difference(&wanted) {
            let (anycast, care_of) = (*anycast, *care_of);
            if care_of.is_none() && wanted.iter().any(|(wanted, _)| *wanted == anycast) {
                // Nobody was bound, and the group stays.
                continue;
            }
            let ours = |assigned: &&Assigned| {
                assigned.address == anycast || Some(assigned.address) == care_of
            };
            self.retired.push(Retired {
                anycast,
                care_of,
                until: match care_of.is_some() && has_clients(core, now, anycast) {
                    true => now + BINDING_LIFETIME,
                    false => now,
                },
                assigned: assigned.iter().filter(ours).cloned().collect(),
            });
        }
    }

    /// The addresses that are to be assigned.
    pub(super) fn assigned(&self) -> Vec<Assigned> {
        let mut assigned = self.wanted.clone();
        for retired in self.retired.iter().flat_map(|retired| &retired.assigned) {
            if !assigned.contains(retired) {
                assigned.push(retired.clone());
            }
        }
        assigned
    }

    /// Whether something is still served.
    pub(super) fn is_waiting(&self) -> bool {
        !self.retired.is_empty()
    }

    /// Whether some of it may have ended.
    pub(super) fn is_due(&self, now: Time) -> bool {
        self.retired.iter().any(|retired| retired.until <= now)
    }

    /// Takes out what no session uses any more. `in_use` are the care-of addresses that sessions use.
    pub(super) fn over(&mut self, now: Time, in_use: &BTreeSet<Ipv6Addr>) -> Vec<Retired> {
        let over = |retired: &mut Retired| {
            let used = retired
                .care_of
                .is_some_and(|care_of| in_use.contains(&care_of));
            !used && retired.until <= now
        };
        self.retired.extract_if(.., over).collect()
    }

    /// Whether sessions with the anycast address may go on.
    pub(super) fn serves(&self, anycast: Ipv6Addr) -> bool {
        self.retired
            .iter()
            .any(|retired| retired.anycast == anycast)
    }
}

/// The anycast address of each care-of address.
fn care_of(config: &Config) -> BTreeMap<Ipv6Addr, Ipv6Addr> {
    let places = places(config).into_iter();
    places
        .filter_map(|(anycast, care_of)| Some((care_of?, anycast)))
        .collect()
}

/// The groups, each with its care-of address.
pub(super) fn places(config: &Config) -> BTreeSet<(Ipv6Addr, Option<Ipv6Addr>)> {
    let groups = settings::groups(config);
    groups
        .map(|group| {
            let care_of = group.care_of.as_ref().map(|care_of| *care_of.get_ref());
            (*group.anycast.get_ref(), care_of)
        })
        .collect()
}

/// Whether a client of the group may be bound.
fn has_clients(core: &Controller, now: Time, anycast: Ipv6Addr) -> bool {
    let which = HandshakeFilter {
        client: None,
        anycast: Some(anycast),
    };
    let page = core
        .member()
        .map(|member| member.handshakes_page(now, which, None, 1));
    page.is_some_and(|(clients, next)| !clients.is_empty() || next.is_some())
}
