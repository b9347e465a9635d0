//! Path MTU discovery by UDP: programs that know nothing of us, and hops that are narrower than their links. And hop
//! limits.
//!
//! A program asks the members' address for answers of the size that it wants. Behind the gateway it is on a host
//! that has the client as its first hop, so that a hop lies between the two.

use std::{
    net::Ipv6Addr,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result, ensure};
use xtask::{
    lab::{
        scenario::{ASK_AGAIN, SOON},
        stage::Lab,
        topology::{B, CLIENT, S1, S2, Server},
    },
    net::{
        Namespace,
        ethtool::{self, Offload},
        netlink::{self, End},
        sysctl, wait,
    },
};

use super::{
    paths::{count, narrow},
    service::{Answer, Client, Service, Style},
    sessions::bound,
    stage::in_lab,
};

const FAR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0xf, 0, 0, 2);
const FIRST_HOP: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0xf, 0, 0, 1);
const FAR_NET: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0xf, 0, 0, 0);
const PORT: u16 = 5354;
/// Of every link.
const MTU: usize = 1500;
/// Octets of the headers of IPv6 and UDP.
const HEADERS: usize = 48;
/// A datagram of three fragments.
const LARGE: usize = 4000;

/// A host behind the client.
struct Far {
    namespace: Namespace,
}

impl Far {
    fn up(lab: &Lab) -> Result<Self> {
        let namespace = lab.network.site().namespace("far")?;
        let client = &lab.network.client;
        let end = |namespace, name| End {
            namespace,
            name,
            mac: None,
        };
        sysctl::set(&namespace, &[("ipv6/conf/default/accept_dad", "0")])?;
        sysctl::set(client, &[("ipv6/conf/all/forwarding", "1")])?;
        let ends = [end(client, "far0"), end(&namespace, "eth0")];
        netlink::veth(ends[0], ends[1])?;
        for (end, address) in ends.into_iter().zip([FIRST_HOP, FAR]) {
            ethtool::set(end.namespace, end.name, Offload::TransmitChecksum, false)?;
            ethtool::set(end.namespace, end.name, Offload::Segmentation, false)?;
            netlink::up(end.namespace, end.name)?;
            netlink::address(end.namespace, end.name, address, 80)?;
        }
        netlink::route(&namespace, Ipv6Addr::UNSPECIFIED, 0, FIRST_HOP, "eth0")?;
        netlink::route(&lab.network.gateway, FAR_NET, 80, CLIENT, "clients0")?;
        Ok(Self { namespace })
    }

    fn host(&self) -> Host<'_> {
        Host {
            namespace: &self.namespace,
            address: FAR,
            correspondent: "gateway",
        }
    }
}

/// A host whose program asks, and on which node its correspondent is.
#[derive(Clone, Copy)]
struct Host<'a> {
    namespace: &'a Namespace,
    address: Ipv6Addr,
    correspondent: &'static str,
}

/// Runs `body` at a host whose flow is pinned, while both members serve datagrams.
fn pinned(
    lab: &Lab,
    host: Host<'_>,
    style: Style,
    body: impl FnOnce(&Bed<'_>) -> Result<()> + Send,
) -> Result<()> {
    let stop = &AtomicBool::new(false);
    let ready = &Barrier::new(3);
    let serve = move |server: Server| {
        lab.network.server(server).run(|| {
            let service = Service::open((B, PORT), style);
            ready.wait();
            service?.serve(stop)
        })
    };
    thread::scope(|scope| {
        let servers = [S1, S2].map(|server| scope.spawn(move || serve(server)));
        ready.wait();
        let outcome = host.namespace.run(|| body(&Bed::new(lab, host, style)?));
        stop.store(true, Ordering::Relaxed);
        for server in servers {
            server.join().expect("a server panicked")?;
        }
        outcome
    })
}

struct Bed<'a> {
    lab: &'a Lab,
    host: Host<'a>,
    client: Client,
    server: Server,
}

#[derive(Debug)]
struct Counts {
    by_care_of: u64,
    at_correspondent: u64,
    at_member: u64,
    beyond_mtu: u64,
}

