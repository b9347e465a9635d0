//! Rates, out of a configuration that was checked.

use std::num::NonZeroU32;

use super::{
    file::{Config, Router},
    settings::{handshake, messages},
};
use crate::{core::rate::Rate, model::limits::Limits};

/// Reports and Dones that one sender may send.
///
/// Unless it is given: a host spreads its answer to a General Query over the Query Response Interval,
/// 10 s, so 500 a second are 5000 groups; and a host that starts, drains or is asked group by group
/// sends one for each group at once, so the burst is 2000. A router takes in hundreds of times that.
pub(super) fn reports(router: &Router) -> Rate {
    let given = router.limits.as_ref().map(|limits| *limits.get_ref());
    let given = given.unwrap_or_default();
    let count = given.reports_per_second.unwrap_or(500);
    let burst = given.burst.map_or(2000, NonZeroU32::get);
    if count == 0 {
        return Rate::UNLIMITED;
    }
    Rate::per_second(count, burst)
}

/// Senders that a rule allows on an interface and that are not known yet.
///
/// Unless it is given: 10,000 at once and 200 a second are 62,000 in the 260 s of a membership, fewer
/// than the 65,536 senders that are remembered. So however many are invented, none is forgotten who
/// still reports, and 12,000 hosts join within the 10 s of the answers to a first Query.
pub(super) fn new_senders(router: &Router) -> Rate {
    let given = router.limits.as_ref().map(|limits| *limits.get_ref());
    let given = given.unwrap_or_default();
    let count = given.new_senders_per_second.unwrap_or(200);
    let burst = given.new_senders_burst.map_or(10_000, NonZeroU32::get);
    if count == 0 {
        return Rate::UNLIMITED;
    }
    Rate::per_second(count, burst)
}

/// What the data plane lets through to the controller.
#[must_use]
pub fn data_plane(config: &Config) -> Limits {
    let mut limits = Limits::NONE;
    if let Some(router) = config.router_role() {
        limits.reports = reports(router);
        limits.new_senders = new_senders(router);
    }
    if let Some(correspondent) = config.correspondent_role() {
        let given = messages(correspondent);
        limits.to_client = given.per_client;
        limits.from_prefix = given.per_prefix;
        limits.solicited = given.whole;
        limits.unsolicited = given.unsolicited;
    }
    if let Some(member) = config.member_role() {
        let given = member.handshake.as_ref().map(|given| *given.get_ref());
        let given = handshake(&given.unwrap_or_default());
        limits.clients_of_prefix = twice(given.per_prefix);
        limits.clients = twice(given.whole);
    }
    limits
}

/// Not all who are reported begin a handshake: the controller has its own, narrower limits.
fn twice(rate: Rate) -> Rate {
    Rate {
        every: rate.every / 2,
        burst: rate.burst.saturating_mul(2),
    }
}
