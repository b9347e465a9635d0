//! Whether XDP is right for an interface: what it cannot see there, the kernel attaches it to all the same.

use super::{
    dataplane::{self, TagOffload},
    netdev,
    netlink::LinkTable,
};
use crate::{
    core::Link,
    model::program::{Framing, Place},
};

/// The interface as a place for programs.
pub(super) fn place(table: &LinkTable, link: &Link) -> Place {
    let framing = table.framing(link.ifindex);
    let no_xdp = match framing {
        Framing::Ethernet => no_xdp(&link.name, link.ifindex, &table.vlans_on(link.ifindex)),
        Framing::Bare | Framing::Vrf | Framing::Other(_) => Some(NO_ETHERNET.to_owned()),
    };
    Place {
        ifindex: link.ifindex,
        framing,
        no_xdp,
        dear_native: dear_native(&link.name, link.ifindex),
        no_generic: dataplane::leaves_checksums_open(link.ifindex).then_some(OPEN_CHECKSUMS),
    }
}

/// Why XDP would be wrong at an Ethernet device, with these VLAN devices on it.
pub(super) fn no_xdp(name: &str, ifindex: u32, vlans: &[(&str, u16)]) -> Option<String> {
    if dataplane::is_bond(ifindex) {
        return Some(AT_ITS_PORTS.to_owned());
    }
    let (on, is_pair) = (dataplane::tags_off(ifindex), dataplane::is_pair(ifindex));
    let off = blinding(on, is_pair, vlans);
    if off.is_empty() {
        return None;
    }
    // Kernels before 6.3 do not tell.
    let has_native = netdev::native().map_or(true, |native| native.contains(&ifindex));
    Some(tags_are_gone(name, &off, vlans, has_native))
}

/// Why native XDP would cost sessions something when it comes to the device.
pub(super) fn dear_native(name: &str, ifindex: u32) -> Option<String> {
    let (mtu, is_vmxnet3) = dataplane::drops_large_at_first(ifindex)?;
    Some(large_are_dropped(name, mtu, is_vmxnet3))
}

/// Why native XDP would be wrong at a device whose driver was asked for it last when it had this MTU.
///
/// Most drivers without frames of several buffers refuse an MTU that their XDP cannot do with. By their sources, some
/// take it all the same: vmxnet3 passes longer frames by the programs, and xen-netfront drops them. Kernels before 6.3
/// do not tell which drivers have such frames; those of which nothing is known are left alone.
pub(super) fn wrong_since(ifindex: u32, asked: i32) -> Option<String> {
    let mtu = grown(ifindex, asked)?;
    let whole = netdev::natives_of_whole().ok()?;
    (!whole.contains(&ifindex)).then(|| {
        let driver = dataplane::driver_of(ifindex);
        not_asked(driver.as_deref().unwrap_or("no name"), mtu, asked)
    })
}

/// Why native XDP costs sessions something now at a device that took it when it had this MTU: on a quiet link, receive
/// buffers of before XDP are still there.
pub(super) fn dear_since(name: &str, ifindex: u32, asked: i32) -> Option<String> {
    grown(ifindex, asked)?;
    dear_native(name, ifindex)
}

/// The MTU of a device, where it is larger than it was, and than that with which every driver has XDP.
fn grown(ifindex: u32, before: i32) -> Option<i32> {
    dataplane::mtu(ifindex).filter(|mtu| *mtu > before.max(dataplane::USUAL_MTU))
}

/// Whether `auto` takes native XDP where the driver has it.
pub(super) fn takes_native(name: &str, ifindex: u32) -> bool {
    no_xdp(name, ifindex, &[]).is_none() && dear_native(name, ifindex).is_none()
}

/// Reports would be those of an interface that nobody has configured, and packets to be sent on those of no role.
const AT_ITS_PORTS: &str =
    "XDP of a bond runs at its ports, where programs take what comes in for theirs";

/// XDP in the driver has the device complete them.
const OPEN_CHECKSUMS: &str = "packets of other guests of its host come with checksums that are still open, \
     and what XDP in the stack changes about these arrives nowhere";

const NO_ETHERNET: &str =
    "its packets have no Ethernet header, with which frames begin that XDP sees";

/// Of the offloads that are on, those by which XDP takes a frame of some VLAN for one of none.
///
/// A network card takes tags off whatever comes by the wire. Its filter (`rx-vlan-filter`) does not help: some have
/// none, and it is open when a VLAN of that number is somewhere on the card, in promiscuous mode, and until the first
/// VLAN device comes.
///
/// The two ends of a pair (veth, netkit) have these offloads on as they are made, and take nothing off: a tag is apart
/// there where a VLAN device or a bridge of this machine, at the other end, has put it so. Whoever makes a VLAN there
/// makes one on this end too, and that is seen. XDP by the driver would be for no veth otherwise.
fn blinding(on: Vec<TagOffload>, is_pair: bool, vlans: &[(&str, u16)]) -> Vec<TagOffload> {
    let has_vlan = |off: &TagOffload| vlans.iter().any(|(_, tag)| *tag == off.tag);
    on.into_iter()
        .filter(|off| !is_pair || has_vlan(off))
        .collect()
}

