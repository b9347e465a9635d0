//! Decides which programs are attached to which interfaces.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anycast_common::abi::roles;

use super::{
    api::view,
    dataplane::{Attached, Dataplane, DataplaneError, GENERIC, NATIVE, TCX},
    fitness,
    netlink::LinkTable,
    surroundings,
};
use crate::{
    core::Link,
    model::program::{Mode, Place, Wanted},
};

/// Shortest time between two log lines about an interface that is missing or cannot be attached to.
pub(super) const REMINDER: Duration = Duration::from_secs(60);

/// The configured interfaces, and the programs that are attached to those that exist.
#[derive(Debug)]
pub struct Interfaces {
    wanted: BTreeMap<String, Wanted>,
    attached: BTreeMap<u32, Attached>,
    missing: BTreeSet<String>,
    /// What was logged about attached interfaces.
    warned: BTreeMap<u32, Vec<String>>,
}

impl Interfaces {
    /// Makes the list of configured interfaces. No program is attached yet.
    #[must_use]
    pub fn new(wanted: BTreeMap<String, Wanted>) -> Self {
        Self {
            wanted,
            attached: BTreeMap::new(),
            missing: BTreeSet::new(),
            warned: BTreeMap::new(),
        }
    }

    /// Names of the configured interfaces.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.wanted.keys().cloned()
    }

    /// Roles of the interface `name`. Zero where it has none.
    #[must_use]
    pub fn roles(&self, name: &str) -> u8 {
        self.wanted.get(name).map_or(0, |wanted| wanted.roles)
    }

    /// Attaches the program for the interface's roles to a link, unless it is attached already.
    pub fn attach(
        &mut self,
        dataplane: &mut Dataplane,
        table: &LinkTable,
        link: &Link,
    ) -> Result<(), DataplaneError> {
        let Some(wanted) = self.wanted.get(&link.name) else {
            return Ok(());
        };
        if self.attached.contains_key(&link.ifindex) {
            return Ok(());
        }
        let place = fitness::place(table, link);
        let attached = dataplane.attach_at(&place, wanted.roles, wanted.mode)?;
        tell(&link.name, &attached);
        warn_of_cost(&link.name, &place, &attached);
        self.attached.insert(link.ifindex, attached);
        Ok(())
    }

    /// Attaches programs to the interfaces that `wanted` adds, or to which it gives other roles. When one refuses, all
    /// are as before. Interfaces that are no longer wanted keep their programs until [`Interfaces::detach`].
    pub fn change(
        &mut self,
        dataplane: &mut Dataplane,
        table: &LinkTable,
        wanted: BTreeMap<String, Wanted>,
    ) -> Result<(), (String, Box<DataplaneError>)> {
        let before = std::mem::replace(&mut self.wanted, wanted);
        let mut changed = Vec::new();
        let mut refused = None;
        for (name, now) in &self.wanted {
            let Some(link) = table.named(name).filter(|_| before.get(name) != Some(now)) else {
                continue;
            };
            let place = fitness::place(table, &link);
            changed.push((link.clone(), place.clone()));
            match dataplane.attach_at(&place, now.roles, now.mode) {
                Ok(attached) => {
                    tell(&link.name, &attached);
                    warn_of_cost(&link.name, &place, &attached);
                    self.attached.insert(link.ifindex, attached);
                }
                Err(error) => {
                    refused = Some((name.clone(), Box::new(error)));
                    break;
                }
            }
        }
        let Some(refused) = refused else {
            return Ok(());
        };
        for (link, place) in changed {
            self.restore(dataplane, &link, &place, before.get(&link.name));
        }
        self.wanted = before;
        Err(refused)
    }

    /// Takes back what [`Interfaces::change`] did to an interface that had, or did not have, these programs.
    fn restore(
        &mut self,
        dataplane: &mut Dataplane,
        link: &Link,
        place: &Place,
        before: Option<&Wanted>,
    ) {
        self.attached.remove(&link.ifindex);
        match before {
            Some(before) => match dataplane.attach_at(place, before.roles, before.mode) {
                Ok(attached) => {
                    self.attached.insert(link.ifindex, attached);
                }
                Err(error) => {
                    tracing::error!(interface = link.name, %error, "cannot attach as before: trying again");
                }
            },
            None => dataplane.detach(link.ifindex),
        }
    }

    /// Attaches programs by TCX where they are attached by XDP and that has become wrong since.
    pub fn leave_xdp(
        &mut self,
        dataplane: &mut Dataplane,
        table: &LinkTable,
    ) -> Result<(), DataplaneError> {
        let mut refused = Ok(());
        for link in table.known() {
            let Some(attached) = self.attached.get(&link.ifindex) else {
                continue;
            };
            if attached.mode == TCX {
                continue;
            }
            let mut place = fitness::place(table, link);
            let wanted = self.wanted.get(&link.name).copied().unwrap_or_default();
            let outgrown = || {
                let asked = asked(attached)?;
                let wrong = fitness::wrong_since(link.ifindex, asked);
                let dear = || fitness::dear_since(&link.name, link.ifindex, asked);
                // Who asks for it gets it, and a warning.
                wrong.or_else(|| dear().filter(|_| wanted.mode == Mode::Auto))
            };
            let Some(reason) = wrong(attached.mode, &place).or_else(outgrown) else {
                continue;
            };
            let before = place.clone();
            // The driver was not asked for, or does not have it.
            place.no_xdp = Some(reason.clone());
            tracing::warn!(interface = link.name, "XDP gives way to TCX: {reason}");
            match dataplane.attach_at(&place, wanted.roles, Mode::Auto) {
                Ok(attached) => {
                    tell(&link.name, &attached);
                    self.attached.insert(link.ifindex, attached);
                }
                Err(error) => {
                    refused = Err(error);
                    // As a router on a kernel without TCX, whose native XDP is better than none.
                    let again = dataplane.attach_at(&before, wanted.roles, wanted.mode);
                    if let Ok(attached) = again {
                        self.attached.insert(link.ifindex, attached);
                    }
                }
            }
        }
        refused
    }

    /// Detaches the programs of an interface that has no role any more, or notes that it disappeared with them.
    pub fn detach(&mut self, dataplane: &mut Dataplane, ifindex: u32) {
        self.warned.remove(&ifindex);
        if self.attached.remove(&ifindex).is_some() {
            dataplane.detach(ifindex);
        }
    }

    /// Logs once for each missing interface that the daemon waits for it.
    pub fn warn_of_missing(&mut self, table: &LinkTable) {
        let missing: BTreeSet<String> = table.missing().map(str::to_owned).collect();
        for interface in missing.difference(&self.missing) {
            tracing::warn!(
                interface,
                "there is no such interface: waiting for it to appear"
            );
        }
        self.missing = missing;
    }

    /// What is to be said about an interface, as its programs are attached now.
    fn warnings(
        &self,
        dataplane: &Dataplane,
        table: &LinkTable,
        ifindex: u32,
        wanted: Wanted,
    ) -> Vec<String> {
        let Some(attached) = self.attached.get(&ifindex) else {
            return Vec::new();
        };
        let mut warnings =
            surroundings::of_interface(table.port_of(ifindex), wanted, attached.mode != TCX);
        let name = table.name(ifindex).unwrap_or_default();
        let dear = asked(attached).and_then(|asked| fitness::dear_since(name, ifindex, asked));
        warnings.extend(dear.map(|reason| format!("native XDP: {reason}")));
        let ahead = dataplane.ahead(ifindex);
        if !ahead.is_empty() {
            warnings.push(format!(
                "packets meet other TCX programs before ours: {}. What these decide of, ours do not see",
                ahead.join(", ")
            ));
        }
        warnings
    }

    /// Logs what is new to be said about interfaces.
    pub fn warn(&mut self, dataplane: &Dataplane, table: &LinkTable) {
        for link in table.known() {
            let Some(wanted) = self.wanted.get(&link.name) else {
                continue;
            };
            let warnings = self.warnings(dataplane, table, link.ifindex, *wanted);
            let before = self.warned.insert(link.ifindex, warnings.clone());
            let before = before.unwrap_or_default();
            for warning in warnings.iter().filter(|warning| !before.contains(warning)) {
                tracing::warn!(interface = link.name, "{warning}");
            }
        }
    }

    /// The interfaces as `status` shows them.
    #[must_use]
    pub fn view(&self, dataplane: &Dataplane, table: &LinkTable) -> Vec<view::Interface> {
        let view = |(name, wanted): (&String, &Wanted)| {
            let link = table.known().find(|link| link.name == *name);
            let attached = link.and_then(|link| self.attached.get(&link.ifindex));
            view::Interface {
                name: name.clone(),
                ifindex: link.map(|link| link.ifindex),
                up: link.is_some_and(|link| link.up),
                link_local: link.and_then(|link| link.link_local),
                roles: role_names(wanted.roles),
                program: attached.map(|attached| attached.program.to_owned()),
                mode: attached.map(|attached| attached.mode.to_owned()),
                mode_reason: attached.map(|attached| attached.reason.clone()),
                warnings: link.map_or_else(Vec::new, |link| {
                    self.warnings(dataplane, table, link.ifindex, *wanted)
                }),
            }
        };
        self.wanted.iter().map(view).collect()
    }
}

