//! Reads the configuration file again while the daemon runs, and takes all of it that it can, or nothing.

use std::net::Ipv6Addr;

use super::{
    super::{
        ShellError,
        answer::{Answered, failed},
        api::{Answer, Refusal, view},
        clock,
        dataplane::Dataplane,
        start,
    },
    parts::Parts,
    retiring::{self, Retired},
};
use crate::config::{Config, limits, running::Next, settings};

impl Parts {
    /// Takes what the file says now. What needs a restart is named, and stays as it is. A file that is wrong, or what
    /// the kernel refuses of it, changes nothing.
    pub(super) fn reload(&mut self) -> Answered {
        let (running, next) = self.policy.reread()?;
        let Next {
            config,
            running: now,
            restart,
        } = next;
        let before = running.config().map_err(refused)?;
        let conflict = retiring::conflict(&before, &config);
        if let Some(reason) = conflict.or_else(|| self.retiring.held(&before, &config)) {
            return Err(refused(reason));
        }
        let rules = self.programs_take(&before, &config)?;
        self.core_takes(&before, &config);
        self.policy.runs_with(now);
        tracing::info!(restart = restart.join(", "), "reloaded");
        Ok(Answer::PolicyChanged(view::PolicyChanged {
            id: None,
            rules,
            restart,
        }))
    }

    /// Changes what the kernel can refuse. Gives how many rules the policy has.
    fn programs_take(&mut self, before: &Config, now: &Config) -> Result<usize, Refusal> {
        let changed = self.plane.change_interfaces(settings::interfaces(now));
        changed.map_err(refused)?;
        let taken = maps(self.plane.dataplane(), before, now)
            .map_err(refused)
            .and_then(|()| self.policy_takes(now));
        if taken.is_err() {
            self.plane.keep_interfaces(settings::interfaces(before));
            self.programs_keep(before, now);
        }
        taken
    }

    /// Takes back what [`maps`] did, or began to do. What was there before is left alone: sessions use it, and whether
    /// its new clients are reported is the core's affair.
    fn programs_keep(&mut self, before: &Config, now: &Config) {
        let dataplane = self.plane.dataplane();
        let mut kept = vec![start::prefixes(before, dataplane), rates(before, dataplane)];
        let known = retiring::places(before);
        for (anycast, care_of) in added(before, now) {
            if self.retiring.has(anycast, care_of) {
                continue;
            }
            let served =
                known.iter().any(|(known, _)| *known == anycast) || self.retiring.serves(anycast);
            let removed = dataplane
                .maps()
                .remove_local(Some(care_of), Some(anycast).filter(|_| !served));
            kept.push(removed.map_err(ShellError::dataplane(start::CARE_OF)));
        }
        for error in kept.into_iter().filter_map(Result::err) {
            tracing::error!("what was refused holds in part until the next reload: {error}");
        }
    }

    fn policy_takes(&mut self, now: &Config) -> Result<usize, Refusal> {
        let Some(router) = now.router_role() else {
            return Ok(0);
        };
        let policy = settings::policy(router);
        let replaced = self.policy.replace(&mut self.core, &mut self.plane, policy);
        replaced.map_err(|refusal| refused(refusal.message))
    }

    /// Changes the rest, of which nothing can fail for good.
    fn core_takes(&mut self, before: &Config, now: &Config) {
        self.retiring.begin(clock::now(), before, now);
        self.core.reconfigure(settings::controller(now));
        if let Err(error) = self.links_changed(false) {
            self.plane.complain(&error);
        }
        self.plane
            .roles_changed(self.performer.groups(), &mut self.core);
        let targets = settings::health_targets(now);
        self.performer.checks().retarget(targets);
        self.flows.set_sessions(start::sessions(now));
        self.addresses.want(self.retiring.assigned());
        let known: Vec<_> = settings::groups(before)
            .map(|group| *group.anycast.get_ref())
            .collect();
        let new = settings::joined_at_start(now).filter(|anycast| !known.contains(anycast));
        start::join(new, &mut self.core);
    }

    /// The flows have been read: ends what no session needs any more of what a reload took out.
    pub(super) fn end_retired(&mut self) {
        let Some(in_use) = self.flows.seen().in_use(clock::now()) else {
            return;
        };
        for over in self.retiring.over(clock::now(), &in_use) {
            let Retired {
                anycast, care_of, ..
            } = over;
            let member = self.core.controller().member();
            let serves =
                member.is_some_and(|member| member.has(anycast)) || self.retiring.serves(anycast);
            let maps = self.plane.dataplane().maps();
            match maps.remove_local(care_of, Some(anycast).filter(|_| !serves)) {
                Ok(()) => tracing::info!(%anycast, ?care_of, "no session is left"),
                Err(error) => tracing::warn!(%anycast, %error, "the programs still serve it"),
            }
        }
        self.addresses.want(self.retiring.assigned());
    }
}

/// Writes the prefixes and the rates, and the care-of addresses that are new since `before`.
fn maps(dataplane: &mut Dataplane, before: &Config, now: &Config) -> Result<(), ShellError> {
    start::prefixes(now, dataplane)?;
    rates(now, dataplane)?;
    let known = retiring::places(before);
    for (anycast, care_of) in added(before, now) {
        let is_new = !known.iter().any(|(known, _)| *known == anycast);
        let maps = dataplane.maps();
        let set = match is_new {
            true => maps.set_local(care_of, anycast),
            // Whether its new clients are reported stays as it is.
            false => maps.set_local_care_of(care_of, anycast),
        };
        set.map_err(ShellError::dataplane(start::CARE_OF))?;
    }
    Ok(())
}

fn rates(config: &Config, dataplane: &mut Dataplane) -> Result<(), ShellError> {
    dataplane
        .maps()
        .set_limits(&limits::data_plane(config))
        .map_err(ShellError::dataplane("cannot load the limits"))
}

/// The care-of addresses that are new, each with its anycast address before it.
fn added(before: &Config, now: &Config) -> Vec<(Ipv6Addr, Ipv6Addr)> {
    let (before, now) = (retiring::places(before), retiring::places(now));
    let added = now.difference(&before);
    added
        .filter_map(|(anycast, care_of)| Some((*anycast, (*care_of)?)))
        .collect()
}

fn refused(reason: impl ToString) -> Refusal {
    let reason = format!("not reloaded: {}", reason.to_string());
    tracing::error!("{reason}");
    failed(reason)
}
