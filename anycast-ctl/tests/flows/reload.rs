//! Daemons read their files again beside sessions, which notice nothing: interfaces, limits and groups come and go.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xtask::{
    kernel_tests::Suite,
    lab::{node::Daemon, topology::B},
    net::{Pass, netlink, netlink::End, wait},
};

use super::{
    sessions::Sessions,
    site::{ASK_AGAIN, Mode, Plan, SOON, Site, care_of, lan},
};

const SESSIONS: usize = 8;
/// Bindings are over, and the daemon has looked.
const RETIRED: Duration = Duration::from_secs(30);

pub fn tests(mut suite: Suite, is_long: bool) -> Suite {
    for mode in [Mode::Native, Mode::Tcx] {
        let name = format!("sessions beside files that are read again, {}", mode.name());
        suite = suite.test(name, move || {
            let mut site = Site::up(Plan::new(2, Some(mode)))?;
            gateway(&site)
                .and_then(|()| member(&mut site, is_long))
                .with_context(|| site.logs())
        });
    }
    suite
}

fn taken(daemon: &Daemon) -> Result<()> {
    let said = daemon.tell(&["reload"])?;
    ensure!(said.trim() == "reloaded", "{}: {said}", daemon.node());
    Ok(())
}

/// How the programs of an interface are attached, if they are.
fn attached(daemon: &Daemon, name: &str) -> Result<Option<String>> {
    let status = daemon.ask("status")?;
    let interfaces = status["interfaces"].as_array().cloned().unwrap_or_default();
    let found = interfaces.into_iter().find(|link| link["name"] == name);
    Ok(found.and_then(|link| link["mode"].as_str().map(str::to_owned)))
}

fn gateway(site: &Site) -> Result<()> {
    site.route(&[0])?;
    let mut sessions = Sessions::open(site, SESSIONS)?;
    sessions.beat()?;
    sessions.wait_bound(site, SOON)?;
    let gateway = site.daemon("gateway")?;
    let (near, far) = (
        End::new(&site.gateway, "spare0"),
        End::new(&site.router, "spare1"),
    );
    netlink::veth(near, far)?;
    netlink::connect(near, far)?;
    let ends = ["spare2", "spare3"].map(|name| End::new(&site.gateway, name));
    netlink::veth(ends[0], ends[1])?;
    let _foreign = Pass::attach(&site.gateway, "spare3")?;
    let pins = site.gateway.pinned()?;
    let mode = site.plan.mode.map(Mode::name).map(str::to_owned);
    for _ in 0..2 {
        ensure!(attached(gateway, "spare0")?.is_none(), "attached before");
        let more = |text: String| {
            text.replace("\"up0\"]", "\"up0\", \"spare0\"]\nmax_bindings = 500")
                + "[correspondent.limits]\nclient_rate = 7\nrate = 1000\n"
        };
        site.rewrite("gateway", more)?;
        taken(gateway)?;
        let now = attached(gateway, "spare0")?;
        ensure!(now == mode, "spare0: {now:?}");
        sessions.exchange(Duration::ZERO)?.none("with a leg more")?;
        // One that refuses its programs: nothing is changed, what comes before it included.
        if site.plan.mode == Some(Mode::Native) {
            let wrong =
                |text: String| text.replace("\"up0\"]", "\"spare0\", \"spare2\", \"spare3\"]");
            site.rewrite("gateway", wrong)?;
            let refused = gateway.tell(&["reload"]).err();
            let refused = refused.map(|error| error.to_string());
            let refused = refused.context("programs beside another's")?;
            ensure!(refused.contains("cannot attach to spare3"), "{refused}");
            for leg in ["clients0", "up0", "spare0"] {
                ensure!(attached(gateway, leg)? == mode, "{leg} has none any more");
            }
            sessions.exchange(Duration::ZERO)?.none("after a refusal")?;
        }
        site.rewrite("gateway", |text| text)?;
        taken(gateway)?;
        ensure!(
            site.gateway.pinned()? == pins,
            "{:?}",
            site.gateway.pinned()?
        );
        sessions.exchange(Duration::ZERO)?.none("with a leg less")?;
    }
    let (own, foreign) = sessions.bound(site)?;
    ensure!(
        (own, foreign) == (SESSIONS, 0),
        "{own} bound, {foreign} elsewhere"
    );
    all_finish(sessions, SESSIONS)
}

fn all_finish(sessions: Sessions, number: usize) -> Result<()> {
    let ends = sessions.finish()?;
    ensure!(ends.finished == number, "{:?}", ends.broken);
    Ok(())
}

/// The anycast addresses of the groups that a member has.
fn groups(member: &Daemon) -> Result<Vec<Value>> {
    let groups = member.ask("groups")?["member"].take();
    let groups = groups.as_array().cloned().unwrap_or_default();
    Ok(groups
        .iter()
        .map(|group| group["anycast"].clone())
        .collect())
}

fn member(site: &mut Site, is_long: bool) -> Result<()> {
    let mut sessions = Sessions::open(site, SESSIONS)?;
    sessions.beat()?;
    sessions.wait_bound(site, SOON)?;
    let member = site.daemon("s1")?;
    let (b, c) = (B.to_string(), care_of(0).to_string());
    let other = |text: String| {
        let text = text.replace(&b, "2001:db8:a::54");
        text.replace(&format!("\"{c}\""), &format!("\"{}\"", lan(0xc9)))
            + "[member.handshake]\nrate = 500\n"
    };
    // The group goes, and its sessions go on.
    site.rewrite("s1", other)?;
    taken(member)?;
    ensure!(
        groups(member)? == ["2001:db8:a::54"],
        "{:?}",
        groups(member)?
    );
    for _ in 0..2 {
        sessions
            .exchange(Duration::from_secs(1))?
            .none("without the group")?;
    }
    let known = member.map_entry("LOCAL_CARE_OF", &care_of(0).octets())?;
    ensure!(known.is_some(), "the programs have forgotten C");
    // Also beside another daemon, which has never heard of it.
    site.replace("s1")?;
    let member = site.daemon("s1")?;
    sessions
        .exchange(Duration::from_secs(1))?
        .none("after a restart without the group")?;
    // It comes back, and serves more.
    site.rewrite("s1", |text| text)?;
    taken(member)?;
    ensure!(groups(member)? == [b.as_str()], "{:?}", groups(member)?);
    // The nonces of bindings that were deleted make no other ones for half a minute.
    sessions.more(2)?;
    sessions
        .exchange(Duration::ZERO)?
        .none("with the group again")?;
    all_finish(sessions, SESSIONS + 2)?;
    if !is_long {
        return Ok(());
    }
    // With the last session and the last binding, the programs forget C.
    site.rewrite("s1", other)?;
    taken(member)?;
    wait::poll(RETIRED, ASK_AGAIN, "C is forgotten", || {
        let known = member.map_entry("LOCAL_CARE_OF", &care_of(0).octets())?;
        Ok(known.is_none().then_some(()))
    })?;
    Ok(())
}