/// Why XDP is wrong at a place where programs are attached in this mode.
fn wrong(mode: &str, place: &Place) -> Option<String> {
    let in_stack = place.no_generic.filter(|_| mode == GENERIC);
    place.no_xdp.clone().or(in_stack.map(str::to_owned))
}

/// The MTU with which the driver took XDP.
fn asked(attached: &Attached) -> Option<i32> {
    attached.mtu.filter(|_| attached.mode == NATIVE)
}

fn tell(interface: &str, attached: &Attached) {
    tracing::info!(
        interface,
        program = attached.program,
        mode = attached.mode,
        reason = attached.reason,
        replaced = attached.replaced,
        "attached"
    );
}

/// Names of the roles in a mask.
#[must_use]
pub fn role_names(mask: u8) -> Vec<String> {
    [
        (roles::ROUTER, "router"),
        (roles::MEMBER, "member"),
        (roles::CORRESPONDENT, "correspondent"),
    ]
    .iter()
    .filter(|(bit, _)| mask & bit != 0)
    .map(|(_, name)| (*name).to_owned())
    .collect()
}

/// Somebody asked for it, or there is nothing else.
fn warn_of_cost(interface: &str, place: &Place, attached: &Attached) {
    if let Some(reason) = &place.dear_native
        && attached.mode == NATIVE
        && !attached.replaced
    {
        tracing::warn!(interface, "native XDP: {reason}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xdp_in_the_stack_is_left_also_where_only_it_is_wrong() {
        const OPEN: &str = "open checksums";
        let place = |no_xdp: bool, no_generic: bool| Place {
            dear_native: None,
            no_xdp: no_xdp.then(|| "blind".to_owned()),
            no_generic: no_generic.then_some(OPEN),
            ..Place::ethernet(1)
        };
        for (mode, place, reason) in [
            ("native", place(false, false), None),
            ("generic", place(false, false), None),
            ("native", place(false, true), None),
            ("generic", place(false, true), Some(OPEN)),
            ("native", place(true, true), Some("blind")),
            ("generic", place(true, true), Some("blind")),
        ] {
            assert_eq!(wrong(mode, &place).as_deref(), reason, "{mode} {place:?}");
        }
    }
}
