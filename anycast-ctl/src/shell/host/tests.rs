use std::fs;

use super::*;
use crate::{model::program::Framing, shell::netlink::KernelChange};

const GATEWAY: &str = "[correspondent]\ninterfaces = [\"up0\"]\nmode = \"native\"\n\
                       client_prefixes = [\"2001:db8:1::/64\"]\nallow = [\"2001:db8:a::/48\"]\n";
const MEMBER: &str = "[member]\ninterfaces = [\"up0\"]\n[[member.group]]\nanycast = \"2001:db8:a::53\"\n\
                      care_of = \"2001:db8:20::c1\"\n";

/// A machine made of these files; a file without text is a directory.
fn codes(name: &str, config: &str, files: &[(&str, &str)]) -> Vec<&'static str> {
    codes_with(name, config, files, &LinkTable::new([]))
}

/// The same, with these interfaces and addresses.
fn codes_with(
    name: &str,
    config: &str,
    files: &[(&str, &str)],
    links: &LinkTable,
) -> Vec<&'static str> {
    let root = std::env::temp_dir().join(format!("anycast-{}-host-{name}", std::process::id()));
    let sound = [
        ("proc/sys/kernel/osrelease", "6.12.1-amd64\n"),
        ("proc/mounts", "bpf /sys/fs/bpf bpf rw 0 0\n"),
        ("proc/sys/net/ipv6/conf/all/forwarding", "1\n"),
        ("sys/class/net/up0/type", "1\n"),
        ("proc/sys/net/ipv6/neigh/default/gc_thresh3", "1024\n"),
        (
            "proc/net/stat/ndisc_cache",
            "entries  allocs\n00000300  00001000\n",
        ),
    ];
    for (path, text) in sound.iter().chain(files) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, text).expect("written");
    }
    let config = crate::config::parse(config, "x.toml").expect("right");
    let found = Host::new(&root, links).look(&config);
    fs::remove_dir_all(root).expect("removed");
    found.into_iter().map(|finding| finding.code).collect()
}

#[test]
fn programs_that_interrupt_each_other_are_told_of() {
    let on = |release, realtime| {
        let files = [
            ("proc/sys/kernel/osrelease", release),
            ("sys/kernel/realtime", realtime),
        ];
        codes("realtime", GATEWAY, &files)
    };
    assert_eq!(on("6.18.15-rt\n", "1\n"), ["realtime"]);
    // There they wait for each other.
    assert_eq!(on("6.12.1-rt\n", "1\n"), Vec::<&str>::new());
    assert_eq!(on("6.18.15\n", "0\n"), Vec::<&str>::new());
}

/// An interface that is a port of a device of this kind.
fn port(ifindex: u32, kind: &str, vrf: Option<u32>) -> KernelChange {
    KernelChange::Link {
        ifindex,
        name: "up0".into(),
        mac: None,
        below: None,
        above: Some(3),
        port_of: Some(kind.into()),
        vrf,
        framing: Framing::Ethernet,
        vlan: None,
        up: true,
    }
}

/// The addresses that the member of [`MEMBER`] needs.
fn member(preferred: bool) -> LinkTable {
    let mut links = LinkTable::new([]);
    for address in ["2001:db8:a::53", "2001:db8:20::c1"] {
        links.apply(KernelChange::Address {
            ifindex: 1,
            address: address.parse().expect("an address"),
            usable: true,
            preferred,
            duplicate: false,
        });
    }
    links
}

#[test]
fn nothing_is_in_the_way_on_a_machine_that_is_sound() {
    assert_eq!(codes("sound", GATEWAY, &[]), Vec::<&str>::new());
    let links = member(false);
    assert_eq!(
        codes_with("member", MEMBER, &[], &links),
        Vec::<&str>::new()
    );
}

