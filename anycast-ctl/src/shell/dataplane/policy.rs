//! Compiles the router's rules for the programs. `anycast_common::abi::policy` describes how the programs search in
//! them.
#![allow(
    clippy::cast_possible_truncation,
    reason = "halves of addresses, numbers below 2^63, and indices below 512"
)]

use anycast_common::abi::{
    maps::{Address, DEFAULT_DENY, POLICY_RULES, PolicyRule, policy},
    policy::{AGE_SECTION, ALLOWED, Addresses, Numbers, PIECES, Policy, Rules, Steps, ethernet},
};
use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use zerocopy::FromZeros as _;

use super::{
    access::{failed, take},
    error::DataplaneError,
};

const MAP: &str = "POLICY";
const AGE: &str = AGE_SECTION;

/// The maps of the policy.
pub(super) struct Table {
    policy: Array<MapData, Policy>,
    age: Array<MapData, u64>,
}

impl Table {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, DataplaneError> {
        Ok(Self {
            policy: take(ebpf, MAP)?,
            age: take(ebpf, AGE)?,
        })
    }

    /// Replaces all rules at once. A packet is judged either by the old rules or by the new ones.
    pub(super) fn set(&mut self, rules: &[PolicyRule]) -> Result<(), DataplaneError> {
        let compiled = compile(rules)?;
        let next = self.age.get(&0, 0).map_err(failed(AGE))?.wrapping_add(1);
        let index = u32::from(next % 2 == 1);
        self.policy
            .set(index, compiled.as_ref(), 0)
            .map_err(failed(MAP))?;
        self.age.set(0, next, 0).map_err(failed(AGE))
    }
}

fn compile(rules: &[PolicyRule]) -> Result<Box<Policy>, DataplaneError> {
    let too_many = || DataplaneError::TooManyRules(rules.len());
    if rules.len() >= POLICY_RULES as usize {
        return Err(too_many());
    }
    let mut table = Policy::new_box_zeroed().map_err(|_| too_many())?;
    table.verdicts.fill(DEFAULT_DENY);
    for (verdict, rule) in table.verdicts.iter_mut().zip(rules) {
        let allowed = if rule.action == policy::ALLOW {
            ALLOWED
        } else {
            0
        };
        *verdict = rule.id | allowed;
    }
    let ranges = |range: fn(&PolicyRule) -> (u128, u128)| rules.iter().map(range).collect();
    let table_ref = table.as_mut();
    table_ref.steps = Steps {
        anycast: addresses(
            &mut table_ref.anycast,
            ranges(|rule| prefix(&rule.anycast, &rule.anycast_mask)),
        ),
        source: addresses(
            &mut table_ref.source,
            ranges(|rule| prefix(&rule.source, &rule.source_mask)),
        ),
        ethernet: numbers(
            &mut table_ref.ethernet,
            ranges(|rule| value((rule.match_mac != 0).then(|| ethernet(rule.mac)))),
        ),
        interface: numbers(
            &mut table_ref.interface,
            ranges(|rule| value((rule.ifindex != 0).then_some(rule.ifindex.into()))),
        ),
    };
    Ok(table)
}

/// First and last address of a prefix.
fn prefix(address: &Address, mask: &Address) -> (u128, u128) {
    let (address, mask) = (u128::from_be_bytes(*address), u128::from_be_bytes(*mask));
    (address & mask, address | !mask)
}

/// The range of one value, or of all values.
fn value(value: Option<u64>) -> (u128, u128) {
    value.map_or((0, u128::MAX), |value| (value.into(), value.into()))
}

fn addresses(axis: &mut Addresses, ranges: Vec<(u128, u128)>) -> u64 {
    let halves = |cut: u128| [(cut >> 64) as u64, cut as u64];
    axis.cuts.fill(halves(u128::MAX));
    let pieces = cut(&ranges);
    for (index, (from, rules)) in pieces.iter().enumerate() {
        axis.cuts[index] = halves(*from);
        axis.rules[index] = *rules;
    }
    first_step(pieces.len())
}

