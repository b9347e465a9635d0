//! What an earlier run served, and sessions still use, though the configuration has it no more.

use std::net::Ipv6Addr;

use nix::net::if_::if_indextoname;

use super::{
    super::{clock, flows::Flows, netlink::Netlink, plane::Plane},
    retiring::Retiring,
};
use crate::{config::Config, model::address::Assigned};

/// Has the programs serve it, before they are attached.
pub(super) fn retiring<W>(
    config: &Config,
    flows: &Flows<W>,
    plane: &mut Plane,
    netlink: &mut Netlink,
) -> Retiring {
    let reader = plane.dataplane().maps().flow_reader();
    let in_use = flows.seen().read_in_use(&reader);
    let care_of: Vec<_> = in_use.iter().map(|(_, care_of)| *care_of).collect();
    let held = match in_use.is_empty() {
        true => Vec::new(),
        false => assigned(netlink, &care_of),
    };
    let retiring = Retiring::of_last_run(clock::now(), config, in_use, &held);
    for (anycast, care_of) in retiring.pairs() {
        tracing::info!(%anycast, %care_of, "sessions of the last run go on, though it is not configured");
        let maps = plane.dataplane().maps();
        if let Err(error) = maps.set_local(care_of, anycast) {
            tracing::warn!(%anycast, %care_of, %error, "the programs cannot serve it any more");
        }
    }
    retiring
}

/// The addresses that an earlier run has assigned.
fn assigned(netlink: &mut Netlink, care_of: &[Ipv6Addr]) -> Vec<Assigned> {
    let held = netlink.addresses().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot read the addresses of the last run");
        Vec::new()
    });
    let ours = held.into_iter().filter(|held| held.ours);
    ours.filter_map(|held| {
        Some(Assigned {
            address: held.address,
            interface: if_indextoname(held.ifindex).ok()?.into_string().ok()?,
            detect_duplicates: care_of.contains(&held.address),
        })
    })
    .collect()
}
