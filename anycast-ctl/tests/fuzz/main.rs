//! What fuzzing looks for, tried with every recorded packet, with the corpus, and with everything
//! that fuzzing once found. No fuzzer is needed; `cargo xtask fuzz` is where it runs.

#[path = "../../fuzz/src/targets/mod.rs"]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};

use xtask::fuzz::{Target, inputs};

/// Shows a target everything that is known of it.
fn replay(target: Target, run: fn(&[u8])) {
    let inputs = inputs(target).expect("fixtures and corpus");
    let broken: Vec<_> = inputs
        .iter()
        .filter(|(_, octets)| catch_unwind(AssertUnwindSafe(|| run(octets))).is_err())
        .map(|(name, _)| name)
        .collect();
    assert!(broken.is_empty(), "{}: {broken:?}", target.name());
}

#[test]
fn ipv6() {
    replay(Target::Ipv6, targets::ipv6);
}

#[test]
fn icmpv6() {
    replay(Target::Icmpv6, targets::icmpv6);
}

#[test]
fn mld() {
    replay(Target::Mld, targets::mld);
}

#[test]
fn mobility() {
    replay(Target::Mobility, targets::mobility);
}

#[test]
fn neighbor() {
    replay(Target::Neighbor, targets::neighbor);
}

#[test]
fn fleet() {
    replay(Target::Fleet, targets::fleet);
}

#[test]
fn controller() {
    replay(Target::Controller, targets::controller);
}
