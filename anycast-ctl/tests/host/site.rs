//! A router and two members on one link, with a capture at each port.

use std::{fs, net::Ipv6Addr, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::Value;
use xtask::{
    lab::node::Daemon,
    net::{
        Capture, Namespace, Site,
        netlink::{self, End},
        prepare,
        routes::Monitor,
        sysctl, wait,
    },
};

/// The anycast address.
pub const B: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);
pub const ROUTER: Ipv6Addr = link_local(1);
pub const SOON: Duration = Duration::from_secs(10);
/// What a reload takes out goes 16 seconds later, when nothing is bound to it any more.
pub const GONE: Duration = Duration::from_secs(30);
pub const ASK_AGAIN: Duration = Duration::from_millis(20);

pub const fn link_local(host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, host)
}

pub const fn care_of(host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, 0xc0 + host)
}

/// The members have hosts 0x11 and 0x12.
pub const fn mac(host: u16) -> [u8; 6] {
    [2, 0, 0, 0, 0x20, host.to_be_bytes()[1]]
}

pub struct Lan {
    pub captures: [Capture; 2],
    pub routes: Monitor,
    pub router: Namespace,
    pub members: [Namespace; 2],
    _bridge: Namespace,
    pub site: Site,
}

impl Lan {
    pub fn up() -> Result<Self> {
        let site = Site::claim("ach")?;
        let bridge = site.namespace("lan")?;
        let router = site.namespace("router")?;
        let members = [site.namespace("s1")?, site.namespace("s2")?];
        sysctl::set(&bridge, &[("ipv6/conf/default/disable_ipv6", "1")])?;
        let hosts = [
            (&router, "router", 1),
            (&members[0], "s1", 0x11),
            (&members[1], "s2", 0x12),
        ];
        for (namespace, port, host) in hosts {
            prepare(namespace)?;
            let end = |namespace, name, mac| End {
                namespace,
                name,
                mac,
            };
            let (near, far) = (
                end(namespace, "eth0", Some(mac(host))),
                end(&bridge, port, None),
            );
            netlink::veth(near, far)?;
            netlink::connect(near, far)?;
            netlink::address(namespace, "eth0", link_local(host), 64)?;
            let global = Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, host);
            netlink::address(namespace, "eth0", global, 64)?;
        }
        netlink::bridge(&bridge, "br0", &["router", "s1", "s2"])?;
        Ok(Self {
            captures: [
                Capture::start("s1", &bridge, "s1", None)?,
                Capture::start("s2", &bridge, "s2", None)?,
            ],
            routes: Monitor::start(&router)?,
            router,
            members,
            _bridge: bridge,
            site,
        })
    }

    /// A router that lets everybody in.
    pub fn router(&self, next_hops: &str) -> Result<Daemon> {
        self.node("router", &self.router, &router_text(next_hops))
    }

    /// Member 0 or 1 of B, with these lines for its group.
    pub fn member(&self, index: usize, group: &str) -> Result<Daemon> {
        let name = ["s1", "s2"][index];
        self.node(name, &self.members[index], &member_text(group))
    }

    /// A daemon of any configuration.
    pub fn node(&self, name: &'static str, namespace: &Namespace, config: &str) -> Result<Daemon> {
        let file = self.site.directory().join(format!("{name}.toml"));
        fs::write(&file, config)?;
        let program = Path::new(env!("CARGO_BIN_EXE_anycast-ctl"));
        let daemon = Daemon::start(program, name, namespace, &file, self.site.directory())?;
        let ready = daemon.wait_ready();
        ready.with_context(|| daemon.tail(5).join("\n"))?;
        Ok(daemon)
    }

    /// Waits until the router's kernel has a route to B, or none.
    pub fn routed(&self, wanted: bool) -> Result<()> {
        let what = if wanted {
            "a route to B"
        } else {
            "no route to B"
        };
        Ok(self.routes.wait(SOON, what, (B, 128), |routes| {
            (routes.is_empty() != wanted).then_some(())
        })?)
    }
}

/// The first group of a member.
pub fn group(daemon: &Daemon) -> Result<Value> {
    Ok(daemon.ask("groups")?["member"][0].take())
}

/// The configuration of a router that lets everybody in.
pub fn router_text(next_hops: &str) -> String {
    format!(
        "[router]\ninterfaces = [\"eth0\"]\nnext_hops = \"{next_hops}\"\n\
         [[router.policy]]\nsource = \"fe80::/10\"\nanycast = \"2001:db8:a::/48\"\naction = \"allow\"\n"
    )
}

/// The configuration of a member with these lines for its group.
pub fn member_text(group: &str) -> String {
    format!(
        "[member]\ninterfaces = [\"eth0\"]\n\
         [member.listener]\nrobustness = 1\nunsolicited_report_interval = \"200ms\"\n\
         [[member.group]]\nanycast = \"{B}\"\n{group}\n"
    )
}

/// Whether an interface of the namespace has the address, as /128.
pub fn has(namespace: &Namespace, interface: &str, address: Ipv6Addr) -> Result<bool> {
    let table = namespace.run(|| Ok(fs::read_to_string("/proc/thread-self/net/if_inet6")?))?;
    let wanted = digits(address);
    Ok(table.lines().any(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        matches!(words[..], [found, _, "80", _, _, on] if found == wanted && on == interface)
    }))
}

/// Whether `eth0` of the namespace listens to a multicast group.
pub fn listens(namespace: &Namespace, group: Ipv6Addr) -> Result<bool> {
    let table = namespace.run(|| Ok(fs::read_to_string("/proc/thread-self/net/igmp6")?))?;
    let wanted = digits(group);
    Ok(table.lines().any(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        matches!(words[..], [_, "eth0", found, ..] if found == wanted)
    }))
}

fn digits(address: Ipv6Addr) -> String {
    address
        .octets()
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect()
}

/// Asks until it is so.
pub fn until(what: &str, mut so: impl FnMut() -> Result<bool>) -> Result<()> {
    wait::poll(SOON, ASK_AGAIN, what, || Ok(so()?.then_some(())))
}