fn numbers(axis: &mut Numbers, ranges: Vec<(u128, u128)>) -> u64 {
    axis.cuts.fill(u64::MAX >> 1);
    let pieces = cut(&ranges);
    for (index, (from, rules)) in pieces.iter().enumerate() {
        axis.cuts[index] = *from as u64;
        axis.rules[index] = *rules;
    }
    first_step(pieces.len())
}

/// Cuts an axis into pieces: where each piece begins, and which of the ranges (including their ends) cover it.
fn cut(ranges: &[(u128, u128)]) -> Vec<(u128, Rules)> {
    let after = ranges.iter().filter_map(|(_, last)| last.checked_add(1));
    let mut cuts: Vec<u128> = ranges
        .iter()
        .map(|(first, _)| *first)
        .chain(after)
        .collect();
    cuts.push(0);
    cuts.sort_unstable();
    cuts.dedup();
    debug_assert!(cuts.len() <= PIECES, "two for each rule, and the beginning");
    let holding = |at: u128| {
        let mut rules = Rules::default();
        for (index, (first, last)) in ranges.iter().enumerate() {
            if (*first..=*last).contains(&at) {
                rules[index / 64] |= 1 << (index % 64);
            }
        }
        (at, rules)
    };
    cuts.into_iter().map(holding).collect()
}

/// First step of the binary search: half of the next power of two.
const fn first_step(pieces: usize) -> u64 {
    (pieces.next_power_of_two() / 2) as u64
}

#[cfg(test)]
mod tests {
    use anycast_common::abi::policy::{reaches, reaches_number};
    use proptest::prelude::*;

    use super::*;

    /// Rules that often overlap: they use few values, and prefixes of each other.
    fn rule() -> impl Strategy<Value = PolicyRule> {
        let address = || (address(), 0_u32..=128);
        (
            address(),
            address(),
            0_u32..3,
            0_u8..3,
            1_u8..=2,
            any::<bool>(),
        )
            .prop_map(|(source, anycast, ifindex, mac, action, match_mac)| {
                let mask = |length: u32| u128::MAX.checked_shl(128 - length).unwrap_or(0);
                let (source_mask, anycast_mask) = (mask(source.1), mask(anycast.1));
                PolicyRule {
                    source: (source.0 & source_mask).to_be_bytes(),
                    source_mask: source_mask.to_be_bytes(),
                    anycast: (anycast.0 & anycast_mask).to_be_bytes(),
                    anycast_mask: anycast_mask.to_be_bytes(),
                    ifindex,
                    action,
                    match_mac: match_mac.into(),
                    mac: [2, 0, 0, 0, 0, mac],
                    id: 0,
                }
            })
    }

    /// The ends of every range, and the addresses next to them.
    fn address() -> impl Strategy<Value = u128> {
        let bit = (0_u32..128).prop_map(|bit| 1 << bit);
        prop_oneof![
            Just(0),
            Just(u128::MAX - 1),
            bit.clone(),
            bit.prop_map(|bit: u128| bit - 1)
        ]
    }

    /// The decision of the rules when they are compared one after the other.
    fn by_hand(rules: &[PolicyRule], packet: (u128, u128, [u8; 6], u32)) -> u32 {
        let within = |address: u128, prefix: &Address, mask: &Address| {
            address & u128::from_be_bytes(*mask) == u128::from_be_bytes(*prefix)
        };
        let (source, anycast, mac, ifindex) = packet;
        let found = rules.iter().find(|rule| {
            within(source, &rule.source, &rule.source_mask)
                && within(anycast, &rule.anycast, &rule.anycast_mask)
                && (rule.match_mac == 0 || rule.mac == mac)
                && (rule.ifindex == 0 || rule.ifindex == ifindex)
        });
        found.map_or(DEFAULT_DENY, |rule| {
            rule.id
                | if rule.action == policy::ALLOW {
                    ALLOWED
                } else {
                    0
                }
        })
    }

