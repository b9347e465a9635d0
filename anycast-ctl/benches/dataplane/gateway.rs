//! Where it is measured.

use anyhow::Result;
use xtask::net::{
    Pass, Site,
    namespace::Namespace,
    netlink::{self, End},
    sysctl,
};

use crate::{
    constants::{A, NEAR},
    packets::address,
};

/// A correspondent with two interfaces, for the FIB and for `XDP_TX`.
pub struct Gateway {
    namespace: Namespace,
    pub inside: u32,
    pub outside: u32,
    _hosts: [Namespace; 2],
    _napi: Pass,
    _site: Site,
}

impl Gateway {
    pub fn new() -> Result<Self> {
        let site = Site::claim("bdp")?;
        let namespace = site.namespace("gateway")?;
        let hosts = [site.namespace("client")?, site.namespace("router")?];
        let mac = |number| Some([2, 0, 0, 0, 1, number]);
        for (host, name, number) in [(&hosts[0], "inside", 1), (&hosts[1], "outside", 3)] {
            let end = |namespace, name, number| End {
                namespace,
                name,
                mac: mac(number),
            };
            netlink::veth(end(&namespace, name, number), end(host, "eth0", number + 1))?;
            netlink::up(&namespace, name)?;
            netlink::up(host, "eth0")?;
        }
        sysctl::set(&namespace, &[("ipv6/conf/all/forwarding", "1")])?;
        netlink::address(&namespace, "inside", address("2001:db8:1::1"), 64)?;
        netlink::address(&namespace, "outside", address("2001:db8:ff::2"), 64)?;
        for neighbour in [A, NEAR] {
            netlink::neighbour(&namespace, "inside", address(neighbour), [2, 0, 0, 0, 1, 2])?;
        }
        let router = address("2001:db8:ff::1");
        netlink::neighbour(&namespace, "outside", router, [2, 0, 0, 0, 1, 4])?;
        netlink::route(&namespace, address("2001:db8:20::"), 64, router, "outside")?;
        // The kernel makes frames for a test only on an interface with a receive queue of XDP.
        let napi = Pass::attach(&namespace, "inside")?;
        Ok(Self {
            inside: netlink::index(&namespace, "inside")?,
            outside: netlink::index(&namespace, "outside")?,
            namespace,
            _hosts: hosts,
            _napi: napi,
            _site: site,
        })
    }

    /// Does it where the interfaces are.
    pub fn run<T: Send>(&self, body: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.namespace.run(body)
    }

    /// `struct xdp_md` of a frame from the client.
    pub fn context(&self, frame: &[u8]) -> Result<[u8; 24]> {
        let mut context = [0; 24];
        context[4..8].copy_from_slice(&u32::try_from(frame.len())?.to_ne_bytes());
        context[12..16].copy_from_slice(&self.inside.to_ne_bytes());
        Ok(context)
    }
}
