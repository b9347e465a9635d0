//! Groups and care-of addresses that a reload took out of the configuration, until no session needs them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use anycast_common::abi::maps::LOCAL_GROUPS;

use super::looks::NOW_AND_THEN;
use crate::{
    config::{Config, settings},
    core::{Time, rr::BINDING_LIFETIME},
    model::address::Assigned,
};

/// What is still served after a reload, beside what the configuration says.
#[derive(Debug)]
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
    /// Not before then may it end.
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
    /// What an earlier run served and the configuration has no more, as after a reload. `in_use` are the anycast and
    /// care-of addresses by which sessions go on, `held` the addresses that the earlier run assigned.
    pub(super) fn of_last_run(
        now: Time,
        config: &Config,
        in_use: BTreeSet<(Ipv6Addr, Ipv6Addr)>,
        held: &[Assigned],
    ) -> Self {
        let (known, taken) = (places(config), care_of(config));
        let serves = |anycast| known.iter().any(|(known, _)| *known == anycast);
        // One that stands for another address now would bring it sessions that are not its own.
        let gone = in_use
            .into_iter()
            .filter(|(_, care_of)| !taken.contains_key(care_of));
        let retired = gone.map(|(anycast, care_of)| {
            let ours = |assigned: &&Assigned| {
                let is_anycast = assigned.address == anycast && !serves(anycast);
                is_anycast || assigned.address == care_of
            };
            Retired {
                anycast,
                care_of: Some(care_of),
                until: now + BINDING_LIFETIME,
                assigned: held.iter().filter(ours).cloned().collect(),
            }
        });
        Self {
            retired: retired.collect(),
            wanted: settings::assigned(config),
        }
    }

    /// The care-of addresses whose sessions may go on, each with its anycast address before it.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (Ipv6Addr, Ipv6Addr)> + '_ {
        let retired = self.retired.iter();
        retired.filter_map(|retired| Some((retired.anycast, retired.care_of?)))
    }

    /// As [`conflict`], with what an earlier reload took out. All together have to fit into the map of the programs.
    pub(super) fn held(&self, before: &Config, now: &Config) -> Option<String> {
        let now = care_of(now);
        let retired = self.retired.iter().filter_map(|retired| retired.care_of);
        let mut all: BTreeSet<_> = care_of(before).into_keys().chain(retired).collect();
        all.extend(now.keys());
        if all.len() > LOCAL_GROUPS as usize {
            return Some(format!(
                "{} care-of addresses, with those that go and that sessions may still use, are more than the \
                 {LOCAL_GROUPS} that the programs hold",
                all.len()
            ));
        }
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

    /// Notes what is no longer configured, and takes up again what is. Nothing ends before correspondents have stopped
    /// to bind new flows to it, and routers, which ask first, have long moved the route.
    pub(super) fn begin(&mut self, now: Time, before: &Config, after: &Config) {
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
                until: now + BINDING_LIFETIME,
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

    /// Takes out what no session uses any more. `in_use` are the care-of addresses that sessions use. Whether the
    /// others have ended is not asked again at once: it takes a read of all flows, and sessions may last for days.
    pub(super) fn over(&mut self, now: Time, in_use: &BTreeSet<Ipv6Addr>) -> Vec<Retired> {
        let over = |retired: &mut Retired| {
            if retired.until > now {
                return false;
            }
            let used = retired
                .care_of
                .is_some_and(|care_of| in_use.contains(&care_of));
            if used {
                retired.until = now + NOW_AND_THEN;
            }
            !used
        };
        self.retired.extract_if(.., over).collect()
    }

    /// The anycast addresses with which sessions may go on.
    pub(super) fn anycast(&self) -> impl Iterator<Item = Ipv6Addr> + '_ {
        self.retired.iter().map(|retired| retired.anycast)
    }

    /// Whether sessions by this care-of address may go on.
    pub(super) fn has(&self, anycast: Ipv6Addr, care_of: Ipv6Addr) -> bool {
        self.pairs().any(|pair| pair == (anycast, care_of))
    }

    /// Whether sessions with the anycast address may go on.
    pub(super) fn serves(&self, anycast: Ipv6Addr) -> bool {
        self.anycast().any(|retired| retired == anycast)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const B: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);
    const C: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, 0xc1);
    const SECOND: Duration = Duration::from_secs(1);
    /// A router asks twice, a second apart, and again where another is the Querier, before it moves the route.
    const MOVED: Duration = Duration::from_secs(4);

    /// A group that is not assigned.
    const OTHER: &str = "[[member.group]]\nanycast = \"2001:db8:a::99\"\n";

    fn config(groups: &str) -> Config {
        let groups = if groups.is_empty() { OTHER } else { groups };
        let text = format!("[member]\ninterfaces = [\"eth0\"]\n{groups}");
        crate::config::parse(&text, "x.toml").expect("right")
    }

    fn group(lines: &str) -> String {
        format!("[[member.group]]\nanycast = \"{B}\"\nassign = true\n{lines}\n")
    }

    fn none() -> Retiring {
        Retiring::of_last_run(Time::ZERO, &config(""), BTreeSet::new(), &[])
    }

    fn held(retiring: &Retiring) -> Vec<Ipv6Addr> {
        let assigned = retiring.assigned().into_iter();
        assigned.map(|assigned| assigned.address).collect()
    }

    #[test]
    fn a_group_that_nobody_was_bound_to_stays_until_routers_have_moved_the_route() {
        let with = format!("care_of = \"{C}\"");
        for (lines, addresses) in [("", vec![B]), (&*with, vec![B, C])] {
            let (mut retiring, begin) = (none(), Time::ZERO + SECOND);
            retiring.begin(begin, &config(&group(lines)), &config(""));
            for now in [begin, begin + MOVED] {
                assert!(!retiring.is_due(now), "{lines} at {now:?}");
                assert!(retiring.over(now, &BTreeSet::new()).is_empty());
            }
            assert_eq!(held(&retiring), addresses);
            let end = begin + BINDING_LIFETIME;
            assert!(retiring.is_due(end));
            assert_eq!(retiring.over(end, &BTreeSet::new()).len(), 1);
            assert_eq!((held(&retiring), retiring.is_waiting()), (vec![], false));
        }
    }

    #[test]
    fn a_restart_keeps_what_sessions_use_of_what_a_reload_took_out() {
        let address = |address, interface: &str| Assigned {
            address,
            interface: interface.to_owned(),
            detect_duplicates: address == C,
        };
        let left = [address(B, "lo"), address(C, "eth0")];
        let in_use = BTreeSet::from([(B, C)]);
        let start = |groups: &str, in_use| {
            Retiring::of_last_run(Time::ZERO, &config(groups), in_use, &left)
        };
        let other = group("care_of = \"2001:db8:20::c9\"").replace("assign = true", "");
        let taken = group(&format!("care_of = \"{C}\"")).replace("::53", "::54");
        for (name, groups, in_use, addresses, pairs) in [
            ("nobody uses it", "", BTreeSet::new(), vec![], 0),
            ("gone", "", in_use.clone(), vec![B, C], 1),
            ("has another C", &*other, in_use.clone(), vec![C], 1),
            (
                "C is another's",
                &*taken,
                in_use,
                vec!["2001:db8:a::54".parse().expect("one"), C],
                0,
            ),
        ] {
            let retiring = start(groups, in_use);
            assert_eq!(held(&retiring), addresses, "{name}");
            assert_eq!(retiring.pairs().count(), pairs, "{name}");
        }
    }

    #[test]
    fn care_of_addresses_that_sessions_may_use_count_for_the_room_in_the_programs() {
        let groups = |from: u32, to: u32| {
            let group = |number| {
                format!(
                    "[[member.group]]\nanycast = \"2001:db8:a::{number:x}\"\ncare_of = \"2001:db8:20::{number:x}\"\n"
                )
            };
            config(&(from..=to).map(group).collect::<String>())
        };
        let (retiring, before) = (none(), groups(1, 10));
        assert_eq!(retiring.held(&before, &groups(11, LOCAL_GROUPS)), None);
        let refused = retiring.held(&before, &groups(11, LOCAL_GROUPS + 1));
        assert!(refused.is_some_and(|reason| reason.contains("more than the 4096")));
    }

    #[test]
    fn flows_are_not_read_every_second_for_a_session_that_goes_on() {
        let group = group(&format!("care_of = \"{C}\""));
        let mut retiring = none();
        retiring.begin(Time::ZERO, &config(&group), &config(""));
        let in_use = BTreeSet::from([C]);
        let mut reads = 0;
        for second in 0..600 {
            let now = Time::ZERO + SECOND * second;
            if retiring.is_due(now) {
                reads += 1;
                assert!(retiring.over(now, &in_use).is_empty());
            }
        }
        assert!((15..=20).contains(&reads), "{reads} in ten minutes");
        assert_eq!(held(&retiring), [B, C]);
        // And what has ended is noticed.
        let now = Time::ZERO + SECOND * 600 + NOW_AND_THEN;
        assert!(retiring.is_due(now));
        assert_eq!(retiring.over(now, &BTreeSet::new()).len(), 1);
    }
}
