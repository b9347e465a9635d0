//! When new flows to a member share a next hop, and what ends that.

use std::{collections::BTreeSet, time::Duration};

use anycast_common::abi::roles::CORRESPONDENT;
use anycast_ctl::{
    core::Time,
    shell::{clock, dataplane::Limits},
};
use anyhow::{Result, ensure};
use xtask::{
    kernel_tests::Suite,
    net::{namespace::Namespace, netlink, wait},
};

use crate::{
    forward::{A, B, C, Gateway, NEAR, ROUTER, SOON, UP, gateway, set},
    harness::{Bench, Verdict, stay},
    packets::{Packet, SYN, address},
    pair::{ETHERNET, Pair, keys_of_its_own, with_pair},
};

/// Another Ethernet address of the router.
const MOVED: [u8; 6] = [2, 0, 0, 0, 2, 9];
/// The programs' clock is behind by no more.
const TICK: Duration = Duration::from_millis(10);
/// Far behind any end of a test.
const LATER: Duration = Duration::from_secs(3600);

pub fn tests(suite: Suite) -> Suite {
    suite
        .test("shared next hop: only while it is vouched for", vouched)
        .test("shared next hop: not for every packet", others)
        .test("shared next hop: answers to a member have one", answers)
}

/// A gateway, and new flows of it.
struct Flows<'a> {
    bench: Bench,
    namespace: &'a Namespace,
    port: u16,
}

fn in_gateway(body: impl FnOnce(&mut Flows<'_>) -> Result<()> + Send) -> Result<()> {
    let gateway: Gateway = gateway()?;
    let namespace = &gateway.namespace;
    namespace.run(|| {
        // What is shared is of one CPU.
        stay()?;
        let mut bench = Bench::new(CORRESPONDENT, true)?;
        bench.ingress = netlink::index(namespace, "clients0")?;
        set(&mut bench, C)?;
        let targets = BTreeSet::from([bench.ingress, netlink::index(namespace, "up0")?]);
        let maps = bench.dataplane.maps();
        maps.set_redirect_targets(&targets, &BTreeSet::new())?;
        body(&mut Flows {
            bench,
            namespace,
            port: 1024,
        })
    })
}

impl Flows<'_> {
    /// The next new flow's first packet.
    fn first(&mut self) -> Packet {
        self.port += 1;
        Packet::tcp(A, B, (self.port, 80), SYN)
    }

    /// To which Ethernet address the next new flow goes.
    fn goes(&mut self) -> Result<[u8; 6]> {
        let packet = self.first();
        let (verdict, frame) = self.bench.run(&packet.frame())?;
        ensure!(verdict == Verdict::Redirect, "{verdict:?}");
        let mut expected = packet
            .with(|packet| (packet.destination, packet.hop_limit) = (address(C), 63))
            .frame();
        expected[..6].copy_from_slice(&frame[..6]);
        expected[6..12].copy_from_slice(&UP);
        ensure!(frame == expected, "{frame:x?}");
        Ok(frame[..6].try_into()?)
    }

    /// The router has this address from now on, and nobody is told.
    fn router_is(&self, mac: [u8; 6]) -> Result<()> {
        netlink::neighbour(self.namespace, "up0", address("2001:db8:ff::1"), mac)
    }

    fn vouch(&mut self, until: Option<Time>) -> Result<()> {
        Ok(self.bench.dataplane.maps().vouch_for_routes(until)?)
    }

    fn told(&mut self) -> Result<()> {
        Ok(self.bench.dataplane.maps().next_hops_changed()?)
    }

    /// Until the next flow goes by what one before it was told, and the FIB says otherwise: within a quarter of a
    /// second, which a busy machine may miss.
    fn share(&mut self) -> Result<()> {
        self.vouch(Some(clock::now() + LATER))?;
        wait::poll(SOON, Duration::ZERO, "flows share a next hop", || {
            self.router_is(ROUTER)?;
            self.told()?;
            ensure!(self.goes()? == ROUTER);
            self.router_is(MOVED)?;
            Ok((self.goes()? == ROUTER).then_some(()))
        })
    }

    /// Each new flow asks the FIB.
    fn each_asks(&mut self) -> Result<()> {
        for mac in [ROUTER, MOVED, ROUTER] {
            self.router_is(mac)?;
            let goes = self.goes()?;
            ensure!(goes == mac, "{goes:x?}, not {mac:x?}");
        }
        Ok(())
    }
}