impl<'a> Bed<'a> {
    fn new(lab: &'a Lab, host: Host<'a>, style: Style) -> Result<Self> {
        let client = Client::open((host.address, 0), (B, PORT), style)?;
        client.must(100, 200, &Answer::Whole)?;
        let care_of = wait::poll(SOON, ASK_AGAIN, "the host is bound", || {
            let bindings = lab.daemon(host.correspondent)?.list("bindings")?;
            let mut bindings = bindings.into_iter();
            let its = bindings.find(|binding| binding["client"] == host.address.to_string());
            Ok(its.map(|binding| binding["care_of"].clone()))
        })?;
        let mut servers = [S1, S2].into_iter();
        let server = servers
            .find(|server| Some(care_of.clone()) == server.care_of.map(|c| c.to_string().into()));
        let bed = Self {
            lab,
            host,
            client,
            server: server.context("bound to whom?")?,
        };
        // The flow began before the binding: its member leads it to C, with one of its next answers.
        let before = bed.counts()?;
        wait::poll(SOON, ASK_AGAIN, "datagrams go by C", || {
            bed.client.must(100, 200, &Answer::Whole)?;
            Ok((bed.counts()?.by_care_of > before.by_care_of).then_some(()))
        })?;
        Ok(bed)
    }

    fn counts(&self) -> Result<Counts> {
        let count = |node, name| count(self.lab, node, name);
        let at = self.host.correspondent;
        Ok(Counts {
            by_care_of: count(at, "correspondent_to_care_of")?,
            at_correspondent: count(at, "correspondent_icmp_error")?,
            at_member: count(self.server.name, "member_icmp_error")?,
            beyond_mtu: count(at, "too_big_for_care_of")?,
        })
    }

    /// The errors that are translated while `body` runs, at the correspondent and at the member.
    fn errors(&self, body: impl FnOnce() -> Result<()>) -> Result<[u64; 2]> {
        let before = self.counts()?;
        body()?;
        let after = self.counts()?;
        Ok([
            after.at_correspondent - before.at_correspondent,
            after.at_member - before.at_member,
        ])
    }

    /// Datagrams of one MTU turn out to be too big, which the host's kernel learns by so many translated errors.
    /// Those of the other arrive.
    fn up(&self, from: usize, to: usize, errors: [u64; 2]) -> Result<()> {
        let client = &self.client;
        let translated = self.errors(|| client.must(from - HEADERS, 100, &Answer::TooBig))?;
        self.knows(to)?;
        client.must(to - HEADERS + 1, 100, &Answer::TooBig)?;
        client.must(to - HEADERS, 100, &Answer::Whole)?;
        ensure!(translated == errors, "{to} up: {translated:?} translated");
        Ok(())
    }

    /// The same of answers, and of the member's kernel.
    fn down(&self, from: usize, to: usize, errors: [u64; 2]) -> Result<()> {
        let client = &self.client;
        let known = &Answer::Mtu(to);
        let translated = self.errors(|| client.must(100, from - HEADERS, known))?;
        client.must(100, to - HEADERS + 1, known)?;
        client.must(100, to - HEADERS, &Answer::Whole)?;
        ensure!(translated == errors, "{to} down: {translated:?} translated");
        Ok(())
    }

    /// Two fragments of a datagram turn out to be too big. The next are smaller.
    fn fragments_up(&self, mtu: usize) -> Result<()> {
        let [translated, _] = self.errors(|| self.client.insist(LARGE, 100))?;
        self.knows(mtu)?;
        ensure!(translated >= 2, "{mtu} up: {translated} translated");
        Ok(())
    }

    /// The same of answers.
    fn fragments_down(&self, mtu: usize, least: [u64; 2]) -> Result<()> {
        let translated = self.errors(|| self.client.insist(100, LARGE))?;
        self.client.must(100, 0, &Answer::Mtu(mtu))?;
        let mut both = translated.iter().zip(&least);
        let enough = both.all(|(more, least)| more >= least);
        ensure!(enough, "{mtu} down: {translated:?} translated");
        Ok(())
    }

    /// Hop limits that run out: at the gateway, before anything is rewritten, and at the router behind it, which
    /// quotes C. The hop after that is the server.
    fn expire(&self) -> Result<()> {
        for (hops, answer, errors) in [
            (2, Answer::Expired, [0, 0]),
            (3, Answer::Expired, [1, 0]),
            (4, Answer::Whole, [0, 0]),
        ] {
            let translated = self.errors(|| self.client.must_within(hops, &answer))?;
            ensure!(
                translated == errors,
                "{hops} hops: {translated:?} translated"
            );
        }
        Ok(())
    }

    fn knows(&self, mtu: usize) -> Result<()> {
        let known = self.client.mtu()?;
        ensure!(known == mtu, "the host's kernel knows {known}, not {mtu}");
        Ok(())
    }

