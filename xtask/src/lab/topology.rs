//! The network of the lab: its machines and their addresses. The configurations in `examples/` are for this network.

use std::{net::Ipv6Addr, time::Duration};

use anyhow::Result;

use crate::net::{
    Namespace, Pass, Site, cable,
    ethtool::{self, Offload},
    netlink::{self, End},
    prepare, sysctl, wait,
};

/// For what the kernel does at once.
const SOON: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(10);

/// A picture of the network.
pub const PICTURE: &str = "
  client --- gateway --.                    .-- router2
  A ::100              |-- router --- lan --|-- s1     care-of C ::c1
  plain ---------------'                    |-- s2     care-of C ::c2
                                            '-- rogue  not in the policy
  B = 2001:db8:a::53 on s1, s2 and rogue";

/// The anycast address, B.
pub const B: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);
/// TCP port of the service.
pub const SERVICE: u16 = 7777;
/// The client behind the gateway.
pub const CLIENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x100);
/// The client without a gateway.
pub const PLAIN: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x100);

/// Link-local address of the first router on the LAN. It is the lowest one, so that this router is the Querier.
pub const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// Link-local address of the second router on the LAN.
pub const ROUTER2: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

const BRIDGE: &str = "br0";
const LAN: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, 0);
const ANY: Ipv6Addr = Ipv6Addr::UNSPECIFIED;

/// A server on the LAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Name of the server and of its namespace.
    pub name: &'static str,
    /// Last octet of its addresses.
    host: u16,
    /// Care-of address of the server, C.
    pub care_of: Option<Ipv6Addr>,
}

impl Server {
    /// Link-local address of the server.
    pub const fn link_local(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, self.host)
    }

    /// Ethernet address of the server.
    pub const fn mac(&self) -> [u8; 6] {
        mac(self.host)
    }
}

const fn lan(host: u16) -> Ipv6Addr {
    Ipv6Addr::from_bits(LAN.to_bits() | host as u128)
}

/// `02:00:00:00:20:xx`
const fn mac(host: u16) -> [u8; 6] {
    [2, 0, 0, 0, 0x20, host.to_be_bytes()[1]]
}

/// The first member.
pub const S1: Server = Server {
    name: "s1",
    host: 0x11,
    care_of: Some(lan(0xc1)),
};
/// The second member.
pub const S2: Server = Server {
    name: "s2",
    host: 0x12,
    care_of: Some(lan(0xc2)),
};
/// A host that sends Reports like a member, and that the policy does not allow.
pub const ROGUE: Server = Server {
    name: "rogue",
    host: 0x66,
    care_of: None,
};

/// The namespaces, with their links and addresses. Dropping it removes all of them.
#[derive(Debug)]
pub struct Network {
    /// The client behind the gateway. It runs no part of this project.
    pub client: Namespace,
    /// The gateway, which is the correspondent of the client.
    pub gateway: Namespace,
    /// A client without a correspondent.
    pub plain: Namespace,
    /// The first-hop router of the servers.
    pub router: Namespace,
    /// A second router on the LAN, to which nobody sends packets.
    pub router2: Namespace,
    /// The bridge between the routers and the servers. Each port has the name of the machine behind it.
    pub lan: Namespace,
    servers: [(Server, Namespace); 3],
    passes: Vec<Pass>,
    // This field comes last, since its directory and its lock must outlive the namespaces.
    site: Site,
}

impl Network {
    /// Makes the network.
    pub fn up() -> Result<Self> {
        let site = Site::claim("acl")?;
        let server = |server: Server| anyhow::Ok((server, site.namespace(server.name)?));
        let mut network = Self {
            client: site.namespace("client")?,
            gateway: site.namespace("gateway")?,
            plain: site.namespace("plain")?,
            router: site.namespace("router")?,
            router2: site.namespace("router2")?,
            lan: site.namespace("lan")?,
            servers: [server(S1)?, server(S2)?, server(ROGUE)?],
            passes: Vec::new(),
            site,
        };
        network.settings()?;
        network.cables()?;
        network.addresses()?;
        network.attach_passes()?;
        network.show_wire_packets()?;
        Ok(network)
    }