#[test]
fn each_obstacle_is_found() {
    for (number, (file, text, code)) in [
        ("proc/sys/kernel/osrelease", "6.1.0-13-amd64", "kernel"),
        ("proc/sys/net/core/bpf_jit_enable", "0", "no_jit"),
        ("proc/mounts", "proc /proc proc rw 0 0", "no_bpffs"),
        (
            "proc/sys/net/ipv6/conf/all/forwarding",
            "0",
            "no_forwarding",
        ),
        ("proc/sys/net/ipv6/conf/up0/disable_ipv6", "1", "no_ipv6"),
        ("sys/module/nf_tables/refcnt", "3", "netfilter"),
        (
            "proc/net/stat/ndisc_cache",
            "entries  allocs\n00000301  00001000\n",
            "neighbours",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let found = codes(&format!("obstacle-{number}"), GATEWAY, &[(file, text)]);
        assert_eq!(found, [code], "{file}");
    }
    let elsewhere = GATEWAY.replace("up0", "up1");
    assert_eq!(codes("missing", &elsewhere, &[]), ["no_interface"]);
}

#[test]
fn a_router_alone_runs_on_linux_6_1() {
    const ROUTER: &str = "[router]\ninterfaces = [\"up0\"]\n";
    let tcx = format!("{ROUTER}mode = \"tcx\"\n");
    let both = format!("{ROUTER}{MEMBER}");
    for (number, (release, config, found)) in [
        ("6.1.0-50-amd64", ROUTER, false),
        ("5.10.0-30-amd64", ROUTER, true),
        ("6.1.0-50-amd64", tcx.as_str(), true),
        ("6.1.0-50-amd64", MEMBER, true),
        ("6.1.0-50-amd64", GATEWAY, true),
        ("6.1.0-50-amd64", both.as_str(), true),
        ("6.6.0-1-amd64", both.as_str(), false),
    ]
    .into_iter()
    .enumerate()
    {
        let files = [("proc/sys/kernel/osrelease", release)];
        let codes = codes(&format!("kernel-{number}"), config, &files);
        assert_eq!(codes.contains(&"kernel"), found, "{release} {config}");
    }
}

#[test]
fn a_router_needs_ethernet_and_a_gateway_does_not() {
    const ROUTER: &str = "[router]\ninterfaces = [\"up0\"]\n";
    let sit = [("sys/class/net/up0/type", "776")];
    assert_eq!(codes("sit-router", ROUTER, &sit), ["not_ethernet"]);
    assert_eq!(codes("sit-gateway", GATEWAY, &sit), [""; 0]);
}

#[test]
fn settings_that_contradict_each_other_are_found() {
    let forwards = [
        ("proc/sys/net/ipv6/conf/up0/forwarding", "1"),
        ("proc/sys/net/ipv6/conf/up0/accept_ra", "1"),
    ];
    assert_eq!(codes("ra", GATEWAY, &forwards), ["accept_ra"]);
    let bridge = [
        ("sys/class/net/up0/bridge/multicast_snooping", "1"),
        ("sys/class/net/up0/bridge/multicast_querier", "1"),
    ];
    assert_eq!(codes("snoops", GATEWAY, &bridge), ["snooping"]);
}

#[test]
fn addresses_that_a_member_lacks_are_found() {
    assert_eq!(codes("none", MEMBER, &[]), ["no_anycast", "no_care_of"]);
    let links = member(true);
    let found = codes_with("preferred", MEMBER, &[], &links);
    assert_eq!(found, ["care_of_preferred"]);
}

#[test]
fn a_router_in_a_vrf_needs_its_routes_there() {
    let mut links = LinkTable::new([]);
    links.apply(port(2, "vrf", Some(100)));
    for (table, found) in [("", &["vrf_table"][..]), ("table = 100\n", &[])] {
        let config = format!("[router]\ninterfaces = [\"up0\"]\n{table}");
        assert_eq!(codes_with("table", &config, &[], &links), found, "{table}");
    }
    // What the daemon itself sends does not go by a VRF.
    assert_eq!(codes_with("vrf", GATEWAY, &[], &links), ["vrf"]);
}

#[test]
fn a_port_of_a_device_that_has_the_addresses_is_found() {
    for (kind, found) in [("bridge", &["port"][..]), ("bond", &["port"]), ("vrf", &[])] {
        let mut links = LinkTable::new([]);
        links.apply(port(2, kind, None));
        let name = format!("port-{kind}");
        assert_eq!(codes_with(&name, GATEWAY, &[], &links), found, "{kind}");
    }
}

#[test]
fn the_key_of_a_vlan_has_slashes() {
    assert_eq!(key("eth0", "accept_ra"), "net.ipv6.conf.eth0.accept_ra");
    assert_eq!(
        key("eth0.100", "accept_ra"),
        "net/ipv6/conf/eth0.100/accept_ra"
    );
}
