//! The policy at run time: its rules, the explanation of its decisions, and its changes.

use std::{net::Ipv6Addr, path::PathBuf};

use anycast_common::abi::maps::DEFAULT_DENY;

use super::common::{Answered, failed, map, no_role};
use crate::{
    config::{
        self,
        running::{Next, Running},
    },
    core::router::{Cap, Explanation, Numbered, Policy, Position, Router, Verdict},
    model::{mac::Mac, policy::Decision},
    shell::{
        ShellError, advice,
        api::{Answer, Refusal, RefusalCode, view},
        engine::Engine,
        plane::Plane,
    },
};

/// The present policy, and the file from which it comes.
#[derive(Debug)]
pub(in crate::shell) struct LivePolicy {
    policy: Policy,
    /// Path of the configuration file.
    config: PathBuf,
    /// What the daemon runs with.
    running: Running,
}

impl LivePolicy {
    /// Starts with the policy of the file `config`, and with what was read of it.
    pub(in crate::shell) fn new(policy: Policy, config: PathBuf, running: Running) -> Self {
        Self {
            policy,
            config,
            running,
        }
    }

    /// The present policy.
    pub(in crate::shell) fn current(&self) -> &Policy {
        &self.policy
    }

    /// The rules, with the number of decisions of each one.
    pub(super) fn show(&self, core: &Engine, plane: &mut Plane) -> Answered {
        router(core)?;
        let hits = plane.dataplane().maps().policy_hits();
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

    /// Adds a rule at the given position.
    pub(super) fn add(
        &mut self,
        core: &mut Engine,
        plane: &mut Plane,
        rule: &view::Rule,
        position: Position,
    ) -> Answered {
        let rule = config::rule(rule, router(core)?.interfaces()).map_err(bad_rule)?;
        let mut policy = self.policy.clone();
        let id = policy
            .add(rule, position)
            .map_err(|error| bad_rule(advice::policy(error)))?;
        reset_hits(plane, std::iter::once(id))?;
        let answer = self.change(core, plane, policy, Some(id))?;
        tracing::info!(target: "anycast::router", id, "policy rule added");
        Ok(answer)
    }

    /// Removes a rule.
    pub(super) fn remove(&mut self, core: &mut Engine, plane: &mut Plane, id: usize) -> Answered {
        router(core)?;
        let mut policy = self.policy.clone();
        policy
            .remove(id)
            .map_err(|error| bad_rule(advice::policy(error)))?;
        let answer = self.change(core, plane, policy, Some(id))?;
        tracing::info!(target: "anycast::router", id, "policy rule removed");
        Ok(answer)
    }

    /// Reads the configuration file again. Gives what the daemon runs with, and what it would run with.
    pub(in crate::shell) fn reread(&self) -> Result<(Running, Next), Refusal> {
        let next = self.running.next(&self.config).map_err(|problems| {
            for line in problems.to_string().lines() {
                tracing::error!("not reloaded: {line}");
            }
            failed(format!("not reloaded: {problems}"))
        })?;
        Ok((self.running.clone(), next))
    }

    /// Notes what the daemon runs with from now on.
    pub(in crate::shell) fn runs_with(&mut self, running: Running) {
        self.running = running;
    }

    /// Replaces the policy by that of the file. Gives how many rules it has.
    pub(in crate::shell) fn replace(
        &mut self,
        core: &mut Engine,
        plane: &mut Plane,
        policy: Policy,
    ) -> Result<usize, Refusal> {
        let lost = self.policy.rules().iter().filter(|known| known.added);
        let lost = lost.count();
        self.change(core, plane, policy, None)?;
        // The new rules hold, whatever becomes of the counts.
        if let Err(refusal) = reset_hits(plane, 0..=DEFAULT_DENY as usize) {
            tracing::warn!(target: "anycast::router", "{}", refusal.message);
        }
        let rules = self.policy.rules().len();
        tracing::info!(lost, rules, "policy reloaded");
        Ok(rules)
    }

    /// Replaces the policy. The data plane gets it first, so that a member that is removed cannot join again.
    fn change(
        &mut self,
        core: &mut Engine,
        plane: &mut Plane,
        policy: Policy,
        id: Option<usize>,
    ) -> Answered {
        let before = std::mem::replace(&mut self.policy, policy);
        if let Err(error) = plane.program_policy(&self.policy) {
            self.policy = before;
            let text = error.to_string();
            plane.complain(&error);
            return Err(failed(text));
        }
        core.set_policy(self.policy.clone());
        Ok(Answer::PolicyChanged(view::PolicyChanged {
            id,
            rules: self.policy.rules().len(),
            restart: Vec::new(),
        }))
    }
}

fn reset_hits(plane: &mut Plane, ids: impl Iterator<Item = usize>) -> Result<(), Refusal> {
    let ids = ids.filter_map(|id| u32::try_from(id).ok());
    let reset = plane.dataplane().maps().reset_policy_hits(ids);
    reset
        .map_err(ShellError::dataplane("cannot reset the hits of the policy"))
        .map_err(|error| failed(error.to_string()))
}

/// Explains why the policy would let a member join or not.
pub(super) fn explain(
    core: &Engine,
    source: Ipv6Addr,
    anycast: Ipv6Addr,
    interface: Option<&str>,
    mac: Option<Mac>,
) -> Answered {
    let router = router(core)?;
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

fn router(core: &Engine) -> Result<&Router, Refusal> {
    core.controller().router().ok_or_else(|| no_role("router"))
}

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