    /// The prefix and the directory of this run.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Namespace of a server.
    pub fn server(&self, server: Server) -> &Namespace {
        let [s1, s2, rogue] = &self.servers;
        match server.host {
            0x11 => &s1.1,
            0x12 => &s2.1,
            _ => &rogue.1,
        }
    }

    /// All namespaces.
    pub fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        let others = [
            &self.client,
            &self.gateway,
            &self.plain,
            &self.router,
            &self.router2,
            &self.lan,
        ];
        let servers = self.servers.iter().map(|(_, namespace)| namespace);
        others.into_iter().chain(servers)
    }

    /// The links that are captured. Each has a name, and the end at which it is captured: one at which no XDP program
    /// redirects packets, since AF_PACKET does not see those.
    pub fn links(&self) -> [(&'static str, &Namespace, &'static str); 7] {
        [
            ("client-gateway", &self.client, "eth0"),
            ("gateway-router", &self.router, "gw0"),
            ("plain-router", &self.plain, "eth0"),
            ("router-lan", &self.lan, "router"),
            ("lan-s1", &self.lan, "s1"),
            ("lan-s2", &self.lan, "s2"),
            ("lan-rogue", &self.lan, "rogue"),
        ]
    }

    /// Turns merging of TCP segments off where captures are made, so that they show the packets that were sent. The
    /// kernel turned it on when an XDP program was attached. NAPI stays on as long as the program is attached.
    pub fn show_wire_packets(&self) -> Result<()> {
        for (_, namespace, interface) in self.links() {
            ethtool::set(namespace, interface, Offload::Merge, false)?;
        }
        Ok(())
    }

    /// Sets every link back to the kernel's defaults: segments are merged and split, and checksums of sent packets are
    /// left to the device, although a veth does not compute them. XDP does not work with these settings.
    pub fn offload(&mut self) -> Result<()> {
        // These programs are for peers that redirect by XDP, and they keep merging turned off.
        self.passes.clear();
        for (namespace, interface) in self.ends() {
            // The peer of an interface with XDP has no segmentation. A process that another thread starts has a copy of
            // our file descriptors for a moment, and with them the programs that are to go.
            wait::poll(SOON, AGAIN, "segmentation may be turned on", || {
                let on = ethtool::set(namespace, interface, Offload::Segmentation, true);
                Ok(on.ok())
            })?;
            for offload in [Offload::TransmitChecksum, Offload::Merge] {
                ethtool::set(namespace, interface, offload, true)?;
            }
        }
        Ok(())
    }

    /// Undoes [`Self::offload`]: packets in memory are again the same as on the wire.
    pub fn wire(&mut self) -> Result<()> {
        for (namespace, interface) in self.ends() {
            ethtool::set(namespace, interface, Offload::TransmitChecksum, false)?;
            ethtool::set(namespace, interface, Offload::Segmentation, false)?;
        }
        self.attach_passes()?;
        self.show_wire_packets()
    }

    /// Attaches a program that passes packets to the two interfaces to which the gateway redirects.
    fn attach_passes(&mut self) -> Result<()> {
        let far_ends = [(&self.client, "eth0"), (&self.router, "gw0")];
        let passes = far_ends.map(|(namespace, interface)| Pass::attach(namespace, interface));
        self.passes = passes.into_iter().collect::<Result<_>>()?;
        Ok(())
    }

    /// Both ends of every link.
    pub fn ends(&self) -> Vec<(&Namespace, &'static str)> {
        let mut ends = vec![
            (&self.client, "eth0"),
            (&self.gateway, "clients0"),
            (&self.gateway, "up0"),
            (&self.router, "gw0"),
            (&self.plain, "eth0"),
            (&self.router, "plain0"),
            (&self.router, "lan0"),
            (&self.router2, "lan0"),
        ];
        let servers = self.servers.iter();
        ends.extend(servers.map(|(_, namespace)| (namespace, "eth0")));
        let ports = ["router", "router2", "s1", "s2", "rogue"];
        ends.extend(ports.map(|port| (&self.lan, port)));
        ends
    }

    /// Removes a server's port from the bridge. Neither end notices.
    pub fn pull(&self, server: Server) -> Result<()> {
        netlink::detach(&self.lan, server.name)
    }

    fn settings(&self) -> Result<()> {
        for namespace in self.namespaces() {
            prepare(namespace)?;
        }
        for namespace in [&self.gateway, &self.router, &self.router2] {
            sysctl::set(namespace, &[("ipv6/conf/all/forwarding", "1")])?;
        }
        // The bridge has no address of its own, like a switch.
        sysctl::set(&self.lan, &[("ipv6/conf/default/disable_ipv6", "1")])
    }

    fn cables(&self) -> Result<()> {
        let mut links = vec![
            (
                End::new(&self.client, "eth0"),
                End::new(&self.gateway, "clients0"),
            ),
            (
                End::new(&self.gateway, "up0"),
                End::new(&self.router, "gw0"),
            ),
            (
                End::new(&self.plain, "eth0"),
                End::new(&self.router, "plain0"),
            ),
            (
                End::new(&self.router, "lan0").with_mac(mac(1)),
                End::new(&self.lan, "router"),
            ),
            (
                End::new(&self.router2, "lan0").with_mac(mac(2)),
                End::new(&self.lan, "router2"),
            ),
        ];
        for (server, namespace) in &self.servers {
            let port = End::new(&self.lan, server.name);
            links.push((End::new(namespace, "eth0").with_mac(server.mac()), port));
        }
        for (left, right) in links {
            cable(left, right)?;
        }
        netlink::bridge(
            &self.lan,
            BRIDGE,
            &["router", "router2", "s1", "s2", "rogue"],
        )?;
        netlink::multicast_router(&self.lan, "router")?;
        netlink::multicast_router(&self.lan, "router2")
    }

    fn addresses(&self) -> Result<()> {
        let gateway = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
        let gateway_up = Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 2);
        let router_gw = Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 1);
        let router_plain = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1);
        let addresses = [
            (&self.client, "eth0", CLIENT),
            (&self.gateway, "clients0", gateway),
            (&self.gateway, "up0", gateway_up),
            (&self.router, "gw0", router_gw),
            (&self.plain, "eth0", PLAIN),
            (&self.router, "plain0", router_plain),
            (&self.router, "lan0", lan(1)),
            (&self.router2, "lan0", lan(2)),
        ];
        for (index, (namespace, interface, address)) in (1..).zip(addresses) {
            netlink::address(namespace, interface, address, 64)?;
            let link_local = match address {
                _ if address == lan(1) => ROUTER,
                _ if address == lan(2) => ROUTER2,
                _ => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x100 + index),
            };
            netlink::address(namespace, interface, link_local, 64)?;
        }
        for (server, namespace) in &self.servers {
            netlink::address(namespace, "eth0", server.link_local(), 64)?;
            netlink::address(namespace, "eth0", lan(server.host), 64)?;
            netlink::deprecated_address(namespace, "lo", B, 128)?;
            if let Some(care_of) = server.care_of {
                netlink::deprecated_address(namespace, "eth0", care_of, 128)?;
            }
            netlink::route(namespace, ANY, 0, lan(1), "eth0")?;
        }
        netlink::route(&self.client, ANY, 0, gateway, "eth0")?;
        netlink::route(&self.gateway, ANY, 0, router_gw, "up0")?;
        netlink::route(&self.plain, ANY, 0, router_plain, "eth0")?;
        let clients = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0);
        netlink::route(&self.router, clients, 64, gateway_up, "gw0")
    }
}
