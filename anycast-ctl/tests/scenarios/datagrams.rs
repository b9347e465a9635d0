//! Path MTU discovery by UDP: programs that know nothing of us, and hops that are narrower than their links.
//!
//! A host behind the client has the client as its first hop, so that a hop lies between it and the gateway. It
//! asks the members' address for answers of the size that it wants.

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
    in_lab,
    paths::{count, narrow},
    service::{Answer, Client, Service, Style},
    sessions::bound,
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
}

/// Runs `body` in `far` while both members serve datagrams.
fn served(
    lab: &Lab,
    far: &Far,
    style: Style,
    body: impl FnOnce() -> Result<()> + Send,
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
        let outcome = far.namespace.run(body);
        stop.store(true, Ordering::Relaxed);
        for server in servers {
            server.join().expect("a server panicked")?;
        }
        outcome
    })
}

/// A bed with a client in `far` whose flow is pinned.
struct Bed<'a> {
    lab: &'a Lab,
    client: Client,
    server: Server,
}

impl<'a> Bed<'a> {
    fn new(lab: &'a Lab, style: Style) -> Result<Self> {
        let client = Client::open((FAR, 0), (B, PORT), style)?;
        client.must(100, 200, &Answer::Whole)?;
        let care_of = wait::poll(SOON, ASK_AGAIN, "far is bound", || {
            let bindings = lab.daemon("gateway")?.list("bindings")?;
            let mut bindings = bindings.into_iter();
            let its = bindings.find(|binding| binding["client"] == FAR.to_string());
            Ok(its.map(|binding| binding["care_of"].clone()))
        })?;
        let mut servers = [S1, S2].into_iter();
        let server = servers
            .find(|server| Some(care_of.clone()) == server.care_of.map(|c| c.to_string().into()));
        let bed = Self {
            lab,
            client,
            server: server.context("bound to whom?")?,
        };
        let before = bed.counts()?;
        bed.client.must(100, 200, &Answer::Whole)?;
        let after = bed.counts()?;
        ensure!(
            after.by_care_of > before.by_care_of,
            "{before:?}, {after:?}"
        );
        ensure!(bed.client.mtu()? == MTU);
        Ok(bed)
    }

    fn counts(&self) -> Result<Counts> {
        let count = |node, name| count(self.lab, node, name);
        Ok(Counts {
            by_care_of: count("gateway", "correspondent_to_care_of")?,
            at_gateway: count("gateway", "correspondent_icmp_error")?,
            at_member: count(self.server.name, "member_icmp_error")?,
            beyond_mtu: count("gateway", "too_big_for_care_of")?,
        })
    }

    /// The errors that are translated while `body` runs, at the gateway and at the member.
    fn errors(&self, body: impl FnOnce() -> Result<()>) -> Result<[u64; 2]> {
        let before = self.counts()?;
        body()?;
        let after = self.counts()?;
        Ok([
            after.at_gateway - before.at_gateway,
            after.at_member - before.at_member,
        ])
    }

    fn care_of(&self) -> Result<Ipv6Addr> {
        self.server.care_of.context("a member")
    }

    /// The hop next to the servers has a smaller MTU towards them.
    fn narrow_to_server(&self, mtu: u32) -> Result<()> {
        let care_of = self.care_of()?;
        narrow(
            &self.lab.network.router,
            &format!("{care_of} dev lan0"),
            mtu,
        )
    }

    /// The same hop, towards the clients.
    fn narrow_to_gateway(&self, mtu: u32) -> Result<()> {
        let way = format!("{FAR} via 2001:db8:ff::2 dev gw0");
        narrow(&self.lab.network.router, &way, mtu)
    }

    /// The hop behind the gateway, towards the client.
    fn narrow_to_far(&self, mtu: u32) -> Result<()> {
        narrow(&self.lab.network.client, &format!("{FAR} dev far0"), mtu)
    }

    /// The same hop, towards the gateway.
    fn narrow_from_far(&self, mtu: u32) -> Result<()> {
        let way = format!("{B} via 2001:db8:1::1 dev eth0");
        narrow(&self.lab.network.client, &way, mtu)
    }

