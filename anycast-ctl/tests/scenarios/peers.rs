//! Two members behind a router that hashes ports: the flows of one client reach both, what answers their
//! handshakes reaches one of them.

use std::{
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Result, ensure};
use xtask::{
    lab::{
        scenario::{ASK_AGAIN, SOON},
        stage::Lab,
        topology::{B, CLIENT},
    },
    net::{sysctl, wait},
};

use super::stage::in_lab;

/// Flows at a time: that all take one of two ways is a chance of one in 2^31.
const FLOWS: usize = 32;
/// A handshake that nothing answers is given up after 15 seconds; a binding steers all new flows for 16.
const LONG: Duration = Duration::from_secs(60);
const MEMBERS: [&str; 2] = ["s1", "s2"];
/// What the examples have, for whoever needs it.
const PEERS: &str = "peers = [\"2001:db8:20::c0/124\"]";

/// How often this was counted at each of the members.
fn counted(lab: &Lab, counter: &str) -> Result<[u64; 2]> {
    let [first, second] = MEMBERS.map(|name| lab.daemon(name)?.counter("controller", counter));
    Ok([first?, second?])
}

/// Lets the client send by flows that are new to everybody, all at once, until `done` has something.
fn flows_until<T>(lab: &Lab, what: &str, mut done: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    wait::poll(LONG, ASK_AGAIN, what, || {
        lab.network.client.run(|| {
            let socket = |_| Ok(UdpSocket::bind(SocketAddr::from((CLIENT, 0)))?);
            let sockets: Result<Vec<UdpSocket>> = (0..FLOWS).map(socket).collect();
            for socket in sockets? {
                // The discard service: nobody has to answer.
                socket.send_to(b"first", (B, 9))?;
            }
            Ok(())
        })?;
        done()
    })
}

fn in_fleet(peers: bool, body: impl FnOnce(&Lab) -> Result<()>) -> Result<()> {
    in_lab(None, |lab, _| {
        lab.configure("router", "next_hops = \"best\"", "next_hops = \"all\"")?;
        sysctl::set(
            &lab.network.router,
            &[("ipv6/fib_multipath_hash_policy", "1")],
        )?;
        for member in MEMBERS {
            let instead = if peers { PEERS } else { "" };
            lab.configure(member, &format!("# {PEERS}"), instead)?;
        }
        lab.start(&["router", "gateway", "s1", "s2"])?;
        wait::poll(SOON, ASK_AGAIN, "two members", || {
            Ok((lab.daemon("router")?.list("members")?.len() == 2).then_some(()))
        })?;
        body(lab)
    })
}

pub(super) fn both_bind() -> Result<()> {
    in_fleet(true, |lab| {
        flows_until(lab, "both members have bound the client", || {
            let bound = counted(lab, "handshake_bound")?;
            Ok(bound.iter().all(|bound| *bound > 0).then_some(()))
        })?;
        // One of them had to be given its own.
        let handed_on = counted(lab, "home_test_handed_on")?;
        ensure!(handed_on.iter().sum::<u64>() > 0, "{handed_on:?}");
        let received = counted(lab, "handed_on_received")?;
        ensure!(received.iter().sum::<u64>() > 0, "{received:?}");
        for counter in ["test_unexpected", "binding_ack_bad_authenticator"] {
            let counted = counted(lab, counter)?;
            ensure!(counted == [0, 0], "{counter}: {counted:?}");
        }
        Ok(())
    })
}

/// The control.
pub(super) fn one_binds_without() -> Result<()> {
    in_fleet(false, |lab| {
        let bound = flows_until(lab, "a member gives up", || {
            let given_up = counted(lab, "handshake_no_answer")?;
            let gave_up = given_up.iter().any(|count| *count > 0);
            Ok(gave_up.then_some(counted(lab, "handshake_bound")?))
        })?;
        let [first, second] = bound.map(|bound| bound > 0);
        ensure!(first != second, "{bound:?}");
        let unexpected = counted(lab, "test_unexpected")?;
        ensure!(unexpected.iter().sum::<u64>() > 0, "{unexpected:?}");
        ensure!(counted(lab, "home_test_handed_on")? == [0, 0]);
        Ok(())
    })
}
