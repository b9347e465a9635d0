//! What of this host is legal, and surely not what was meant: the daemon says so when it attaches programs, and
//! `anycast-ctl check --host` before.

use anycast_common::abi::roles::{CORRESPONDENT, MEMBER, ROUTER};
use nix::net::if_::if_nametoindex;

use super::{netdev, sysctl};
use crate::{
    config::{Config, settings},
    model::program::{Mode, Wanted},
};

/// What is legal about a configuration on this host, and surely not what was meant.
#[must_use]
pub fn warnings(config: &Config) -> Vec<String> {
    let native = netdev::native().unwrap_or_default();
    let by_xdp = |name: &str, wanted: Wanted| match wanted.mode {
        Mode::Native | Mode::Generic => true,
        Mode::Auto => if_nametoindex(name).is_ok_and(|ifindex| native.contains(&ifindex)),
        Mode::Tcx => false,
    };
    settings::interfaces(config)
        .into_iter()
        .filter(|(name, wanted)| wanted.roles & CORRESPONDENT != 0 && by_xdp(name, *wanted))
        .map(|(name, _)| format!("{name}: {BY_PASSED}"))
        .collect()
}

/// What is to be said about the machine as a whole.
pub(super) fn of_machine(config: &Config) -> Option<String> {
    let gateway = config.correspondent_role();
    let forwards = settings::roles(config) & ROUTER != 0
        || gateway.is_some_and(|gateway| !gateway.is_client());
    if forwards && sysctl::forwards() == Some(false) {
        return Some(
            "this host forwards nothing: sysctl -w net.ipv6.conf.all.forwarding=1".to_owned(),
        );
    }
    None
}

/// What is to be said about an interface that exists. `port_of`: the kind of the device to which it belongs as a port;
/// `by_xdp`: its programs are attached by XDP.
pub(super) fn of_interface(port_of: Option<&str>, wanted: Wanted, by_xdp: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    if by_xdp && wanted.roles & CORRESPONDENT != 0 {
        warnings.push(BY_PASSED.to_owned());
    }
    if let Some(kind @ ("bridge" | "bond" | "team")) = port_of
        && wanted.roles & (ROUTER | MEMBER | CORRESPONDENT) != 0
    {
        warnings.push(format!(
            "it is a port of a {kind}, which has the addresses: configure the {kind} in its place"
        ));
    }
    warnings
}

/// Of a correspondent's interface.
const BY_PASSED: &str = "XDP forwards packets of bound flows past netfilter, its filters and counts: \
     forward = \"kernel\" in [correspondent] does not (docs/firewalls.md)";

#[cfg(test)]
mod tests {
    use super::*;

    fn said(port_of: Option<&str>, roles: u8, by_xdp: bool) -> Vec<String> {
        let mode = Mode::Auto;
        of_interface(port_of, Wanted { roles, mode }, by_xdp)
    }

    #[test]
    fn ports_and_what_xdp_by_passes_are_told() {
        let bridge = said(Some("bridge"), MEMBER, true);
        assert_eq!(bridge.len(), 1);
        assert!(bridge[0].contains("port of a bridge"), "{bridge:?}");
        assert_eq!(said(Some("vrf"), MEMBER, true), [""; 0]);
        assert_eq!(said(None, CORRESPONDENT, true), [BY_PASSED]);
        assert_eq!(said(None, CORRESPONDENT, false), [""; 0]);
    }
}
