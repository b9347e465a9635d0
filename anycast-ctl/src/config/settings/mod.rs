//! Makes the settings of the core and of the shell out of a checked configuration.

mod correspondent;
mod interfaces;
mod member;
mod router;

use anycast_common::wire::mld::RouterAlert;
use rand::{SeedableRng, rngs::SysRng};

use self::{
    correspondent::correspondent_settings, member::member_settings, router::router_settings,
};
pub(super) use self::{
    correspondent::{DEFAULT_BINDINGS, flow_times, messages, nested},
    interfaces::attachments,
    member::{handshake, handshakes, peers},
    router::timers,
};
pub use self::{
    correspondent::{allowed, bus, client_prefixes, flow_limits, secrets, state},
    interfaces::{interfaces, roles, sizes},
    member::{assigned, groups, health, health_targets, joined_at_start, sessions},
    router::{policy, route_place, routes, rule, timers_of},
};
use super::file::Config;
use crate::core::{controller, rr::Generator};

/// The settings of the core, for all configured roles.
#[must_use]
pub fn controller(config: &Config) -> controller::Settings {
    let router = config.router_role();
    let strict = router.is_none_or(|router| router.require_router_alert);
    controller::Settings {
        router: router.map(router_settings),
        member: config.member_role().map(member_settings),
        correspondent: config
            .correspondent_role()
            .map(|role| correspondent_settings(role, sizes(config).bindings)),
        router_alert: if strict {
            RouterAlert::Required
        } else {
            RouterAlert::Optional
        },
    }
}

/// A random number generator that the operating system seeds.
pub fn random() -> Result<Generator, rand::rngs::SysError> {
    Generator::try_from_rng(&mut SysRng)
}