/// A program would take a frame of any VLAN for one without a tag: a Report for one of this link, and a packet to be
/// forwarded would leave without the tag that it came with.
fn tags_are_gone(
    name: &str,
    off: &[TagOffload],
    vlans: &[(&str, u16)],
    has_native: bool,
) -> String {
    let vlans: Vec<&str> = vlans.iter().map(|(name, _)| *name).collect();
    let stand = match vlans[..] {
        [] => String::new(),
        _ => format!(", and {} stands on it", vlans.join(", ")),
    };
    let off: Vec<String> = off.iter().map(|off| format!("{} off", off.name)).collect();
    let with = if has_native {
        "and mode = \"native\""
    } else {
        "and mode = \"generic\", since its driver has no native XDP"
    };
    format!(
        "the device takes VLAN tags off before XDP sees a frame{stand} (for XDP: `ethtool -K {name} {}` {with})",
        off.join(" ")
    )
}

/// Sessions that are there stand still: each segment that is sent again uses up few of the buffers.
fn large_are_dropped(name: &str, mtu: i32, is_vmxnet3: bool) -> String {
    if is_vmxnet3 {
        return format!(
            "at MTU {mtu} vmxnet3 drops large frames of {name} where it has XDP, and sessions may stand still"
        );
    }
    format!(
        "at MTU {mtu} virtio_net drops large frames of {name} from when XDP comes until the receive buffers of before \
         are used up, on a quiet link for minutes"
    )
}

fn not_asked(driver: &str, mtu: i32, asked: i32) -> String {
    format!(
        "the MTU is {mtu} now, {asked} when the driver ({driver}) took XDP, and it gives XDP no frame of several \
         buffers: it may drop longer ones, or pass them by the programs"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUSTOMER: TagOffload = TagOffload::CUSTOMER;
    const SERVICE: TagOffload = TagOffload::SERVICE;

    #[test]
    fn tags_blind_xdp_at_a_card_with_and_without_vlans_and_at_a_pair_with_vlans_of_their_kind() {
        let (q, ad) = (("up0.7", 0x8100), ("up0.8", 0x88a8));
        for (on, is_pair, vlans, blind) in [
            (&[][..], false, &[q, ad][..], &[][..]),
            (&[CUSTOMER], false, &[], &[CUSTOMER]),
            (&[CUSTOMER], false, &[q], &[CUSTOMER]),
            (&[SERVICE], false, &[], &[SERVICE]),
            (&[CUSTOMER, SERVICE], false, &[], &[CUSTOMER, SERVICE]),
            (&[CUSTOMER, SERVICE], true, &[], &[]),
            (&[CUSTOMER, SERVICE], true, &[q], &[CUSTOMER]),
            (&[CUSTOMER, SERVICE], true, &[ad], &[SERVICE]),
            (&[SERVICE], true, &[q], &[]),
        ] {
            let found = blinding(on.to_vec(), is_pair, vlans);
            assert_eq!(found, blind, "{on:?} {is_pair} {vlans:?}");
        }
    }

    #[test]
    fn what_has_no_mtu_has_not_grown() {
        assert_eq!(wrong_since(u32::MAX, 1500), None);
        assert_eq!(dear_since("up0", u32::MAX, 1500), None);
        let said = not_asked("vmxnet3", 3000, 1500);
        assert!(
            said.contains("MTU is 3000 now, 1500 when the driver (vmxnet3)"),
            "{said}"
        );
    }

    #[test]
    fn the_reason_against_large_frames_names_the_mtu() {
        for is_vmxnet3 in [false, true] {
            let said = large_are_dropped("up0", 8950, is_vmxnet3);
            assert!(
                said.contains("at MTU 8950") && said.contains("of up0"),
                "{said}"
            );
        }
    }

    #[test]
    fn a_reason_names_the_vlans_and_the_remedy() {
        let vlans = [("up0.7", 0x8100), ("up0.9", 0x8100)];
        let said = tags_are_gone("up0", &[CUSTOMER], &vlans, true);
        assert!(said.contains("up0.7, up0.9 stands"), "{said}");
        assert!(said.contains("`ethtool -K up0 rxvlan off`"), "{said}");
        assert!(said.contains("mode = \"native\""), "{said}");
        let said = tags_are_gone("up0", &[CUSTOMER, SERVICE], &[], false);
        let remedy = "`ethtool -K up0 rxvlan off rx-vlan-stag-hw-parse off` and mode = \"generic\"";
        assert!(said.contains(remedy) && !said.contains("stands"), "{said}");
    }
}
