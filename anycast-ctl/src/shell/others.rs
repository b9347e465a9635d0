//! Programs of others on the interfaces of a configuration, which decide before ours, or in their place.

use nix::net::if_::if_nametoindex;

use super::{
    attached::{self, Attached, OURS, Point},
    bpf,
    finding::Finding,
};
use crate::{
    config::{Config, settings},
    model::program::Mode,
};

/// What is to be said about them. Nothing to who may not see their names (CAP_SYS_ADMIN).
pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let attached = attached::attached().unwrap_or_default();
    let mut findings = Vec::new();
    for (name, wanted) in settings::interfaces(config) {
        let Ok(ifindex) = if_nametoindex(name.as_str()) else {
            continue;
        };
        let here = attached.iter().filter(|it| it.ifindex == ifindex);
        findings.extend(here.filter_map(|it| of(&name, wanted.mode, it)));
    }
    findings
}

fn of(interface: &str, mode: Mode, attached: &Attached) -> Option<Finding> {
    let names = attached
        .programs
        .iter()
        .map(|id| (*id, bpf::name(*id).ok()));
    let foreign = names.map_while(|(id, name)| match name {
        Some(name) if !name.starts_with(OURS) => Some(format!("{name} (program {id})")),
        _ => None,
    });
    let foreign: Vec<String> = foreign.collect();
    if foreign.is_empty() {
        return None;
    }
    let foreign = foreign.join(", ");
    Some(match (attached.point, mode) {
        (Point::Xdp, Mode::Tcx) => Finding::new(
            "other_xdp",
            format!(
                "packets of {interface} meet an XDP program of somebody else before ours: {foreign}. \
                 What it decides of, ours do not see"
            ),
            "`bpftool net` tells whose it is",
        ),
        (Point::Xdp, _) => Finding::new(
            "other_xdp",
            format!(
                "{interface} has an XDP program of somebody else, and has room for one: {foreign}"
            ),
            format!(
                "mode = \"tcx\" for {interface}, or end its owner (`bpftool net` tells whose it is), \
                 or ip link set dev {interface} xdp off"
            ),
        ),
        (Point::TcxIngress | Point::TcxEgress, _) => Finding::new(
            "other_tcx",
            format!(
                "packets of {interface} meet TCX programs of others before ours: {foreign}. \
                 What these decide of, ours do not see"
            ),
            "have them pass packets on (TCX_NEXT), or attach them after the daemon's",
        ),
    })
}
