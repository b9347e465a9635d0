//! Answers about messages that were refused: Reports, Dones and Binding Updates.

use anycast_common::abi::counters as abi;

use super::common::{Answered, map, name_of, no_role};
use crate::{
    core::{Time, counters::Counter, refusals},
    model::mac::Mac,
    shell::{
        api::{Answer, view},
        clock,
        engine::Engine,
        perform::Performer,
        plane::Plane,
    },
};

/// Reasons for which the controller refuses Reports, Dones and Queries.
pub(super) const IN_CONTROLLER: [Counter; 6] = [
    Counter::ReportDenied,
    Counter::QueryDenied,
    Counter::MldInvalid,
    Counter::MldNoLink,
    Counter::GroupFull,
    Counter::MemberFull,
];
/// Reasons for which the data plane refuses Reports and Dones.
pub(super) const IN_DATA_PLANE: [abi::Counter; 11] = [
    abi::Counter::MldReportDenied,
    abi::Counter::MldDoneDenied,
    abi::Counter::MldBadSource,
    abi::Counter::MldBadChecksum,
    abi::Counter::MldTruncated,
    abi::Counter::MldBadHopLimit,
    abi::Counter::MldBadDestination,
    abi::Counter::MldNoRouterAlert,
    abi::Counter::MldBadAddress,
    abi::Counter::MldRateLimited,
    abi::Counter::MldNewSenderLimited,
];

/// Binding Updates that were refused, by reason.
pub(super) const UPDATES: [Counter; 18] = [
    Counter::BindingUpdateNotOurs,
    Counter::BindingUpdateIncomplete,
    Counter::BindingUpdateHomeAddress,
    Counter::BindingUpdateHome,
    Counter::BindingUpdateNotEquivalent,
    Counter::BindingUpdateBadCareOf,
    Counter::BindingUpdateBadSequence,
    Counter::BindingUpdateHomeNonce,
    Counter::BindingUpdateCareOfNonce,
    Counter::BindingUpdateBothNonces,
    Counter::BindingUpdateBarred,
    Counter::BindingUpdateBadAuthenticator,
    Counter::BindingTableFull,
    Counter::BindingPrefixFull,
    Counter::BindingMemberFull,
    Counter::BindingPairFull,
    Counter::BindingUpdateLeftAlone,
    Counter::BindingUpdateProhibited,
];

/// Mobility messages that a correspondent refused lately, the latest first.
pub(super) fn mobility(
    performer: &Performer,
    now: Time,
) -> impl Iterator<Item = view::MobilityRefusal> {
    let list = performer.mobility().list().into_iter();
    list.map(move |known| view::MobilityRefusal {
        first_seconds: now.since(known.first).as_secs_f64(),
        last_seconds: now.since(known.last).as_secs_f64(),
        source: known.what.source,
        client: known.what.destination,
        reason: known.what.reason.to_owned(),
        seen: known.count,
    })
}

/// Examples of the Reports and Dones that were refused recently, and the number of refusals for each reason.
pub(super) fn refusals(core: &Engine, plane: &mut Plane, performer: &Performer) -> Answered {
    let controller = core.controller();
    if controller.router().is_none() && controller.correspondent().is_none() {
        return Err(no_role("router or correspondent"));
    }
    let now = clock::now();
    let seconds = |time| now.since(time).as_secs_f64();
    let view = |known: refusals::Refusal| view::Refusal {
        first_seconds: seconds(known.first),
        last_seconds: seconds(known.last),
        interface: plane.links().name(known.what.ifindex).map_or_else(
            || format!("interface {}", known.what.ifindex),
            str::to_owned,
        ),
        source: known.what.source,
        mac: Mac(known.what.mac),
        anycast: known.what.anycast,
        reason: known.what.reason.to_owned(),
        by: name_of(&known.what.by),
        seen: known.count,
    };
    let refusals = performer.refusals().list().into_iter().map(view);
    let refusals = refusals.collect();
    let counters = plane.dataplane().maps().counters();
    let counters = counters.map_err(|error| map(&error))?;
    let totals = counters
        .into_iter()
        .filter(|(name, _)| IN_DATA_PLANE.iter().any(|reason| reason.name() == *name));
    let own = core.controller().counters().into_iter();
    let own = own.filter(|(name, _)| {
        let mut reasons = IN_CONTROLLER.iter().chain(&UPDATES);
        reasons.any(|reason| reason.name() == *name)
    });
    Ok(Answer::Refusals(view::Refusals {
        refusals,
        mobility: mobility(performer, now).collect(),
        totals: totals
            .chain(own)
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| (name.to_owned(), count))
            .collect(),
    }))
}
