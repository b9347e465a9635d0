//! The router's policy: ordered rules, first match wins, default deny (draft host-anycast
//! section 5). The controller decides again; this keeps what is refused from costing it anything.

use anycast_common::abi::maps::{Address, DEFAULT_DENY, POLICY_RULES, PolicyRule, policy};

use crate::{
    classify::Packet,
    context::Context,
    maps::{POLICY, POLICY_HITS},
};

/// Whether the first rule that matches allows the sender to speak for `anycast`; counts what it
/// decides.
#[inline(always)]
pub(crate) fn allows<C: Context>(packet: &Packet<'_, C>, mac: [u16; 3], anycast: &Address) -> bool {
    let ifindex = packet.ctx.ingress();
    let mut decision = (DEFAULT_DENY, false);
    for index in 0..POLICY_RULES {
        let Some(rule) = POLICY.get(index) else {
            break;
        };
        if rule.action == policy::END {
            break;
        }
        if matches(rule, ifindex, mac, &packet.source, anycast) {
            decision = (rule.id, rule.action == policy::ALLOW);
            break;
        }
    }
    let (id, allow) = decision;
    if let Some(hits) = POLICY_HITS.get_ptr_mut(id) {
        // SAFETY: the slot belongs to this CPU, see `count`.
        unsafe { *hits += 1 };
    }
    allow
}

/// No short cuts: a single branch per rule keeps the verifier's paths few.
#[inline(always)]
fn matches(
    rule: &PolicyRule,
    ifindex: u32,
    mac: [u16; 3],
    source: &Address,
    anycast: &Address,
) -> bool {
    let mut difference = u64::from(rule.ifindex) * u64::from(rule.ifindex ^ ifindex);
    difference |= outside(source, &rule.source, &rule.source_mask);
    difference |= outside(anycast, &rule.anycast, &rule.anycast_mask);
    // SAFETY: both are 6 plain bytes.
    let wanted: [u16; 3] = unsafe { core::mem::transmute(rule.mac) };
    let mac_difference = (wanted[0] ^ mac[0]) | (wanted[1] ^ mac[1]) | (wanted[2] ^ mac[2]);
    difference |= u64::from(rule.match_mac) * u64::from(mac_difference);
    difference == 0
}

/// Bits in which `address` differs from the prefix.
#[inline(always)]
fn outside(address: &Address, prefix: &Address, mask: &Address) -> u64 {
    let [a0, a1] = halves(address);
    let [p0, p1] = halves(prefix);
    let [m0, m1] = halves(mask);
    ((a0 ^ p0) & m0) | ((a1 ^ p1) & m1)
}

#[inline(always)]
fn halves(address: &Address) -> [u64; 2] {
    // SAFETY: both are 16 plain bytes.
    unsafe { core::mem::transmute(*address) }
}
