//! The policy at run time: what it is, why it decides as it does, and how it changes.

use std::net::Ipv6Addr;

use anycast_common::abi::{counters as abi, maps::DEFAULT_DENY, roles};

use super::{
    ShellError, advice,
    answer::{Answered, map, name_of, no_role},
    api::{Answer, Refusal, RefusalCode, view},
    clock,
    daemon::Daemon,
};
use crate::{
    config::{self, settings},
    core::{
        counters::Counter,
        refusals,
        router::{Cap, Explanation, Numbered, Place, Policy, Router, Verdict},
    },
    model::{mac::Mac, policy::Decision},
};

impl Daemon {
    pub(super) fn show_policy(&mut self) -> Answered {
        self.router()?;
        let hits = self.dataplane.maps().policy_hits();
        let hits = hits.map_err(|error| map(&error))?;
        let of = |id: usize| hits.get(id).copied().unwrap_or(0);
        let rule = |known: &Numbered| {
            let cap = |cap: Option<u32>| cap.and_then(|cap| cap.try_into().ok());
            let action = if known.rule.allow {
                Decision::Allow
            } else {
                Decision::Deny
            };
            view::PolicyRule {
                id: known.id,
                rule: view::Rule {
                    source: known.rule.source,
                    mac: known.rule.mac.map(Mac),
                    interface: known.rule.interface.clone(),
                    anycast: known.rule.anycast,
                    action,
                    max_members_per_group: cap(known.rule.max_members_per_group),
                    max_groups_per_member: cap(known.rule.max_groups_per_member),
                },
                added: known.added,
                hits: of(known.id),
            }
        };
        Ok(Answer::Policy(view::Policy {
            rules: self.policy.rules().iter().map(rule).collect(),
            default_deny_hits: of(DEFAULT_DENY as usize),
        }))
    }

    pub(super) fn add_rule(&mut self, rule: &view::Rule, place: Place) -> Answered {
        let rule = config::rule(rule, self.router()?.interfaces()).map_err(bad_rule)?;
        let mut policy = self.policy.clone();
        let id = policy
            .add(rule, place)
            .map_err(|error| bad_rule(advice::policy(error)))?;
        self.reset_hits(std::iter::once(id))?;
        tracing::info!(target: "anycast::router", id, "policy rule added");
        self.change(policy, Some(id))
    }

    pub(super) fn remove_rule(&mut self, id: usize) -> Answered {
        self.router()?;
        let mut policy = self.policy.clone();
        policy
            .remove(id)
            .map_err(|error| bad_rule(advice::policy(error)))?;
        tracing::info!(target: "anycast::router", id, "policy rule removed");
        self.change(policy, Some(id))
    }

    /// The policy is read again; the rest needs a restart.
    pub(super) fn reload(&mut self) -> Answered {
        let config = config::load(&self.config).map_err(|problems| {
            for line in problems.to_string().lines() {
                tracing::error!("not reloaded: {line}");
            }
            failed(format!("not reloaded: {problems}"))
        })?;
        let Some(router) = config
            .router_role()
            .filter(|_| self.roles & roles::ROUTER != 0)
        else {
            tracing::warn!("nothing reloaded: only the policy of a router can be");
            return Err(no_role("router"));
        };
        let lost = self.policy.rules().iter().filter(|known| known.added);
        let lost = lost.count();
        self.reset_hits(0..=DEFAULT_DENY as usize)?;
        let answer = self.change(settings::policy(router), None)?;
        tracing::info!(lost, "policy reloaded; other changes need a restart");
        Ok(answer)
    }

    /// The data plane first, so that whoever is thrown out cannot come back.
    fn change(&mut self, policy: Policy, id: Option<usize>) -> Answered {
        let before = std::mem::replace(&mut self.policy, policy);
        if let Err(error) = self.program_policy() {
            self.policy = before;
            let text = error.to_string();
            self.complain(error);
            return Err(failed(text));
        }
        let (now, policy) = (clock::now(), self.policy.clone());
        self.controller.set_policy(now, policy, &mut self.actions);
        Ok(Answer::PolicyChanged(view::PolicyChanged {
            id,
            rules: self.policy.rules().len(),
        }))
    }