fn vouched() -> Result<()> {
    in_gateway(|flows| {
        flows.each_asks()?;
        flows.share()?;
        // A notification of the kernel ends it at once.
        flows.told()?;
        let goes = flows.goes()?;
        ensure!(goes == MOVED, "after it was told: {goes:x?}");
        flows.share()?;
        // Without one it ends by itself.
        wait::poll(SOON, Duration::ZERO, "it ends by itself", || {
            Ok((flows.goes()? == MOVED).then_some(()))
        })?;
        // A rule, or a route, came on which more depends.
        flows.share()?;
        flows.vouch(None)?;
        flows.told()?;
        flows.each_asks()?;
        // Nobody has vouched for it of late.
        flows.vouch(Some(clock::now().before(TICK)))?;
        flows.told()?;
        flows.each_asks()
    })
}

fn others() -> Result<()> {
    in_gateway(|flows| {
        flows.share()?;
        // The kernel has to answer these, or to find the way.
        let last = flows.first().with(|packet| packet.hop_limit = 1);
        let (verdict, frame) = flows.bench.run(&last.frame())?;
        ensure!(verdict == Verdict::Pass && frame == last.frame());
        let large = Packet::udp(A, B, (7, 80), &[0; 1500]);
        let (verdict, frame) = flows.bench.run(&large.frame())?;
        let to_care_of = large.with(|packet| packet.destination = address(C));
        ensure!(verdict == Verdict::Pass && frame == to_care_of.frame());
        let tagged = flows.first().with(|packet| packet.vlans = vec![7]);
        let (verdict, _) = flows.bench.run(&tagged.frame())?;
        ensure!(verdict == Verdict::Pass, "tagged: {verdict:?}");
        let mut to_a_group = flows.first().frame();
        to_a_group[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
        let (verdict, _) = flows.bench.run(&to_a_group)?;
        ensure!(verdict == Verdict::Pass, "to a group: {verdict:?}");
        // Another member, whose way nobody knows.
        set(&mut flows.bench, NEAR)?;
        let (verdict, _) = {
            let packet = flows.first();
            flows.bench.run(&packet.frame())?
        };
        ensure!(verdict == Verdict::Pass, "to another member: {verdict:?}");
        Ok(())
    })
}

/// By answers to Test Inits, before anybody is bound.
fn answers() -> Result<()> {
    stay()?;
    with_pair(keys_of_its_own(), Limits::NONE, |pair| {
        let init = Packet::mobility("2001:db8:20::53", A, 1).frame();
        // The controller gives its key.
        pair.controller(&init[ETHERNET..])?;
        let goes = |pair: &mut Pair<'_>| -> Result<[u8; 6]> {
            let (verdict, frame) = pair.bench.run(&init)?;
            ensure!(verdict == Verdict::Redirect, "{verdict:?}");
            Ok(frame[..6].try_into()?)
        };
        let router_is = |pair: &Pair<'_>, mac| {
            let namespace = &pair.gateway.namespace;
            netlink::neighbour(namespace, "up0", address("2001:db8:ff::1"), mac)
        };
        for mac in [ROUTER, MOVED] {
            router_is(pair, mac)?;
            ensure!(goes(pair)? == mac, "nobody vouches for the routes");
        }
        let maps = pair.bench.dataplane.maps();
        maps.vouch_for_routes(Some(clock::now() + LATER))?;
        wait::poll(SOON, Duration::ZERO, "answers share a next hop", || {
            router_is(pair, ROUTER)?;
            pair.bench.dataplane.maps().next_hops_changed()?;
            ensure!(goes(pair)? == ROUTER, "after it was told");
            router_is(pair, MOVED)?;
            Ok((goes(pair)? == ROUTER).then_some(()))
        })?;
        pair.bench.dataplane.maps().next_hops_changed()?;
        ensure!(goes(pair)? == MOVED, "after it was told");
        Ok(())
    })
}
