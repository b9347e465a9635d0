//! Which programs each interface needs, and how large the BPF maps are.

use std::collections::BTreeMap;

use anycast_common::abi::roles;
use toml::Spanned;

use crate::{
    config::{file::Config, given::take},
    model::{
        program::{Mode, Wanted},
        sizes::Sizes,
    },
};

/// The configured roles, each with its mode and its interfaces.
pub(in crate::config) fn attachments(config: &Config) -> Vec<(u8, Mode, &[Spanned<String>])> {
    let mut attachments: Vec<(u8, Mode, &[Spanned<String>])> = Vec::new();
    if let Some(router) = config.router_role() {
        attachments.push((roles::ROUTER, router.mode, &router.interfaces));
    }
    if let Some(member) = config.member_role() {
        attachments.push((roles::MEMBER, member.mode, &member.interfaces));
    }
    if let Some(correspondent) = config.correspondent_role() {
        attachments.push((
            roles::CORRESPONDENT,
            correspondent.effective_mode(),
            &correspondent.interfaces,
        ));
    }
    attachments
}

/// Union of the configured [`roles`](anycast_common::abi::roles).
#[must_use]
pub fn roles(config: &Config) -> u8 {
    attachments(config)
        .iter()
        .fold(0, |all, (role, ..)| all | role)
}

/// The roles and the mode of each configured interface, by interface name.
#[must_use]
pub fn interfaces(config: &Config) -> BTreeMap<String, Wanted> {
    let mut wanted: BTreeMap<String, Wanted> = BTreeMap::new();
    for (role, mode, interfaces) in attachments(config) {
        for interface in interfaces {
            let entry = wanted.entry(interface.get_ref().clone()).or_default();
            entry.roles |= role;
            entry.mode = mode;
        }
    }
    wanted
}

/// How many entries the large maps have.
#[must_use]
pub fn sizes(config: &Config) -> Sizes {
    let given = &config.data_plane;
    let mut sizes = Sizes::default();
    for (size, given) in [
        (&mut sizes.flows, &given.flows),
        (&mut sizes.bindings, &given.bindings),
        (&mut sizes.member_flows, &given.member_flows),
        (&mut sizes.clients, &given.clients),
        (&mut sizes.fragments, &given.fragments),
    ] {
        take(size, given.as_ref().map(|given| *given.get_ref()));
    }
    sizes
}
