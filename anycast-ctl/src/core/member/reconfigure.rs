//! Other settings at run time: groups that come, go or change, and other limits.

use std::net::Ipv6Addr;

use super::{GroupSettings, HealthSettings, Member, Settings, group::Group, health::Checks};
use crate::core::{Action, Actions, CheckAction, MapAction, Time};

impl Member {
    /// Replaces all settings. Groups that are not in `settings` are left, and their bindings deleted; what has been
    /// wanted of the others, and what their health checks have found, stays. New ones are not joined yet.
    pub fn reconfigure(&mut self, now: Time, settings: Settings, actions: &mut Actions) {
        let Settings {
            groups,
            listener,
            handshake,
        } = settings;
        self.listeners.set(listener);
        self.hand_on.set(&handshake);
        self.handshakes.set(handshake);
        let stays = |anycast: &Ipv6Addr| groups.iter().any(|group| group.anycast == *anycast);
        let gone: Vec<Ipv6Addr> = self
            .groups
            .keys()
            .copied()
            .filter(|anycast| !stays(anycast))
            .collect();
        for anycast in gone {
            self.remove(now, anycast, actions);
        }
        self.care_of = groups
            .iter()
            .filter_map(|group| Some((group.care_of?, group.anycast)))
            .collect();
        for group in groups {
            self.change(now, group, actions);
        }
    }

    /// Forgets a group.
    fn remove(&mut self, now: Time, anycast: Ipv6Addr, actions: &mut Actions) {
        let Some(group) = self.groups.remove(&anycast) else {
            return;
        };
        if group.joined {
            self.part(now, anycast, actions);
        }
        abort(anycast, group.checks.as_ref(), actions);
        self.end_bindings(now, anycast, actions);
    }

    fn end_bindings(&mut self, now: Time, anycast: Ipv6Addr, actions: &mut Actions) {
        let (handshakes, mut cx) = self.handshakes_mut(now, actions);
        handshakes.stop(anycast, &mut cx);
    }

    /// Takes other settings of a group, or one that is new.
    fn change(&mut self, now: Time, settings: GroupSettings, actions: &mut Actions) {
        let anycast = settings.anycast;
        let Some(group) = self.groups.get_mut(&anycast) else {
            self.groups.insert(anycast, Group::new(settings, now));
            return;
        };
        let moved = group.settings.care_of != settings.care_of;
        let name = settings.peers.own();
        let renamed = group.settings.peers.own() != name;
        let care_of = settings.care_of;
        let report_clients = care_of.is_some();
        check(now, group, settings.health, actions);
        group.settings = settings;
        let joined = group.joined;
        if moved {
            self.end_bindings(now, anycast, actions);
        }
        if moved || renamed {
            let (handshakes, mut cx) = self.handshakes_mut(now, actions);
            handshakes.readdress(anycast, care_of, name, &mut cx);
        }
        if moved && joined {
            actions.push(Action::Map(MapAction::SetLocalAnycast {
                anycast,
                report_clients,
            }));
        }
        self.settle(now, anycast, actions);
        for ifindex in self.ifindexes() {
            // A Done says it, where routers can still be told.
            if self.report_source(anycast, ifindex).is_none()
                && self.links.get(&ifindex).is_some_and(|link| link.up)
                && self.listeners.source(anycast, ifindex).is_some()
            {
                let (listeners, mut cx) = self.listeners(now, actions);
                listeners.stop(anycast, ifindex, &mut cx);
            }
            self.report_on(now, anycast, ifindex, actions);
        }
    }
}

/// Takes other times of the checks of a group, begins to check it, or ends that. Who is a member stays one until the
/// first checks say otherwise.
fn check(now: Time, group: &mut Group, health: Option<HealthSettings>, actions: &mut Actions) {
    match (&mut group.checks, health) {
        (Some(checks), Some(health)) => checks.set(health),
        (None, Some(health)) => {
            let presumed = health.presumed || group.joined;
            group.checks = Some(Checks::new(HealthSettings { presumed, ..health }, now));
        }
        (checks, None) => {
            abort(group.settings.anycast, checks.as_ref(), actions);
            *checks = None;
        }
    }
}

fn abort(anycast: Ipv6Addr, checks: Option<&Checks>, actions: &mut Actions) {
    if checks.is_some_and(Checks::under_way) {
        actions.push(Action::Check(CheckAction::Abort { anycast }));
    }
}
