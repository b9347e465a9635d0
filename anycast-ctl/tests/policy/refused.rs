//! A reload whose policy the kernel does not take.

use anycast_ctl::shell::api::{Request, view};
use anyhow::{Result, ensure};
use xtask::net::bpf;

use super::site::{B, CONFIG, DENIED, HONEST, HONEST_MAC, MAC, Reports, Site, join, wait};

/// Number of each rule, its action and its hits, in the order in which they are tried, and the hits of no rule.
type Rules = (Vec<(usize, String, u64)>, u64);

fn rules(site: &Site) -> Result<Rules> {
    let policy: view::Policy = site.ask(&Request::Policy)?;
    let rules = policy.rules.iter().map(|known| {
        let anycast = known.rule.anycast.to_string();
        (known.id, anycast, known.hits)
    });
    Ok((rules.collect(), policy.default_deny_hits))
}

pub fn policy() -> Result<()> {
    let site = Site::new("refused")?;
    let frames = Reports::open(&site.honest)?;
    // One that is taken begins to count anew.
    join(&site, &frames, B)?;
    ensure!(rules(&site)?.0[0].2 > 0, "{:?}", rules(&site)?);
    let _: view::PolicyChanged = site.ask(&Request::Reload)?;
    ensure!(rules(&site)?.0[0].2 == 0, "{:?}", rules(&site)?);

    join(&site, &frames, B)?;
    frames.report(HONEST, HONEST_MAC, B)?;
    frames.report(DENIED, MAC, B)?;
    wait("both are counted", || {
        let (rules, denied) = rules(&site)?;
        Ok(rules[0].2 > 0 && denied > 0)
    })?;
    let before = rules(&site)?;
    // The second rule first, and the first one not at all.
    let (head, tail) = CONFIG.rsplit_once("[[router.policy]]").unwrap_or_default();
    let (head, _) = head.split_once("[[router.policy]]").unwrap_or_default();
    let deny =
        "[[router.policy]]\nsource = \"::/0\"\nanycast = \"2001:db8::/32\"\naction = \"deny\"\n";
    site.write(&format!("{head}[[router.policy]]{tail}\n{deny}"))?;
    bpf::freeze(site.process()?, "POLICY")?;
    let refused = site.ask::<view::PolicyChanged>(&Request::Reload).err();
    let reason = refused
        .map(|error| format!("{error:#}"))
        .unwrap_or_default();
    ensure!(
        reason.contains("not reloaded") && reason.contains("POLICY"),
        "{reason:?}"
    );
    ensure!(
        rules(&site)? == before,
        "{before:?}, then {:?}",
        rules(&site)?
    );
    ensure!(site.routed(B)?, "the member is gone");
    // They count on, and no other rule does.
    wait("the next Report is counted", || {
        frames.report(HONEST, HONEST_MAC, B)?;
        Ok(rules(&site)?.0[0].2 > before.0[0].2)
    })?;
    let after = rules(&site)?;
    ensure!(
        after.0[1] == before.0[1] && after.1 == before.1,
        "{before:?}, then {after:?}"
    );
    Ok(())
}
