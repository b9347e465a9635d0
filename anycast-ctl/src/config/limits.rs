//! Makes the rate limits of the data plane out of a checked configuration.

use std::num::NonZeroU32;

use super::{
    file::{Config, Router},
    settings::{handshake, messages},
};
use crate::{core::rate::Rate, model::limits::Limits};

/// Token bucket for the Reports and Dones of one sender.
///
/// The defaults are 500 messages per second and 2000 at once. A host spreads its answers to a General Query over the
/// Query Response Interval of 10 s, so that 500 per second are enough for 5000 groups. A host that starts, drains, or
/// is asked for each group sends one message per group at once, which the burst allows. A router can process hundreds
/// of times that rate.
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

/// Token bucket for senders that are not known yet, for each pair of a policy rule and an interface.
///
/// The defaults are 200 senders per second and 10,000 at once. In the 260 s of a membership that is 62,000 senders,
/// fewer than the 65,536 that are remembered. So an attacker who invents senders cannot push out one that still
/// reports, and 12,000 hosts can join within the 10 s of the answers to a first Query.
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

/// The token buckets of the data plane.
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
        limits.answers = answers(given.whole);
    }
    limits
}

/// Three answers end a handshake (Home Test, Care-of Test, Acknowledgement), and some come twice. Who begins few
/// handshakes may still get many answers that others asked for, which the controller counts: 20,000 a second do not
/// trouble it.
fn answers(handshakes: Rate) -> Rate {
    let least = Rate::per_second(20_000, 20_000);
    Rate {
        every: least.every.min(handshakes.every / 4),
        burst: least.burst.max(handshakes.burst.saturating_mul(4)),
    }
}

/// The data plane reports twice as many clients as the controller begins handshakes with: not every client that is
/// reported needs one, and the controller has its own, narrower limits.
fn twice(rate: Rate) -> Rate {
    Rate {
        every: rate.every / 2,
        burst: rate.burst.saturating_mul(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_handshake_that_may_begin_may_have_its_answers() {
        let least = Rate::per_second(20_000, 20_000);
        assert_eq!(answers(Rate::per_second(10, 20)), least);
        assert_eq!(answers(Rate::per_second(5000, 5000)), least, "just as many");
        let many = answers(Rate::per_second(40_000, 10_000));
        assert_eq!(many, Rate::per_second(160_000, 40_000));
        assert!(answers(Rate::UNLIMITED).every.is_zero());
    }
}
