//! Which next hops the programs note, for the controller to have them probed.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anycast_common::abi::{maps::unattended, roles::CORRESPONDENT};
use anycast_ctl::{
    core::Time,
    shell::{clock, dataplane::Limits},
};
use anyhow::{Result, ensure};
use xtask::{
    kernel_tests::Suite,
    net::{netlink, wait},
};

use crate::{
    forward::{A, B, BACK, C, PORTS, SOON, gateway, set},
    harness::{Bench, Verdict},
    packets::{ACK, Packet, SYN, address},
    pair::{ETHERNET, keys_of_its_own, with_pair},
};

/// A next hop is noted as often.
const LONGEST_TICK: Duration = Duration::from_millis(1100);

pub fn tests(suite: Suite) -> Suite {
    suite
        .test("forwarding: next hops in use are noted", in_use)
        .test("answers: next hops in use are noted", by_answers)
}

/// The kernel sees no answer that a program gives, either.
fn by_answers() -> Result<()> {
    with_pair(keys_of_its_own(), Limits::NONE, |pair| {
        let init = Packet::mobility(C, A, 1).frame();
        // The first one is the controller's, which makes a key.
        pair.controller(&init[ETHERNET..])?;
        let up = netlink::index(&pair.gateway.namespace, "up0")?;
        let maps = pair.bench.dataplane.maps();
        ensure!(maps.next_hops_in_use(clock::now())?.is_empty());
        ensure!(pair.ask(&init)?, "no answer");
        let found = pair.bench.dataplane.maps().next_hops_in_use(clock::now())?;
        ensure!(
            found == BTreeSet::from([(up, address("2001:db8:ff::1"))]),
            "{found:?}"
        );
        Ok(())
    })
}

fn in_use() -> Result<()> {
    let gateway = gateway()?;
    gateway.namespace.run(|| {
        let mut bench = Bench::new(CORRESPONDENT, true)?;
        let clients = netlink::index(&gateway.namespace, "clients0")?;
        let up = netlink::index(&gateway.namespace, "up0")?;
        bench.ingress = clients;
        set(&mut bench, C)?;
        let targets = BTreeSet::from([clients, up]);
        bench
            .dataplane
            .maps()
            .set_redirect_targets(&targets, &BTreeSet::new())?;
        let now = || clock::now();
        ensure!(bench.dataplane.maps().next_hops_in_use(now())?.is_empty());
        let opens = Packet::tcp(A, B, PORTS, SYN).frame();
        let back = Packet::tcp(C, A, BACK, SYN | ACK).frame();
        bench.run(&opens)?;
        let router = (up, address("2001:db8:ff::1"));
        let found = bench.dataplane.maps().next_hops_in_use(now())?;
        ensure!(found == BTreeSet::from([router]), "{found:?}");
        bench.run(&back)?;
        let found = bench.dataplane.maps().next_hops_in_use(now())?;
        ensure!(
            found == BTreeSet::from([router, (clients, address(A))]),
            "{found:?}"
        );

        // Without a controller one packet in a while reminds the kernel of the neighbour.
        let passes = |bench: &mut Bench| anyhow::Ok(bench.run(&opens)?.0 == Verdict::Pass);
        bench.dataplane.maps().attend(now())?;
        let end = Instant::now() + 2 * LONGEST_TICK;
        while Instant::now() < end {
            ensure!(
                !passes(&mut bench)?,
                "left to the kernel, with a controller"
            );
        }
        let dead = now().as_nanos().saturating_sub(unattended::AFTER) - 1;
        bench.dataplane.maps().attend(Time::from_nanos(dead))?;
        wait::poll(SOON, Duration::ZERO, "a packet for the kernel", || {
            Ok(passes(&mut bench)?.then_some(()))
        })?;
        ensure!(!passes(&mut bench)?, "the next one as well");
        Ok(())
    })
}
