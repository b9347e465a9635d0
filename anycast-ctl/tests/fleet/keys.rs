//! Without a bus: a secret alone lets any gateway answer any message of a handshake.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, ensure};
use xtask::{kernel_tests::Suite, net::wait};

use super::{
    clients::{socket, with_answers},
    site::{Plan, SOON, Site, client},
};

const CLIENTS: u16 = 32;
/// Between two questions of a client.
const REST: Duration = Duration::from_millis(100);
/// What says that a token was of another gateway.
const REFUSALS: [&str; 4] = [
    "binding_update_expired_home_nonce",
    "binding_update_expired_care_of_nonce",
    "binding_update_expired_nonces",
    "binding_update_bad_authenticator",
];

pub fn tests(suite: Suite) -> Suite {
    suite
        .test(
            "two gateways with a secret in common bind every client",
            || {
                let site = site(Some(String::new()), None)?;
                all_bind(&site).with_context(|| site.logs())
            },
        )
        .test(
            "two gateways without one refuse each other's tokens",
            || {
                let site = site(None, None)?;
                refuse(&site).with_context(|| site.logs())
            },
        )
}

/// Waits until a gateway refuses a token of the other.
pub fn refuse(site: &Site) -> Result<()> {
    with_answers(&site.members, || {
        wait::poll(SOON, REST, "a token of the other is refused", || {
            ask(site)?;
            Ok((refusals(site)? > 0).then_some(()))
        })
    })
}

/// Two gateways, with a clock that is off or none.
pub fn site(fleet: Option<String>, clock: Option<(usize, &'static str)>) -> Result<Site> {
    Site::up(Plan {
        clock,
        gateways: 2,
        members: 1,
        clients: CLIENTS,
        fleet,
        ..Plan::default()
    })
}

/// All clients are bound, and no token of theirs was refused.
pub fn all_bind(site: &Site) -> Result<()> {
    let mut bound = BTreeSet::new();
    with_answers(&site.members, || {
        wait::poll(SOON, REST, "all clients are bound", || {
            ask(site)?;
            bound.extend(accepted(site)?);
            Ok((bound.len() == usize::from(CLIENTS)).then_some(()))
        })
    })?;
    ensure!(refusals(site)? == 0, "some were refused at first");
    // Both have done their part, or this has shown nothing.
    for gateway in 0..2 {
        for test in ["home_test", "care_of_test"] {
            let daemon = site.gateway(gateway)?;
            let sent = daemon.counter("controller", &format!("{test}_sent"))?
                + daemon.counter("data_plane", &format!("{test}_answered"))?;
            ensure!(sent > 0, "{gateway}: {sent} of {test}");
        }
    }
    Ok(())
}

/// Every client asks once.
fn ask(site: &Site) -> Result<()> {
    (1..=CLIENTS).try_for_each(|number| {
        socket(site, number)?.send(b"question")?;
        Ok(())
    })
}

/// The clients whose last Binding Update the gateways have accepted. Whether they stay bound is not asked here: where
/// answers come by the other gateway, the flow goes on by B, and the pair is left alone.
fn accepted(site: &Site) -> Result<BTreeSet<String>> {
    let handshakes = site.member(0)?.list("handshakes")?;
    let accepted = handshakes.iter().filter(|known| {
        let heard = &known["last_answer"];
        heard["message"] == "binding_ack" && heard["status"] == 0
    });
    let clients = accepted.filter_map(|known| known["client"].as_str());
    let clients: BTreeSet<_> = clients.map(str::to_owned).collect();
    let ours: BTreeSet<_> = (1..=CLIENTS)
        .map(|number| client(number).to_string())
        .collect();
    ensure!(clients.is_subset(&ours), "{clients:?}");
    Ok(clients)
}

fn refusals(site: &Site) -> Result<u64> {
    REFUSALS.iter().map(|name| site.counter(name)).sum()
}