    fn care_of(&self) -> Result<Ipv6Addr> {
        self.server.care_of.context("a member")
    }

    /// The hop next to the servers has a smaller MTU towards them.
    fn narrow_to_server(&self, mtu: u32) -> Result<()> {
        let way = format!("{} dev lan0", self.care_of()?);
        narrow(&self.lab.network.router, &way, mtu)
    }

    /// The same hop, towards the clients.
    fn narrow_to_gateway(&self, mtu: u32) -> Result<()> {
        let way = format!("{} via 2001:db8:ff::2 dev gw0", self.host.address);
        narrow(&self.lab.network.router, &way, mtu)
    }

    /// The gateway, towards C.
    fn narrow_care_of(&self, mtu: u32) -> Result<()> {
        let way = format!("{} via 2001:db8:ff::1 dev up0", self.care_of()?);
        narrow(&self.lab.network.gateway, &way, mtu)
    }

    /// The hop behind the gateway, towards the host.
    fn narrow_to_far(&self, mtu: u32) -> Result<()> {
        narrow(&self.lab.network.client, &format!("{FAR} dev far0"), mtu)
    }

    /// The same hop, towards the gateway.
    fn narrow_from_far(&self, mtu: u32) -> Result<()> {
        let way = format!("{B} via 2001:db8:1::1 dev eth0");
        narrow(&self.lab.network.client, &way, mtu)
    }
}

/// Datagrams that may not be fragmented, both ways, through hops that are narrow one way at a time.
pub(super) fn small_mtu() -> Result<()> {
    in_lab(None, |lab, report| {
        bound(lab, report)?;
        become_small(lab)
    })
}

pub(super) fn become_small(lab: &Lab) -> Result<()> {
    let far = Far::up(lab)?;
    pinned(lab, far.host(), Style::Whole, |bed| {
        bed.expire()?;
        bed.narrow_to_server(1400)?;
        bed.up(MTU, 1400, [1, 0])?;
        // The hop answers before anything is rewritten.
        bed.narrow_from_far(1380)?;
        bed.up(1400, 1380, [0, 0])?;
        bed.narrow_care_of(1360)?;
        bed.up(1380, 1360, [1, 0])?;

        bed.narrow_to_gateway(1400)?;
        bed.down(MTU, 1400, [0, 1])?;
        // The hop quotes B; the gateway sends that to the member.
        bed.narrow_to_far(1380)?;
        bed.down(1400, 1380, [1, 1])
    })
}

/// Datagrams of fragments, of which at least two are too big for a hop.
pub(super) fn fragments() -> Result<()> {
    in_lab(None, |lab, report| {
        bound(lab, report)?;
        fragments_become_small(lab)
    })
}

pub(super) fn fragments_become_small(lab: &Lab) -> Result<()> {
    let far = Far::up(lab)?;
    pinned(lab, far.host(), Style::Fragments, |bed| {
        bed.client.must(LARGE, LARGE, &Answer::Whole)?;
        bed.narrow_to_server(1400)?;
        bed.fragments_up(1400)?;
        let before = bed.counts()?;
        bed.narrow_care_of(1360)?;
        bed.fragments_up(1360)?;
        let beyond = bed.counts()?.beyond_mtu - before.beyond_mtu;
        ensure!(beyond >= 2, "{beyond} were too big for the way to C");

        bed.narrow_to_gateway(1400)?;
        bed.fragments_down(1400, [0, 2])?;
        bed.narrow_to_far(1360)?;
        bed.fragments_down(1360, [2, 2])
    })
}

/// The client is its own correspondent, and all others are hops: what they quote says C.
pub(super) fn of_client_host(lab: &Lab) -> Result<()> {
    let host = Host {
        namespace: &lab.network.client,
        address: CLIENT,
        correspondent: "client",
    };
    pinned(lab, host, Style::Whole, |bed| {
        bed.narrow_to_server(1400)?;
        bed.up(MTU, 1400, [1, 0])?;
        bed.narrow_care_of(1380)?;
        bed.up(1400, 1380, [1, 0])?;
        bed.narrow_to_gateway(1400)?;
        bed.down(MTU, 1400, [0, 1])
    })?;
    pinned(lab, host, Style::Fragments, |bed| {
        bed.client.must(LARGE, LARGE, &Answer::Whole)?;
        bed.narrow_to_server(1360)?;
        bed.fragments_up(1360)?;
        bed.narrow_to_gateway(1360)?;
        bed.fragments_down(1360, [0, 2])
    })
}
