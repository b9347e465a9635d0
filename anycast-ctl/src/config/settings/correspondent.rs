//! Makes the settings of the correspondent role out of a checked configuration.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use ipnet::Ipv6Net;
use toml::Spanned;

use crate::{
    config::{
        file::{Correspondent, Fleet, Flows, MessageLimits},
        given::{Fault, rate, take},
    },
    core::{correspondent, flows},
    model::bus::Bus,
};

/// Largest number of bindings, unless the configuration says otherwise.
pub(in crate::config) const DEFAULT_BINDINGS: usize = 100_000;

/// Makes the settings of the core, but for the secrets of a fleet, which are in files. The data plane has room for
/// `care_of` pairs of a client's address A and a care-of address C.
pub(super) fn correspondent_settings(
    correspondent: &Correspondent,
    care_of: u32,
) -> correspondent::Settings {
    let client_prefixes = client_prefixes(correspondent);
    let max_bindings = correspondent
        .max_bindings
        .map_or(DEFAULT_BINDINGS, Into::into);
    // Where all clients are in one /64, no other network can be left without bindings.
    let per_prefix = match is_one_network(&client_prefixes) {
        true => max_bindings,
        false => max_bindings.div_ceil(4),
    };
    let per_member = max_bindings - max_bindings / 4;
    let given = |given: Option<NonZeroUsize>, default| given.map_or(default, Into::into);
    correspondent::Settings {
        client_prefixes,
        max_bindings,
        max_per_prefix: given(correspondent.max_bindings_per_prefix, per_prefix),
        max_per_member: given(correspondent.max_bindings_per_member, per_member),
        max_care_of: care_of as usize,
        allow: allowed(correspondent),
        limits: messages(correspondent),
        flows: flow_limits(&correspondent.flows),
        fleet: None,
    }
}

/// Whether all clients are in one /64 prefix.
fn is_one_network(prefixes: &[Ipv6Net]) -> bool {
    let network = |prefix: &Ipv6Net| prefix.network().to_bits() >> 64;
    let mut networks = prefixes.iter().map(network);
    let first = networks.next();
    prefixes.iter().all(|prefix| prefix.prefix_len() >= 64)
        && networks.all(|network| Some(network) == first)
}

/// When bound flows end.
#[must_use]
pub fn flow_limits(given: &Flows) -> flows::Limits {
    let mut limits = flows::Limits::default();
    take(&mut limits.tcp, given.tcp);
    take(&mut limits.udp, given.udp);
    take(&mut limits.icmp, given.icmp);
    take(&mut limits.other, given.other);
    take(&mut limits.closed, given.closed);
    take(&mut limits.failure, given.failure);
    limits
}

/// The times of `[correspondent.flows]` that are given, with their names.
pub(in crate::config) fn flow_times(
    given: &Flows,
) -> impl Iterator<Item = (&'static str, Duration)> + use<> {
    [
        ("tcp", given.tcp),
        ("udp", given.udp),
        ("icmp", given.icmp),
        ("other", given.other),
        ("closed", given.closed),
        ("failure", given.failure),
    ]
    .into_iter()
    .filter_map(|(name, given)| given.map(|given| (name, given)))
}

/// Prefixes of the anycast addresses that may be bound. An empty list allows every address.
#[must_use]
pub fn allowed(correspondent: &Correspondent) -> Vec<Ipv6Net> {
    let prefixes = correspondent.allow.iter();
    prefixes.map(|prefix| prefix.get_ref().0).collect()
}

/// Path of the file that keeps the nonces over a restart.
#[must_use]
pub fn state(correspondent: &Correspondent) -> Option<PathBuf> {
    let state = correspondent.state.as_ref();
    state.map(|path| path.get_ref().clone())
}

/// Paths of the files of the fleet's secrets: of that which tokens are made with, and of one that is accepted besides.
#[must_use]
pub fn secrets(fleet: &Fleet) -> (PathBuf, Option<PathBuf>) {
    let path = |path: &Spanned<PathBuf>| path.get_ref().clone();
    (path(&fleet.secret), fleet.previous.as_ref().map(path))
}

/// What the subjects of a fleet begin with, unless the configuration says otherwise.
const SUBJECT: &str = "anycast.fleet";

/// The bus of a fleet, if it has one. Its addresses have been checked.
#[must_use]
pub fn bus(fleet: &Fleet) -> Option<Bus> {
    let path = |path: &Option<Spanned<PathBuf>>| path.as_ref().map(|path| path.get_ref().clone());
    let text = |text: &Option<Spanned<String>>| text.as_ref().map(|text| text.get_ref().clone());
    let servers: Vec<_> = fleet
        .servers
        .iter()
        .filter_map(|server| server.get_ref().parse().ok())
        .collect();
    let host = || nix::unistd::gethostname().ok()?.into_string().ok();
    (!servers.is_empty()).then(|| Bus {
        servers,
        subject: text(&fleet.subject).unwrap_or_else(|| SUBJECT.to_owned()),
        name: text(&fleet.name).or_else(host).unwrap_or_default(),
        credentials: path(&fleet.credentials),
        authorities: path(&fleet.authorities),
        certificate: path(&fleet.certificate).zip(path(&fleet.key)),
    })
}

/// Prefixes of the clients that this correspondent answers for.
#[must_use]
pub fn client_prefixes(correspondent: &Correspondent) -> Vec<Ipv6Net> {
    let prefixes = correspondent.client_prefixes.iter();
    prefixes.map(|prefix| prefix.get_ref().0).collect()
}

pub(in crate::config) fn messages(correspondent: &Correspondent) -> correspondent::Limits {
    let given = correspondent.limits.as_ref().map(|given| *given.get_ref());
    let given = given.unwrap_or_default();
    let mut limits = correspondent::Limits::default();
    take(&mut limits.per_client, given.client_rate.map(rate));
    take(&mut limits.per_prefix, given.prefix_rate.map(rate));
    take(&mut limits.whole, given.rate.map(rate));
    take(&mut limits.unsolicited, given.unsolicited_rate.map(rate));
    limits
}

/// Checks that each limit can be reached before the next wider one is.
pub(in crate::config) fn nested(given: Option<&Spanned<MessageLimits>>) -> Result<(), Fault> {
    let Some(given) = given else {
        return Ok(());
    };
    let limits = given.get_ref();
    let [client, prefix, whole] = [
        ("client_rate", limits.client_rate),
        ("prefix_rate", limits.prefix_rate),
        ("rate", limits.rate),
    ];
    for (narrow, wide) in [(client, prefix), (client, whole), (prefix, whole)] {
        if let (Some(less), Some(more)) = (narrow.1, wide.1)
            && less > more
        {
            let reason = format!("{} {less} is above {} {more}", narrow.0, wide.0);
            return Err((given.span(), reason));
        }
    }
    Ok(())
}
