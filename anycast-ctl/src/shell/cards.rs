//! What native XDP needs of a device, and what makes it slow there.

use nix::net::if_::if_nametoindex;

use super::{dataplane, finding::Finding, fitness, netdev};
use crate::{
    config::{Config, settings},
    model::program::Mode,
};

/// Octets of a page that a driver needs beside a packet: the room before it (`XDP_PACKET_HEADROOM`), `struct
/// skb_shared_info` behind it, an Ethernet header with a VLAN tag and its checksum.
const OVERHEAD: i64 = 256 + 320 + 14 + 4 + 4;
/// The kernel's smallest page, which that of most machines is.
const PAGE: i64 = 4096;

/// What is to be said about the interfaces on which native XDP is wanted. Nothing of those that are not there.
pub(super) fn findings(config: &Config) -> Vec<Finding> {
    // Kernels before 6.3 do not tell.
    let (Ok(native), Ok(whole)) = (netdev::native(), netdev::natives_of_whole()) else {
        return Vec::new();
    };
    let processors = aya::util::online_cpus().map_or(1, |online| online.len());
    let processors = u32::try_from(processors).unwrap_or(u32::MAX);
    let mut findings = Vec::new();
    for (name, wanted) in settings::interfaces(config) {
        let Ok(ifindex) = if_nametoindex(name.as_str()) else {
            continue;
        };
        let driver = dataplane::driver_of(ifindex);
        let driver = driver.as_deref().unwrap_or("no name");
        let has = native.contains(&ifindex);
        match wanted.mode {
            Mode::Native if !has => {
                findings.push(no_native(&name, driver));
                continue;
            }
            Mode::Native => findings.extend(dear(&name, ifindex)),
            // The ends of a pair are made with one queue, and their offloads are worth more.
            Mode::Auto
                if has && !dataplane::is_pair(ifindex) && fitness::takes_native(&name, ifindex) => {
            }
            _ => continue,
        }
        if wanted.mode == Mode::Native && !whole.contains(&ifindex) {
            let mtu = dataplane::mtu(ifindex).map(i64::from);
            findings.extend(mtu.and_then(|mtu| too_large(&name, driver, mtu)));
        }
        let channels = dataplane::channels(ifindex);
        findings.extend(channels.and_then(|its| too_few(&name, driver, its, processors)));
    }
    findings
}

fn dear(name: &str, ifindex: u32) -> Option<Finding> {
    let message = format!(
        "native XDP at {name}: {}",
        fitness::dear_native(name, ifindex)?
    );
    let remedy = "mode = \"auto\" or \"tcx\", which cost nothing when they come";
    Some(Finding::new("dear_native", message, remedy))
}

fn no_native(name: &str, driver: &str) -> Finding {
    let message = format!("{name} ({driver}) has no native XDP: its programs are not attached");
    let remedy = format!("mode = \"auto\" or \"tcx\" for {name}");
    Finding::new("no_native", message, remedy)
}

/// Of a driver whose programs see the first buffer of a frame only.
fn too_large(name: &str, driver: &str, mtu: i64) -> Option<Finding> {
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    let most = page.ok().flatten().map_or(PAGE, i64::from) - OVERHEAD;
    (mtu > most).then(|| {
        let message = format!(
            "{name} ({driver}) has an MTU of {mtu}, and its driver gives XDP no frame of several buffers: it refuses \
             native XDP, or passes longer frames by the programs"
        );
        let remedy = format!("ip link set dev {name} mtu {most}, or mode = \"tcx\" for it");
        Finding::new("mtu", message, remedy)
    })
}

/// Of a device that receives by fewer queues than this machine has processors, and could have more.
fn too_few(
    name: &str,
    driver: &str,
    channels: dataplane::Channels,
    processors: u32,
) -> Option<Finding> {
    let dataplane::Channels {
        receiving,
        most,
        are_combined,
    } = channels;
    let right = processors.min(most);
    (receiving < right).then(|| {
        let queues = if receiving == 1 { "queue" } else { "queues" };
        let message = format!(
            "{name} ({driver}) receives by {receiving} {queues}, and this machine has {processors} processors: XDP \
             runs on no more of them than there are queues"
        );
        let kind = if are_combined { "combined" } else { "rx" };
        let remedy = format!("ethtool -L {name} {kind} {right}");
        Finding::new("queues", message, remedy)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_too_few_where_the_device_could_have_more() {
        for (receiving, most, processors, remedy) in [
            (1, 8, 4, Some("combined 4")),
            (1, 2, 4, Some("combined 2")),
            (2, 2, 4, None),
            (4, 8, 4, None),
            (8, 8, 4, None),
            (1, 1, 1, None),
        ] {
            let channels = dataplane::Channels {
                receiving,
                most,
                are_combined: true,
            };
            let found = too_few("up0", "ixgbe", channels, processors);
            let said = found.map(|finding| finding.remedy);
            let expected = remedy.map(|it| format!("ethtool -L up0 {it}"));
            assert_eq!(said, expected, "{receiving} of {most}, {processors}");
        }
    }

    #[test]
    fn a_packet_has_to_fit_a_page() {
        assert_eq!(too_large("up0", "ena", 1500), None);
        let found = too_large("up0", "ena", 65_535).expect("more than a page");
        assert!(found.remedy.contains("mtu"), "{found}");
    }
}