    /// The decision that the programs find in the table.
    fn by_table(policy: &Policy, packet: (u128, u128, [u8; 6], u32)) -> u32 {
        fn bisect(mut half: u64, reaches: impl Fn(usize) -> u64) -> usize {
            let mut at = 0;
            while half > 0 {
                at += half * reaches((at + half) as usize);
                half /= 2;
            }
            at as usize
        }
        let halves = |address: u128| [(address >> 64) as u64, address as u64];
        let (source, anycast, mac, ifindex) = packet;
        let Steps {
            anycast: a,
            source: s,
            ethernet: e,
            interface: i,
        } = policy.steps;
        let sets = [
            policy.anycast.rules[bisect(a, |at| reaches(halves(anycast), policy.anycast.cuts[at]))],
            policy.source.rules[bisect(s, |at| reaches(halves(source), policy.source.cuts[at]))],
            policy.ethernet.rules[bisect(e, |at| {
                reaches_number(ethernet(mac), policy.ethernet.cuts[at])
            })],
            policy.interface.rules[bisect(i, |at| {
                reaches_number(ifindex.into(), policy.interface.cuts[at])
            })],
        ];
        (0..256)
            .find(|rule| {
                sets.iter()
                    .all(|rules| rules[rule / 64] >> (rule % 64) & 1 == 1)
            })
            .map_or(DEFAULT_DENY, |rule| policy.verdicts[rule])
    }

    proptest! {
        #[test]
        fn the_table_decides_as_the_rules_in_order(
            rules in prop::collection::vec(rule(), 0..255),
            packets in prop::collection::vec((address(), address(), 0_u8..3, 0_u32..3), 20),
        ) {
            let rules: Vec<_> = (0..).zip(rules).map(|(id, rule)| PolicyRule { id, ..rule }).collect();
            let table = compile(&rules).expect("few enough");
            for (source, anycast, mac, ifindex) in packets {
                let packet = (source, anycast, [2, 0, 0, 0, 0, mac], ifindex);
                prop_assert_eq!(by_table(&table, packet), by_hand(&rules, packet));
            }
        }

        #[test]
        fn comparing_without_branches_compares(a: [u64; 2], b: [u64; 2], same: bool) {
            let b = if same { [a[0], b[1]] } else { b };
            prop_assert_eq!(reaches(a, b), u64::from(a >= b));
            prop_assert_eq!(reaches(a, a), 1);
            let (a, b) = (a[0] >> 1, b[1] >> 1);
            prop_assert_eq!(reaches_number(a, b), u64::from(a >= b));
        }
    }

    #[test]
    fn every_piece_fits_however_many_rules_there_are() {
        let rules: Vec<_> = (1..=255_u32)
            .map(|id| PolicyRule {
                source: (u128::from(id) << 32).to_be_bytes(),
                source_mask: [0xff; 16],
                anycast: (u128::from(id) << 64).to_be_bytes(),
                anycast_mask: [0xff; 16],
                ifindex: 2 * id,
                action: policy::ALLOW,
                match_mac: 1,
                mac: [2, 0, 0, 0, id.to_be_bytes()[3], 1],
                id: id - 1,
            })
            .collect();
        let table = compile(&rules).expect("few enough");
        for (id, rule) in (0..).zip(&rules) {
            let packet = (
                u128::from_be_bytes(rule.source),
                u128::from_be_bytes(rule.anycast),
                rule.mac,
                rule.ifindex,
            );
            assert_eq!(by_table(&table, packet), id | ALLOWED);
            let other = (packet.0 + 1, packet.1, packet.2, packet.3);
            assert_eq!(by_table(&table, other), DEFAULT_DENY);
        }
        let mut rules = rules;
        rules.push(rules[0]);
        assert!(matches!(
            compile(&rules),
            Err(DataplaneError::TooManyRules(256))
        ));
    }
}
