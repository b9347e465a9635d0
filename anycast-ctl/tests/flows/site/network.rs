//! How the network of a site is laid, and what a test changes of it: routes, hashes, the switch.

use std::{fs, net::Ipv6Addr};

use anyhow::{Context as _, Result};
use xtask::{
    lab::topology::{B, CLIENT},
    net::{
        Pass, Wire, cable,
        netlink::{self, End},
        prepare, sysctl,
    },
};

use super::{
    ADDRESSES_AND_PORTS, ANY, CLIENT_BACK, Hash, Mode, NAMES, OUTSIDE, Site, care_of, host, ip,
    lan, link_local, mac,
};

impl Site {
    pub(super) fn sysctls(&self) -> Result<()> {
        let others = [
            &self.client,
            &self.gateway,
            &self.gateway2,
            &self.router,
            &self.outside,
            &self.lan,
            &self.road,
        ];
        for namespace in others.into_iter().chain(&self.members) {
            prepare(namespace)?;
        }
        for namespace in [&self.gateway, &self.gateway2, &self.router] {
            sysctl::set(namespace, &[("ipv6/conf/all/forwarding", "1")])?;
        }
        for namespace in [&self.lan, &self.road] {
            sysctl::set(namespace, &[("ipv6/conf/default/disable_ipv6", "1")])?;
        }
        // So Linux changes the flow label too: on a busy machine, flows would move although no route does.
        sysctl::set(&self.client, &[("core/txrehash", "0")])?;
        self.hash(self.plan.hash)
    }

    /// The router hashes by something else from now on.
    pub fn hash(&self, hash: Hash) -> Result<()> {
        // Policy 1 would do for ports, but takes a packet's hash from its socket while it has not left the machine,
        // and Linux changes that when a retransmission times out.
        let policy = match hash {
            Hash::FlowLabel => "0",
            Hash::Ports => "3",
        };
        let settings = [
            ("ipv6/fib_multipath_hash_fields", ADDRESSES_AND_PORTS),
            ("ipv6/fib_multipath_hash_policy", policy),
        ];
        sysctl::set(&self.router, &settings)
    }

    /// The router's hash mixes this in from now on: two networks with one seed send the same ports to the same member.
    pub fn seed(&self, seed: u32) -> Result<()> {
        let seed = seed.to_string();
        sysctl::set(&self.router, &[("ipv4/fib_multipath_hash_seed", &seed)])
    }

    pub(super) fn cables(&mut self) -> Result<()> {
        let mut links = vec![
            (
                End::new(&self.client, "eth0"),
                End::new(&self.gateway, "clients0"),
            ),
            (
                End::new(&self.client, "eth1"),
                End::new(&self.gateway2, "clients0"),
            ),
            (
                End::new(&self.gateway2, "up0"),
                End::new(&self.router, "gw1"),
            ),
            (
                End::new(&self.outside, "eth0"),
                End::new(&self.router, "out0"),
            ),
            (
                End::new(&self.router, "lan0").with_mac([2, 0, 0, 0, 0x20, 1]),
                End::new(&self.lan, "router"),
            ),
        ];
        match self.settings.seed {
            None => links.push((
                End::new(&self.gateway, "up0"),
                End::new(&self.router, "gw0"),
            )),
            Some(_) => links.extend([
                (End::new(&self.gateway, "up0"), End::new(&self.road, "near")),
                (End::new(&self.router, "gw0"), End::new(&self.road, "far")),
            ]),
        }
        for (member, namespace) in self.members.iter().enumerate() {
            let port = End::new(&self.lan, NAMES[member]);
            links.push((End::new(namespace, "eth0").with_mac(mac(member)), port));
        }
        // Neither native XDP nor the bad wire can live with what a veth leaves undone.
        let whole = self.plan.mode == Some(Mode::Native) || self.settings.seed.is_some();
        for (left, right) in links {
            if whole {
                cable(left, right)?;
            } else {
                netlink::veth(left, right)?;
                netlink::connect(left, right)?;
            }
        }
        let mut ports = vec!["router"];
        ports.extend(&NAMES[..self.members.len()]);
        netlink::bridge(&self.lan, "br0", &ports)?;
        if whole {
            let mut ends = vec![
                (&self.client, "eth0"),
                (&self.client, "eth1"),
                (&self.router, "gw0"),
                (&self.router, "gw1"),
            ];
            ends.extend(self.settings.seed.map(|_| (&self.road, "near")));
            let passes = ends
                .into_iter()
                .map(|(namespace, interface)| Pass::attach(namespace, interface));
            self.passes = passes.collect::<Result<_>>()?;
        }
        if let Some(seed) = self.settings.seed {
            self.wire = Some(Wire::between(&self.road, ["near", "far"], seed)?);
        }
        Ok(())
    }

