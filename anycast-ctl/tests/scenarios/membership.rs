//! Who is in, and what the kernel's routes say about it.

use std::time::Duration;

use anyhow::{Result, ensure};
use xtask::{
    lab::{
        scenario::{ASK_AGAIN, SOON, is_via},
        stage::Lab,
        topology::{B, ROGUE, S1, S2, Server},
    },
    net::{
        packet::{Upper, mld},
        routes::Route,
        wait,
    },
};

use super::stage::in_lab;

/// Two Address-Specific Queries, a second apart, and a second more.
const LEAVE: Duration = Duration::from_secs(10);

/// Query Response Interval, within which members answer, and a little more.
const ANSWER: Duration = Duration::from_secs(12);

fn routed(lab: &Lab, limit: Duration, server: Server) -> Result<Route> {
    let what = format!("one route to B, by {}", server.name);
    let route = lab
        .routes
        .wait(limit, &what, (B, 128), |routes| match routes {
            [route] if is_via(route, server) => Some(route.clone()),
            _ => None,
        })?;
    Ok(route)
}

fn anycast(lab: &Lab, server: Server, command: &str) -> Result<()> {
    lab.daemon(server.name)?.tell(&[command, &B.to_string()])?;
    Ok(())
}

/// Members come and go one after another, and the routes with them.
pub(super) fn join_and_leave() -> Result<()> {
    in_lab(None, |lab, _| {
        // In this order, so that the router hears the first Report: the next may take ten seconds.
        lab.start(&["router"])?;
        lab.start(&["s1"])?;
        let route = routed(lab, SOON, S1)?;
        ensure!(
            route.protocol == 0xac,
            "not the daemon's own protocol number: {route}"
        );
        anycast(lab, S1, "leave")?;
        lab.routes
            .wait(LEAVE, "no route to B", (B, 128), |routes| {
                routes.is_empty().then_some(())
            })?;
        lab.start(&["s2"])?;
        routed(lab, SOON, S2)?;
        anycast(lab, S1, "join")?;
        wait::poll(SOON, ASK_AGAIN, "two members", || {
            Ok((lab.daemon("router")?.list("members")?.len() == 2).then_some(()))
        })?;
        anycast(lab, S2, "leave")?;
        routed(lab, LEAVE, S1)?;
        anycast(lab, S1, "leave")?;
        lab.routes
            .wait(LEAVE, "no route to B", (B, 128), |routes| {
                routes.is_empty().then_some(())
            })?;
        Ok(())
    })
}

/// The members' own Reports are long over; they answer the new router's Query.
pub(super) fn late_router() -> Result<()> {
    in_lab(None, |lab, _| {
        lab.start(&["s1"])?;
        lab.start(&["router"])?;
        routed(lab, ANSWER, S1)?;
        Ok(())
    })
}

/// The rogue reports as often as it likes.
pub(super) fn refused() -> Result<()> {
    in_lab(None, |lab, _| {
        let reports = |lab: &Lab| -> Result<usize> {
            Ok(lab.capture("lan-rogue")?.ledger().read(|ledger| {
                let ours = ledger.messages(0, |packet| packet.upper == Upper::Mld(mld::REPORT, B));
                ours.count()
            }))
        };
        lab.start(&["router"])?;
        let before = lab.routes.all();
        lab.start(&["rogue"])?;
        for round in 1..=3_u64 {
            let denied = format!("Report {round} counted as refused");
            wait::poll(SOON, ASK_AGAIN, &denied, || {
                let counted = lab
                    .daemon("router")?
                    .counter("data_plane", "mld_report_denied")?;
                Ok((counted >= round).then_some(()))
            })?;
            anycast(lab, ROGUE, "leave")?;
            anycast(lab, ROGUE, "join")?;
        }
        ensure!(reports(lab)? >= 3, "{} Reports on the link", reports(lab)?);
        let router = lab.daemon("router")?;
        let accepted = router.counter("controller", "report_accepted")?;
        ensure!(accepted == 0, "the controller has accepted {accepted}");
        for query in ["members", "groups"] {
            let answer = router.ask(query)?;
            ensure!(
                !answer.to_string().contains(&B.to_string()),
                "{query}: {answer}"
            );
        }
        let after = lab.routes.all();
        ensure!(after == before, "before {before:?}, after {after:?}");
        Ok(())
    })
}
