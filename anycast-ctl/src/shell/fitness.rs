//! Whether XDP is right for an interface: what it cannot see there, the kernel attaches it to all the same.

use super::{dataplane, netlink::LinkTable};
use crate::{
    core::Link,
    model::program::{Framing, Place},
};

/// The interface as a place for programs.
pub(super) fn place(table: &LinkTable, link: &Link) -> Place {
    let framing = table.framing(link.ifindex);
    let no_xdp = match framing {
        Framing::Ethernet => {
            let vlans = table.vlans_on(link.ifindex);
            let blind = !vlans.is_empty() && dataplane::takes_tags_off(link.ifindex);
            let gone = blind.then(|| tags_are_gone(&link.name, &vlans));
            gone.or_else(|| dataplane::is_bond(link.ifindex).then(|| AT_ITS_PORTS.to_owned()))
        }
        Framing::Bare | Framing::Vrf | Framing::Other(_) => Some(NO_ETHERNET.to_owned()),
    };
    Place {
        ifindex: link.ifindex,
        framing,
        no_xdp,
        no_generic: dataplane::leaves_checksums_open(link.ifindex).then_some(OPEN_CHECKSUMS),
    }
}

/// Reports would be those of an interface that nobody has configured, and packets to be sent on those of no role.
const AT_ITS_PORTS: &str =
    "XDP of a bond runs at its ports, where programs take what comes in for theirs";

/// XDP in the driver has the device complete them.
const OPEN_CHECKSUMS: &str = "packets of other guests of its host come with checksums that are still open, \
     and what XDP in the stack changes about these arrives nowhere";

const NO_ETHERNET: &str =
    "its packets have no Ethernet header, with which frames begin that XDP sees";

/// A program would take a frame of any VLAN for one without a tag: a Report for one of this link, and a packet to be
/// forwarded would leave without the tag that it came with.
fn tags_are_gone(name: &str, vlans: &[&str]) -> String {
    format!(
        "the device takes VLAN tags off before XDP sees a frame, and {} stands on it \
         (`ethtool -K {name} rxvlan off` and a restart of the daemon, for XDP)",
        vlans.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_names_the_vlans_and_the_remedy() {
        let said = tags_are_gone("up0", &["up0.7", "up0.9"]);
        assert!(said.contains("up0.7, up0.9 stands"), "{said}");
        assert!(said.contains("`ethtool -K up0 rxvlan off`"), "{said}");
    }
}
