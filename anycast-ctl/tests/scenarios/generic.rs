//! The system by generic XDP, which runs in the kernel's stack and still sends by itself.

use std::time::Duration;

use anyhow::{Result, ensure};
use xtask::{
    lab::{
        scenario::{MIB, SOON, transfer},
        topology::{B, CLIENT},
    },
    net::capture::Flow,
};

use super::{
    paths::{DATAGRAMS, ECHO, count, datagrams},
    sessions::bound,
    stage::in_lab,
    tcx::{modes, pinned},
};

const LONG: Duration = Duration::from_secs(60);

/// TCP and UDP, there and back, with checksums that are complete when they are sent.
pub(super) fn session() -> Result<()> {
    in_lab(None, |lab, report| {
        let nodes = ["router", "gateway", "s1", "s2"];
        for node in nodes {
            lab.configure(node, "mode = \"auto\"", "mode = \"generic\"")?;
        }
        let mut session = bound(lab, report)?;
        for node in nodes {
            let configured = ("generic".to_owned(), "configured".to_owned());
            let modes = modes(lab, node)?;
            ensure!(modes.iter().all(|mode| *mode == configured), "{modes:?}");
        }
        let ours = ["egress", "egress", "generic", "generic"];
        ensure!(pinned(lab)? == ours, "{:?}", pinned(lab)?);

        let forwarded = count(lab, "gateway", "forwarded")?;
        let (_, [core]) = transfer(lab, &mut session, 16 * MIB, LONG, ["gateway-router"])?;
        core.must_be_by_care_of("gateway-router")?;
        ensure!(core.resets() == 0, "resets: {core:?}");
        let packets: u64 = core.by_care_of.iter().map(|tally| tally.packets).sum();
        let forwarded = count(lab, "gateway", "forwarded")? - forwarded;
        ensure!(
            forwarded * 2 > packets,
            "{packets} packets, of which the programs have sent {forwarded}"
        );

        datagrams(lab)?;
        let (client, member) = ((CLIENT, DATAGRAMS), (session.care_of, ECHO));
        let ledger = lab.capture("gateway-router")?.ledger();
        for (source, destination) in [(client, member), (member, client)] {
            let flow = Flow {
                source,
                destination,
            };
            ledger.wait(SOON, "datagrams by C", |ledger| {
                ledger.flows.get(&flow).copied()
            })?;
        }
        let by_anycast = ledger.read(|ledger| {
            let with_b = |flow: &Flow| [flow.source, flow.destination].contains(&(B, ECHO));
            ledger.sum(with_b)
        });
        ensure!(by_anycast.packets == 0, "by B: {by_anycast:?}");

        session.visitor.tell("finish")?;
        session.visitor.event("finished", SOON)?;
        Ok(())
    })
}