    pub(super) fn addresses(&self) -> Result<()> {
        let client_side = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
        let uplink = |network, host| Ipv6Addr::new(0x2001, 0xdb8, network, 0, 0, 0, 0, host);
        let back = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
        let links = [
            (&self.client, "eth0", CLIENT),
            (&self.client, "eth1", CLIENT_BACK),
            (&self.gateway, "clients0", client_side),
            (&self.gateway2, "clients0", back),
            (&self.gateway, "up0", uplink(0xff, 2)),
            (&self.router, "gw0", uplink(0xff, 1)),
            (&self.gateway2, "up0", uplink(0xfe, 2)),
            (&self.router, "gw1", uplink(0xfe, 1)),
            (&self.outside, "eth0", OUTSIDE),
            (&self.router, "out0", uplink(2, 1)),
            (&self.router, "lan0", lan(1)),
        ];
        for (index, (namespace, interface, address)) in (1..).zip(links) {
            netlink::address(namespace, interface, address, 64)?;
            if !address.is_unicast_link_local() {
                let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x100 + index);
                netlink::address(namespace, interface, link_local, 64)?;
            }
        }
        for (member, namespace) in self.members.iter().enumerate() {
            netlink::address(namespace, "eth0", link_local(member), 64)?;
            netlink::address(namespace, "eth0", lan(host(member).into()), 64)?;
            netlink::address(namespace, "lo", B, 128)?;
            let care_of = care_of(member);
            // Deprecated: no program of the member chooses it as the source of something of its own.
            let text = format!("-6 address add {care_of}/128 dev eth0 nodad preferred_lft 0");
            ip(namespace, &text)?;
            netlink::route(namespace, ANY, 0, lan(1), "eth0")?;
            // Multipath passes over a next hop whose neighbour does not answer: on a busy machine that moves flows.
            netlink::neighbour(&self.router, "lan0", link_local(member), mac(member))?;
        }
        netlink::route(&self.client, ANY, 0, client_side, "eth0")?;
        netlink::route(&self.gateway, ANY, 0, uplink(0xff, 1), "up0")?;
        netlink::route(&self.gateway2, ANY, 0, uplink(0xfe, 1), "up0")?;
        netlink::route(&self.gateway2, CLIENT, 128, CLIENT_BACK, "clients0")?;
        netlink::route(&self.outside, ANY, 0, uplink(2, 1), "eth0")?;
        let clients = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0);
        netlink::route(&self.router, clients, 64, uplink(0xff, 2), "gw0")
    }

    /// B is routed to these members, by plain multipath.
    pub fn route(&self, members: &[usize]) -> Result<()> {
        let mut route = format!("-6 route replace {B}/128");
        for member in members {
            let hop = link_local(*member);
            route.push_str(&format!(" nexthop via {hop} dev lan0"));
        }
        ip(&self.router, &route)
    }

    /// Packets of these protocols to the client take the other gateway.
    pub fn return_by_other(&self, protocols: &[&str]) -> Result<()> {
        ip(
            &self.router,
            &format!("-6 route add {CLIENT}/128 via 2001:db8:fe::2 dev gw1 table 100"),
        )?;
        protocols.iter().try_for_each(|protocol| {
            let rule = format!("-6 rule add to {CLIENT} ipproto {protocol} lookup 100");
            ip(&self.router, &rule)
        })
    }

    /// Mobility messages to B go to this member.
    pub fn mobility_to(&self, member: usize) -> Result<()> {
        let hop = link_local(member);
        let route = format!("-6 route replace {B}/128 via {hop} dev lan0 table 101");
        ip(&self.router, &route)?;
        // The same rule a second time is refused.
        let shown = self.router.command("ip").args(["-6", "rule"]).output()?;
        if String::from_utf8_lossy(&shown.stdout).contains("lookup 101") {
            return Ok(());
        }
        ip(
            &self.router,
            &format!("-6 rule add to {B} ipproto 135 lookup 101"),
        )
    }

    /// The switch between the router and the members learns no address, and sends every frame to all ports.
    pub fn flood(&self) -> Result<()> {
        for port in ["router"].iter().chain(&NAMES[..self.members.len()]) {
            let learn = format!("link set {port} type bridge_slave learning off");
            ip(&self.lan, &learn)?;
            ip(
                &self.lan,
                &format!("link set {port} type bridge_slave fdb_flush"),
            )?;
        }
        Ok(())
    }

    /// Frames that a member was brought.
    pub fn brought_to(&self, member: usize) -> Result<u64> {
        let stats = self.members[member].run(|| {
            let path = "/proc/thread-self/net/dev";
            Ok(fs::read_to_string(path)?)
        })?;
        let line = stats
            .lines()
            .find(|line| line.trim_start().starts_with("eth0:"));
        let line = line.context("no eth0")?;
        let packets = line.split_ascii_whitespace().nth(2).context("no packets")?;
        Ok(packets.parse()?)
    }
}
