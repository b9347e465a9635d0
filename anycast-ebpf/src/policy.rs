//! The router's policy: ordered rules, first match wins, default deny (draft host-anycast
//! section 5). The controller decides again; this keeps what is refused from costing it anything.
//!
//! How the rules are laid out is in `anycast_common::abi::policy`.

use anycast_common::abi::{
    maps::{Address, DEFAULT_DENY},
    policy::{ALLOWED, PIECES, Policy, Rules, STEPS, reaches, reaches_number},
};

use crate::{
    context::{Context, Packet},
    hints::policy_age,
    maps::{POLICY, POLICY_HITS},
};

/// Bits of an index of a piece.
const PIECE: u64 = PIECES as u64 - 1;

/// What the policy says.
#[derive(Clone, Copy)]
pub(crate) struct Decision {
    /// Number of the rule, or [`DEFAULT_DENY`].
    pub rule: u32,
    pub allow: bool,
}

/// What the first rule that matches says of a sender that speaks for `anycast`; counts it.
#[inline(always)]
pub(crate) fn decide<C: Context>(packet: &Packet<'_, C>, mac: u64, anycast: &Address) -> Decision {
    let ifindex = packet.ctx.ingress();
    let packed = search(&packet.source, anycast, mac, ifindex);
    let rule = packed & !ALLOWED;
    hit(rule);
    Decision {
        rule,
        allow: packed & ALLOWED != 0,
    }
}

/// Counts what a rule decides.
#[inline(always)]
pub(crate) fn hit(rule: u32) {
    if let Some(hits) = POLICY_HITS.get_ptr_mut(rule) {
        // SAFETY: the slot belongs to this CPU, see `count`.
        unsafe { *hits += 1 };
    }
}

/// The verdict as one register: the number of the rule, and [`ALLOWED`]. A policy may be replaced while this reads the
/// old one, which stays as it is. If it is replaced twice in that time, this may refuse what both would allow, or have
/// the controller refuse it.
#[inline(always)]
pub(crate) fn search(source: &Address, anycast: &Address, mac: u64, ifindex: u32) -> u32 {
    // SAFETY: both are there.
    unsafe { policy_search(source, anycast, mac, ifindex) }
}

/// A global function, which the verifier follows once.
///
/// # Safety
///
/// Both addresses must be there.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn policy_search(
    source: *const Address,
    anycast: *const Address,
    mac: u64,
    ifindex: u32,
) -> u32 {
    // SAFETY: by the caller; the verifier cannot know that they are there.
    let (Some(source), Some(anycast)) = (unsafe { (source.as_ref(), anycast.as_ref()) }) else {
        return DEFAULT_DENY;
    };
    let Some(policy) = POLICY.get(policy_age() as u32 & 1) else {
        return DEFAULT_DENY;
    };
    let address = &policy.anycast;
    let key = numbers(anycast);
    let at = bisect(policy.steps.anycast, |at| reaches(key, address.cuts[at]));
    let mut rules = address.rules[at];
    // Most of what is forged ends here, as it ends at the source where one rule names many.
    if is_empty(&rules) {
        return DEFAULT_DENY;
    }
    let address = &policy.source;
    let key = numbers(source);
    let at = bisect(policy.steps.source, |at| reaches(key, address.cuts[at]));
    keep(&mut rules, &address.rules[at]);
    if is_empty(&rules) {
        return DEFAULT_DENY;
    }
    let number = &policy.ethernet;
    let at = bisect(policy.steps.ethernet, |at| {
        reaches_number(mac, number.cuts[at])
    });
    keep(&mut rules, &number.rules[at]);
    let number = &policy.interface;
    let key = u64::from(ifindex);
    let at = bisect(policy.steps.interface, |at| {
        reaches_number(key, number.cuts[at])
    });
    keep(&mut rules, &number.rules[at]);
    first(policy, &rules)
}

/// The last piece whose cut is reached. `half` is a power of two, or 0 for a single piece.
#[inline(always)]
fn bisect(half: u64, reaches: impl Fn(usize) -> u64) -> usize {
    let (mut at, mut half) = (0, half);
    for _ in 0..STEPS {
        if half == 0 {
            break;
        }
        let there = reaches(((at + half) & PIECE) as usize);
        at += half * there;
        half >>= 1;
    }
    (at & PIECE) as usize
}

#[inline(always)]
fn keep(rules: &mut Rules, others: &Rules) {
    for (word, other) in rules.iter_mut().zip(others) {
        *word &= other;
    }
}

#[inline(always)]
fn is_empty(rules: &Rules) -> bool {
    rules.iter().fold(0, |all, word| all | word) == 0
}

/// The verdict of the first rule that is left.
#[inline(always)]
fn first(policy: &Policy, rules: &Rules) -> u32 {
    for (index, word) in rules.iter().enumerate() {
        if *word != 0 {
            let rule = index * 64 + (word.trailing_zeros() as usize & 63);
            return policy.verdicts[rule];
        }
    }
    DEFAULT_DENY
}

/// The halves of an address as numbers.
#[inline(always)]
fn numbers(address: &Address) -> [u64; 2] {
    // SAFETY: both are 16 plain bytes.
    let [high, low]: [u64; 2] = unsafe { core::mem::transmute(*address) };
    [u64::from_be(high), u64::from_be(low)]
}
