//! A second gateway of the lab, which stands beside the first one for a while.
//!
//! ```text
//!   client .- gateway --. router
//!          '- gateway2 -'
//! ```

use std::net::Ipv6Addr;

use anyhow::Result;

use crate::net::{
    Namespace, Pass, cable, ethtool,
    ethtool::Offload,
    netlink::{self, End},
    sysctl,
};

use super::topology::{CLIENT, Network};

/// Its name, and that of its daemon.
pub const NAME: &str = "gateway2";
/// Where the router reaches the first gateway, and where the bus is to be found there.
pub const BUS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 1);

const CLIENTS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0);
const NEAR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
const UP: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xfe, 0, 0, 0, 0, 2);
const ROUTER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xfe, 0, 0, 0, 0, 1);
const ANY: Ipv6Addr = Ipv6Addr::UNSPECIFIED;
/// Routes by it go before those by the first gateway.
const PREFERRED: u32 = 1;

/// The second gateway and its links. They end with it.
#[derive(Debug)]
pub struct Second {
    _passes: [Pass; 2],
    /// Its namespace.
    pub namespace: Namespace,
}

impl Second {
    /// Makes it. No packet takes its way yet.
    pub fn up(network: &Network) -> Result<Self> {
        let namespace = network.site().namespace(NAME)?;
        sysctl::set(
            &namespace,
            &[
                ("ipv6/conf/all/accept_dad", "0"),
                ("ipv6/conf/default/accept_dad", "0"),
                ("ipv6/conf/all/forwarding", "1"),
            ],
        )?;
        netlink::up(&namespace, "lo")?;
        let far = [(&network.client, "eth1"), (&network.router, "gw1")];
        for ((near, name), own) in far.into_iter().zip(["clients0", "up0"]) {
            cable(End::new(near, name), End::new(&namespace, own))?;
        }
        for (namespace, interface, address) in [
            (&namespace, "clients0", NEAR),
            (&namespace, "up0", UP),
            (&network.router, "gw1", ROUTER),
            (&network.client, "eth1", CLIENT),
        ] {
            netlink::address(namespace, interface, address, 64)?;
        }
        netlink::route(&namespace, ANY, 0, ROUTER, "up0")?;
        let [client, router] = far.map(|(namespace, name)| Pass::attach(namespace, name));
        let passes = [client?, router?];
        for (namespace, interface) in far {
            ethtool::set(namespace, interface, Offload::Merge, false)?;
        }
        Ok(Self {
            _passes: passes,
            namespace,
        })
    }

    /// Packets take its way from now on, in both directions.
    pub fn takes_over(&self, network: &Network) -> Result<()> {
        netlink::replace_route(&network.client, (ANY, 0), NEAR, "eth1", PREFERRED)?;
        netlink::replace_route(&network.router, (CLIENTS, 64), UP, "gw1", PREFERRED)
    }

    /// Takes its links away, and with them the routes.
    pub fn unplug(&self, network: &Network) -> Result<()> {
        netlink::delete(&network.client, "eth1")?;
        netlink::delete(&network.router, "gw1")
    }
}