    /// The gateway itself, towards C.
    fn narrow_care_of(&self, mtu: u32) -> Result<()> {
        let way = format!("{} via 2001:db8:ff::1 dev up0", self.care_of()?);
        narrow(&self.lab.network.gateway, &way, mtu)
    }
}

#[derive(Debug)]
struct Counts {
    by_care_of: u64,
    at_gateway: u64,
    at_member: u64,
    beyond_mtu: u64,
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
    served(lab, &far, Style::Whole, || {
        let bed = Bed::new(lab, Style::Whole)?;
        let mut up = MTU;
        let mut finds = |mtu: usize, errors: [u64; 2]| -> Result<()> {
            let client = &bed.client;
            let translated = bed.errors(|| client.must(up - HEADERS, 100, &Answer::TooBig))?;
            ensure!(
                client.mtu()? == mtu,
                "the client's kernel knows {}",
                client.mtu()?
            );
            client.must(mtu - HEADERS + 1, 100, &Answer::TooBig)?;
            client.must(mtu - HEADERS, 100, &Answer::Whole)?;
            ensure!(
                translated == errors,
                "{mtu} up: {translated:?} errors translated"
            );
            up = mtu;
            Ok(())
        };
        bed.narrow_to_server(1400)?;
        finds(1400, [1, 0])?;
        // The hop answers before anything is rewritten.
        bed.narrow_from_far(1380)?;
        finds(1380, [0, 0])?;
        bed.narrow_care_of(1360)?;
        finds(1360, [1, 0])?;

        let mut down = MTU;
        let mut finds = |mtu: usize, errors: [u64; 2]| -> Result<()> {
            let client = &bed.client;
            let known = &Answer::Mtu(mtu);
            let translated = bed.errors(|| client.must(100, down - HEADERS, known))?;
            client.must(100, mtu - HEADERS + 1, known)?;
            client.must(100, mtu - HEADERS, &Answer::Whole)?;
            ensure!(
                translated == errors,
                "{mtu} down: {translated:?} errors translated"
            );
            down = mtu;
            Ok(())
        };
        bed.narrow_to_gateway(1400)?;
        finds(1400, [0, 1])?;
        // The hop quotes B; the gateway sends that to the member.
        bed.narrow_to_far(1380)?;
        finds(1380, [1, 1])
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
    served(lab, &far, Style::Fragments, || {
        let bed = Bed::new(lab, Style::Fragments)?;
        let client = &bed.client;
        client.must(LARGE, LARGE, &Answer::Whole)?;
        let finds = |mtu: usize| -> Result<()> {
            let before = bed.counts()?;
            client.insist(LARGE, 100)?;
            let after = bed.counts()?;
            ensure!(
                client.mtu()? == mtu,
                "the client's kernel knows {}",
                client.mtu()?
            );
            ensure!(
                after.at_gateway >= before.at_gateway + 2,
                "{mtu} up: {before:?}, {after:?}"
            );
            Ok(())
        };
        bed.narrow_to_server(1400)?;
        finds(1400)?;
        let before = bed.counts()?;
        bed.narrow_care_of(1360)?;
        finds(1360)?;
        let after = bed.counts()?;
        ensure!(
            after.beyond_mtu >= before.beyond_mtu + 2,
            "{before:?}, {after:?}"
        );

        let finds = |mtu: usize, errors: [u64; 2]| -> Result<()> {
            let translated = bed.errors(|| client.insist(100, LARGE))?;
            client.must(100, 0, &Answer::Mtu(mtu))?;
            let enough = translated
                .iter()
                .zip(&errors)
                .all(|(more, least)| more >= least);
            ensure!(enough, "{mtu} down: {translated:?} errors translated");
            Ok(())
        };
        bed.narrow_to_gateway(1400)?;
        finds(1400, [0, 2])?;
        bed.narrow_to_far(1360)?;
        finds(1360, [2, 2])
    })
}