    fn reset_hits(&mut self, ids: impl Iterator<Item = usize>) -> Result<(), Refusal> {
        let ids = ids.filter_map(|id| u32::try_from(id).ok());
        let reset = self.dataplane.maps().reset_policy_hits(ids);
        reset
            .map_err(ShellError::dataplane("cannot reset the hits of the policy"))
            .map_err(|error| failed(error.to_string()))
    }

    pub(super) fn explain(
        &self,
        source: Ipv6Addr,
        anycast: Ipv6Addr,
        interface: Option<&str>,
        mac: Option<Mac>,
    ) -> Answered {
        let router = self.router()?;
        let found = router.explain(interface, source, mac.map(|mac| mac.0), anycast);
        if found.is_empty() {
            let names: Vec<_> = router.interfaces().collect();
            return Err(Refusal {
                code: RefusalCode::BadRequest,
                message: format!("the links of this router are: {}", names.join(", ")),
            });
        }
        let found = found.into_iter().map(explanation);
        Ok(Answer::Explained(found.collect()))
    }

    pub(super) fn refusals(&mut self) -> Answered {
        self.router()?;
        let now = clock::now();
        let seconds = |time| now.since(time).as_secs_f64();
        let view = |known: refusals::Refusal| view::Refusal {
            first_seconds: seconds(known.first),
            last_seconds: seconds(known.last),
            interface: self.links.name(known.what.ifindex).map_or_else(
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
        let refusals = self.performer.refusals.list().into_iter().map(view);
        let refusals = refusals.collect();
        let counters = self.dataplane.maps().counters();
        let counters = counters.map_err(|error| map(&error))?;
        let totals = counters
            .into_iter()
            .filter(|(name, _)| IN_DATA_PLANE.iter().any(|reason| reason.name() == *name));
        let own = self.controller.counters().into_iter();
        let own = own.filter(|(name, _)| IN_CONTROLLER.iter().any(|reason| reason.name() == *name));
        Ok(Answer::Refusals(view::Refusals {
            refusals,
            totals: totals
                .chain(own)
                .filter(|(_, count)| *count > 0)
                .map(|(name, count)| (name.to_owned(), count))
                .collect(),
        }))
    }

    fn router(&self) -> Result<&Router, Refusal> {
        self.controller.router().ok_or_else(|| no_role("router"))
    }
}

/// Reasons for which the controller refuses Reports and Dones.
const IN_CONTROLLER: [Counter; 5] = [
    Counter::ReportDenied,
    Counter::MldInvalid,
    Counter::MldNoLink,
    Counter::GroupFull,
    Counter::MemberFull,
];
/// And the data plane.
const IN_DATA_PLANE: [abi::Counter; 11] = [
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

fn explanation(found: Explanation) -> view::Explanation {
    let cap = |cap: Cap| (cap.now, cap.most);
    let rule = found.steps.last().map_or(0, |step| step.rule);
    let verdict = match found.verdict {
        Verdict::BadSource => "refused: Reports come from link-local addresses".to_owned(),
        Verdict::BadAddress => "refused: the address cannot be anycast".to_owned(),
        Verdict::DefaultDeny => "refused: no rule matches, and the default is no".to_owned(),
        Verdict::Deny => format!("refused by rule {rule}"),
        Verdict::GroupFull => {
            format!("refused: rule {rule} allows it, but the group is full (max_members_per_group)")
        }
        Verdict::MemberFull => format!(
            "refused: rule {rule} allows it, but it is in as many groups as it may be \
             (max_groups_per_member)"
        ),
        Verdict::Allow => format!("accepted by rule {rule}"),
    };
    let step = |step: crate::core::router::Step| view::Step {
        rule: step.rule,
        because: step.mismatches.iter().map(ToString::to_string).collect(),
    };
    view::Explanation {
        interface: found.interface,
        mac: found.mac.map(Mac),
        allow: found.verdict == Verdict::Allow,
        verdict,
        member: found.member,
        members_per_group: cap(found.members_per_group),
        groups_per_member: cap(found.groups_per_member),
        steps: found.steps.into_iter().map(step).collect(),
    }
}

fn bad_rule(reason: impl ToString) -> Refusal {
    Refusal {
        code: RefusalCode::BadRule,
        message: reason.to_string(),
    }
}

fn failed(message: String) -> Refusal {
    Refusal {
        code: RefusalCode::Failed,
        message,
    }
}
