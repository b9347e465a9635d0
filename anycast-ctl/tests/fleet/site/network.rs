//! Links, addresses and routes.

use std::net::Ipv6Addr;

use anyhow::Result;
use xtask::{
    lab::topology::B,
    net::{
        netlink::{self, End},
        prepare, sysctl,
    },
};

use super::{
    ADDRESSES_AND_PORTS, ANY, CLIENTS, CORE, EDGE, GATEWAYS, MEMBERS, Site, bus, care_of, client,
    ip, lan, last, link_local, mac,
};

impl Site {
    pub(super) fn sysctls(&self) -> Result<()> {
        let ends = [&self.clients, &*self.bus].into_iter();
        let ends = ends.chain(self.members.iter().map(|member| &**member));
        let routers = || [&self.edge, &self.core].into_iter().chain(&self.gateways);
        for namespace in ends.chain(routers()) {
            prepare(namespace)?;
        }
        for namespace in routers() {
            sysctl::set(namespace, &[("ipv6/conf/all/forwarding", "1")])?;
        }
        sysctl::set(&self.lan, &[("ipv6/conf/default/disable_ipv6", "1")])?;
        netlink::up(&self.lan, "lo")?;
        // So Linux changes the flow label too: on a busy machine, flows would move although no route does.
        sysctl::set(&self.clients, &[("core/txrehash", "0")])?;
        for (namespace, seed) in [(&self.edge, "1"), (&self.core, "2")] {
            let hash = [
                ("ipv6/fib_multipath_hash_fields", ADDRESSES_AND_PORTS),
                ("ipv6/fib_multipath_hash_policy", "3"),
                ("ipv4/fib_multipath_hash_seed", seed),
            ];
            sysctl::set(namespace, &hash)?;
        }
        Ok(())
    }

    pub(super) fn cables(&self) -> Result<()> {
        let end = |namespace, name, mac| End {
            namespace,
            name,
            mac,
        };
        let mut links = vec![
            (
                end(&self.clients, "eth0", None),
                end(&self.edge, "clients0", None),
            ),
            (
                end(&self.core, "lan0", Some(mac(0x20, 0xff))),
                end(&self.lan, "core", None),
            ),
        ];
        for (place, gateway) in self.gateways.iter().enumerate() {
            let name = GATEWAYS[place];
            links.extend([
                (
                    end(&self.edge, name, Some(mac(0xe, place))),
                    end(gateway, "clients0", Some(mac(0xa, place))),
                ),
                (
                    end(gateway, "up0", Some(mac(0xb, place))),
                    end(&self.core, name, Some(mac(0xc, place))),
                ),
                (end(gateway, "bus0", None), end(&self.bus, name, None)),
            ]);
        }
        for (place, member) in self.members.iter().enumerate() {
            let port = end(&self.lan, MEMBERS[place], None);
            links.push((end(member, "eth0", Some(mac(0x20, place))), port));
        }
        for (left, right) in links {
            netlink::veth(left, right)?;
            netlink::connect(left, right)?;
        }
        let mut ports = vec!["core"];
        ports.extend(&MEMBERS[..self.members.len()]);
        netlink::bridge(&self.lan, "br0", &ports)?;
        if self.plan.shared {
            for namespace in [&self.edge, &self.core] {
                netlink::bridge(namespace, "br0", &GATEWAYS[..self.gateways.len()])?;
            }
        }
        netlink::bridge(&self.bus, "br0", &GATEWAYS[..self.gateways.len()])
    }

    pub(super) fn addresses(&self) -> Result<()> {
        let first = Ipv6Addr::from_bits(CLIENTS.to_bits() | 1);
        netlink::address(&self.edge, "clients0", first, 64)?;
        netlink::address(&self.edge, "clients0", EDGE, 64)?;
        for number in 1..=self.plan.clients {
            netlink::address(&self.clients, "eth0", client(number), 64)?;
        }
        netlink::route(&self.clients, ANY, 0, first, "eth0")?;
        netlink::address(&self.bus, "br0", bus(0), 64)?;
        for (place, gateway) in self.gateways.iter().enumerate() {
            let (port, own) = (GATEWAYS[place], link_local(place));
            let name = if self.plan.shared { "br0" } else { port };
            if place == 0 || !self.plan.shared {
                netlink::address(&self.edge, name, EDGE, 64)?;
                netlink::address(&self.core, name, CORE, 64)?;
            }
            netlink::address(gateway, "clients0", own, 64)?;
            netlink::address(gateway, "up0", own, 64)?;
            netlink::address(gateway, "bus0", bus(1 + last(place)), 64)?;
            netlink::route(gateway, CLIENTS, 64, EDGE, "clients0")?;
            netlink::route(gateway, ANY, 0, CORE, "up0")?;
            if self.plan.shared {
                continue;
            }
            // Multipath passes over a next hop whose neighbour does not answer: on a busy machine that moves flows.
            netlink::neighbour(&self.edge, name, own, mac(0xa, place))?;
            netlink::neighbour(gateway, "clients0", EDGE, mac(0xe, place))?;
            netlink::neighbour(gateway, "up0", CORE, mac(0xc, place))?;
            netlink::neighbour(&self.core, name, own, mac(0xb, place))?;
        }
        netlink::address(&self.core, "lan0", lan(1), 64)?;
        netlink::address(&self.core, "lan0", CORE, 64)?;
        for (place, member) in self.members.iter().enumerate() {
            netlink::address(member, "eth0", link_local(place), 64)?;
            netlink::address(member, "eth0", lan(0x11 + last(place)), 64)?;
            netlink::address(member, "lo", B, 128)?;
            let care_of = care_of(place);
            // Deprecated: no program of the member chooses it as the source of something of its own.
            let text = format!("-6 address add {care_of}/128 dev eth0 nodad preferred_lft 0");
            ip(member, &text)?;
            netlink::route(member, ANY, 0, lan(1), "eth0")?;
            for address in [link_local(place), care_of] {
                netlink::neighbour(&self.core, "lan0", address, mac(0x20, place))?;
            }
        }
        Ok(())
    }
}
