//! What the core is told of what the kernel says.

use super::*;

const LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 5);

fn link(ifindex: u32, name: &str, up: bool) -> KernelChange {
    KernelChange::Link {
        ifindex,
        name: name.into(),
        mac: Some([2, 0, 0, 0, 0, u8::try_from(ifindex).expect("small")]),
        below: None,
        above: None,
        port_of: None,
        vrf: None,
        framing: Framing::Ethernet,
        vlan: None,
        up,
    }
}

/// A device with this Ethernet address, on top of one or a part of one.
fn stacked(ifindex: u32, mac: u8, below: Option<u32>, above: Option<u32>) -> KernelChange {
    KernelChange::Link {
        ifindex,
        name: format!("dev{ifindex}"),
        mac: Some([2, 0, 0, 0, 0, mac]),
        below,
        above,
        port_of: None,
        vrf: None,
        framing: Framing::Ethernet,
        vlan: None,
        up: true,
    }
}

#[test]
fn frames_are_taken_for_what_is_above_an_interface() {
    let mut table = LinkTable::new(["eth0".to_owned()]);
    let stations = |table: &mut LinkTable| -> Vec<u8> {
        table.differences();
        let all = table.stations();
        let of_it = all.get(&2).into_iter().flatten();
        of_it.map(|mac| mac[5]).collect()
    };
    table.apply(link(2, "eth0", true));
    table.apply(stacked(3, 33, None, None));
    assert_eq!(stations(&mut table), [2]);
    // A macvlan, and a VLAN on top of that.
    table.apply(stacked(4, 44, Some(2), None));
    table.apply(stacked(5, 55, Some(4), None));
    assert_eq!(stations(&mut table), [2, 44, 55]);
    table.apply(KernelChange::LinkGone { ifindex: 4 });
    assert_eq!(stations(&mut table), [2]);
    // It becomes a port of a bridge.
    table.apply(KernelChange::Link {
        ifindex: 2,
        name: "eth0".into(),
        mac: Some([2, 0, 0, 0, 0, 22]),
        below: None,
        above: Some(3),
        port_of: Some("bridge".into()),
        vrf: None,
        framing: Framing::Ethernet,
        vlan: None,
        up: true,
    });
    assert_eq!(stations(&mut table), [22, 33]);
    assert_eq!((table.port_of(2), table.port_of(3)), (Some("bridge"), None));
    assert_eq!(table.mac(2), Some([2, 0, 0, 0, 0, 22]));
}

fn address(ifindex: u32, address: Ipv6Addr, usable: bool) -> KernelChange {
    KernelChange::Address {
        ifindex,
        address,
        usable,
        preferred: address == LOCAL,
        duplicate: false,
    }
}

fn told(table: &mut LinkTable) -> Vec<(String, bool, Option<Ipv6Addr>)> {
    table
        .differences()
        .into_iter()
        .map(|input| match input {
            LinkInput::Link(link) => (link.name, link.up, link.link_local),
            LinkInput::Gone { name, .. } => (format!("-{name}"), false, None),
        })
        .collect()
}

#[test]
fn an_interface_is_told_when_it_appears_and_when_it_changes() {
    let mut table = LinkTable::new(["eth0".to_owned()]);
    assert_eq!(table.missing().collect::<Vec<_>>(), ["eth0"]);
    table.apply(link(1, "lo", true));
    assert_eq!(told(&mut table), []);
    table.apply(link(2, "eth0", false));
    assert_eq!(told(&mut table), [("eth0".into(), false, None)]);
    assert_eq!(table.missing().count(), 0);
    assert_eq!(table.ifindex("eth0"), Some(2));
    table.apply(link(2, "eth0", true));
    table.apply(address(2, LOCAL, false));
    assert_eq!(told(&mut table), [("eth0".into(), true, None)]);
    table.apply(address(2, LOCAL, true));
    assert_eq!(told(&mut table), [("eth0".into(), true, Some(LOCAL))]);
    assert_eq!(told(&mut table), []);
    assert!(table.is_local(LOCAL) && table.is_preferred(LOCAL));
    let other = "2001:db8::1".parse().expect("an address");
    table.apply(address(2, other, true));
    assert!(table.is_local(other) && !table.is_preferred(other));
}

#[test]
fn the_link_local_address_stays_while_it_is_usable() {
    let mut table = LinkTable::new(["eth0".to_owned()]);
    let lower = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    table.apply(link(2, "eth0", true));
    table.apply(address(2, "2001:db8::1".parse().expect("an address"), true));
    table.apply(address(2, LOCAL, true));
    assert_eq!(told(&mut table), [("eth0".into(), true, Some(LOCAL))]);
    table.apply(address(2, lower, true));
    assert_eq!(told(&mut table), []);
    table.apply(KernelChange::AddressGone {
        ifindex: 2,
        address: LOCAL,
    });
    assert_eq!(told(&mut table), [("eth0".into(), true, Some(lower))]);
}

#[test]
fn renamed_and_recreated_interfaces_are_others() {
    let mut table = LinkTable::new(["eth0".to_owned()]);
    table.apply(link(2, "eth0", true));
    told(&mut table);
    table.apply(link(2, "old0", true));
    assert_eq!(told(&mut table), [("-eth0".into(), false, None)]);
    table.apply(link(3, "eth0", true));
    assert_eq!(told(&mut table), [("eth0".into(), true, None)]);
    table.replace(vec![link(4, "eth0", true)]);
    assert_eq!(
        told(&mut table),
        [("-eth0".into(), false, None), ("eth0".into(), true, None)]
    );
}

#[test]
fn vlans_on_an_interface_and_on_what_it_is_a_part_of_are_found() {
    let mut table = LinkTable::new(["eth0".to_owned()]);
    let vlan = |ifindex, below| {
        let mut change = stacked(ifindex, 9, Some(below), None);
        if let KernelChange::Link { vlan, .. } = &mut change {
            *vlan = Some(0x8100);
        }
        change
    };
    // Interface 2 is a part of 3, on which a VLAN stands; a macvlan, 5, stands on 2.
    for change in [
        stacked(2, 2, None, Some(3)),
        stacked(3, 3, None, None),
        stacked(5, 5, Some(2), None),
    ] {
        table.apply(change);
    }
    assert_eq!(table.vlans_on(2), []);
    table.apply(vlan(4, 3));
    assert_eq!(table.vlans_on(2), [("dev4", 0x8100)]);
    assert_eq!(table.vlans_on(5), [], "XDP at 5 is none of 3's business");
    table.apply(vlan(6, 5));
    assert_eq!(table.vlans_on(2), [("dev4", 0x8100), ("dev6", 0x8100)]);
    table.apply(KernelChange::LinkGone { ifindex: 4 });
    table.apply(KernelChange::LinkGone { ifindex: 6 });
    assert_eq!(table.vlans_on(2), []);
}
