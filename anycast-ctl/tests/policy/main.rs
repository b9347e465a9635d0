//! Policy and floods on a link with several hosts: a router's daemon, and hosts that send frames.

mod monitor;
mod refused;
mod site;

use std::{
    net::Ipv6Addr,
    process::ExitCode,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anycast_ctl::shell::api::{Request, client, view};
use anyhow::{Context as _, Result, ensure};
use xtask::{
    kernel_tests::Suite,
    net::{
        Sender,
        packet::{forge, mld},
        wait::patience,
    },
};

use site::{B, DENIED, FLOODER, HONEST, MAC, Reports, Site, join, wait};

fn main() -> ExitCode {
    Suite::new()
        .test(
            "a withdrawn permission is a withdrawn route when the command returns",
            withdrawn,
        )
        .test(
            "a policy that the kernel refuses leaves rules and hits as they were",
            refused::policy,
        )
        .test("a host joins within a second beside a flood", flood)
        .test(
            "invented senders that a rule would allow get no further than their rate",
            invented,
        )
        .test(
            "a daemon that gets more than it can take answers, and ends when it is told",
            drowned,
        )
        .test(
            "refusals say who and why, with forged ones among them",
            refusals,
        )
        .test(
            "who watches sees joins, leaves, refusals, elections and routes as they happen",
            monitor::events,
        )
        .test(
            "a watcher that does not read holds up nobody, and is told what it lost",
            monitor::slow_reader,
        )
        .run()
}

fn withdrawn() -> Result<()> {
    let site = Site::new("withdrawn")?;
    let frames = Reports::open(&site.honest)?;
    join(&site, &frames, B)?;
    let policy: view::Policy = site.ask(&Request::Policy)?;
    ensure!(policy.rules[0].hits >= 1, "{policy:?}");
    ensure!(policy.rules[1].hits == 0, "{policy:?}");
    let explain = || -> Result<view::Explanation> {
        let request = Request::PolicyExplain {
            source: HONEST,
            anycast: B,
            interface: None,
            mac: None,
        };
        let mut found: Vec<view::Explanation> = site.ask(&request)?;
        found.pop().context("an explanation")
    };
    ensure!(explain()?.allow, "{:?}", explain()?);

    let _: view::PolicyChanged = site.ask(&Request::PolicyRemove { id: 0 })?;
    ensure!(!site.routed(B)?, "the route is there after the command");
    let explained = explain()?;
    ensure!(
        !explained.allow && explained.steps[0].rule == 1,
        "{explained:?}"
    );
    frames.report(HONEST, site::HONEST_MAC, B)?;
    wait("the next Report is refused", || {
        let policy: view::Policy = site.ask(&Request::Policy)?;
        Ok(policy.default_deny_hits >= 1)
    })?;

    let rule = policy.rules[0].rule.clone();
    let request = Request::PolicyAdd {
        rule: view::Rule {
            interface: Some("nowhere0".to_owned()),
            ..rule.clone()
        },
        position: Default::default(),
    };
    ensure!(site.ask::<view::PolicyChanged>(&request).is_err());
    let request = Request::PolicyAdd {
        rule,
        position: Default::default(),
    };
    let added: view::PolicyChanged = site.ask(&request)?;
    ensure!(added.id == Some(2) && added.rules == 2, "{added:?}");
    join(&site, &frames, B)?;
    let members = client::members(&site.socket, Some(B), None, client::ALL)?;
    ensure!(
        members.len() == 1 && members[0].rule == Some(2),
        "{members:?}"
    );

    // The file has rule 0 and not rule 2; the member stays, by the other rule.
    let reloaded: view::PolicyChanged = site.ask(&Request::Reload)?;
    ensure!(reloaded.rules == 2 && site.routed(B)?);
    let members = client::members(&site.socket, None, Some(HONEST), client::ALL)?;
    ensure!(
        members.len() == 1 && members[0].rule == Some(0),
        "{members:?}"
    );
    let policy: view::Policy = site.ask(&Request::Policy)?;
    ensure!(
        policy
            .rules
            .iter()
            .all(|rule| rule.hits == 0 && !rule.added)
    );
    // A file with a mistake changes nothing.
    site.spoil()?;
    ensure!(site.ask::<view::PolicyChanged>(&Request::Reload).is_err());
    ensure!(site.routed(B)?);
    Ok(())
}

/// Three floods, one after another: of a source that may join, of one that may not, and of sources
/// and MACs that are different each time.
fn flood() -> Result<()> {
    let site = Site::new("flood")?;
    let honest = Reports::open(&site.honest)?;
    let anycast = |low: u16| Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, low);
    let forged = |number: u64| {
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let [_, _, a, b, c, d, e, f] = mixed.to_be_bytes();
        let word = |high, low| u16::from_be_bytes([high, low]);
        let source = Ipv6Addr::new(0xfe80, 0, 0, 0, word(a, b), word(c, d), word(e, f), 1);
        (source, [2, b, c, d, e, f])
    };
    let low = |number: u64| u16::try_from(number % 5000 + 1).unwrap_or(1);
    type Kind<'a> = (&'a str, &'a (dyn Fn(&Reports, u64) -> Result<()> + Sync));
    let kinds: [Kind<'_>; 3] = [
        ("mld_rate_limited", &|frames, n| {
            frames.report(FLOODER, MAC, anycast(low(n)))
        }),
        ("mld_report_denied", &|frames, n| {
            frames.report(DENIED, MAC, anycast(low(n)))
        }),
        ("mld_report_denied", &|frames, n| {
            let (source, mac) = forged(n);
            frames.report(source, mac, anycast(low(n)))
        }),
    ];
    for (round, (counter, send)) in kinds.into_iter().enumerate() {
        let before = site.counter(counter)?;
        let (over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
        let target = Ipv6Addr::new(
            0x2001,
            0xdb8,
            0xa,
            0,
            0,
            0,
            0,
            0x100 + u16::try_from(round)?,
        );
        let took = thread::scope(|scope| {
            let flooding = scope.spawn(|| -> Result<()> {
                let frames = Reports::open(&site.flooder)?;
                while !over.load(Ordering::Relaxed) {
                    let number = sent.fetch_add(1, Ordering::Relaxed);
                    send(&frames, number)?;
                }
                Ok(())
            });
            let joined = (|| {
                wait("the flood is counted", || {
                    Ok(site.counter(counter)? > before + 5000)
                })?;
                join(&site, &honest, target)
            })();
            over.store(true, Ordering::Relaxed);
            let flooded = flooding
                .join()
                .map_err(|_| anyhow::anyhow!("the flood panicked"))?;
            flooded.and(joined)
        })?;
        let counted = site.counter(counter)? - before;
        println!(
            "flood {round}: {} Reports sent, {counted} counted as {counter}, routed after {took:?}",
            sent.load(Ordering::Relaxed)
        );
        ensure!(
            took < patience(Duration::from_secs(1)),
            "joined after {took:?}"
        );
    }
    // The caps hold what the rate let through.
    let status: view::Status = site.ask(&Request::Status)?;
    ensure!(status.summary.members == 64 + 3, "{status:?}");
    Ok(())
}

/// A rule without a MAC allows any source, and each Report comes from another one.
fn invented() -> Result<()> {
    let (rate, burst) = (50, 100);
    let limits = format!("new_senders_per_second = {rate}\nnew_senders_burst = {burst}\n");
    let rule = "\n[[router.policy]]\nsource = \"fe80::/10\"\nanycast = \"2001:db8:e::/48\"\naction = \"allow\"\n";
    let config = site::CONFIG.replace("burst = 200\n", &format!("burst = 200\n{limits}"));
    let site = Site::with("invented", &(config + rule))?;
    let honest = Reports::open(&site.honest)?;
    let anycast = Ipv6Addr::new(0x2001, 0xdb8, 0xe, 0, 0, 0, 0, 1);
    let (over, start) = (AtomicBool::new(false), Instant::now());
    let took = thread::scope(|scope| {
        let flooding = scope.spawn(|| -> Result<()> {
            let frames = Reports::open(&site.flooder)?;
            for number in 1_u32.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let [a, b, c, d] = number.to_be_bytes();
                let [high, low] = [[a, b], [c, d]].map(u16::from_be_bytes);
                let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 7, high, low);
                frames.report(source, [2, 7, a, b, c, d], anycast)?;
            }
            Ok(())
        });
        let joined = (|| {
            wait("the flood is counted", || {
                Ok(site.counter("mld_new_sender_limited")? > 5000)
            })?;
            join(&site, &honest, B)
        })();
        over.store(true, Ordering::Relaxed);
        let flooded = flooding
            .join()
            .map_err(|_| anyhow::anyhow!("the flood panicked"))?;
        flooded.and(joined)
    })?;
    let status: view::Status = site.ask(&Request::Status)?;
    let seconds = usize::try_from(start.elapsed().as_secs())? + 1;
    let members = status.summary.members;
    println!("invented: {members} members in {seconds} s, routed after {took:?}");
    ensure!(
        took < patience(Duration::from_secs(1)),
        "joined after {took:?}"
    );
    // Two CPUs may take the same token.
    ensure!(
        members > burst && members < 2 * (burst + rate * seconds),
        "{status:?}"
    );
    Ok(())
}

/// Nothing limits the flooder: the ring of the daemon is never empty.
fn drowned() -> Result<()> {
    let config = site::CONFIG.replace("reports_per_second = 100", "reports_per_second = 0");
    let mut site = Site::with("drowned", &config)?;
    let link = Sender::open(&site.flooder, "eth0")?;
    let frames: Vec<_> = (1..=64)
        .map(|low| {
            let anycast = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, low);
            forge::mld(mld::REPORT, FLOODER, MAC, anycast)
        })
        .collect();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    link.send_all(&frames)?;
                }
                anyhow::Ok(())
            });
        }
        let outcome = (|| {
            wait("more comes than the daemon can take", || {
                Ok(site.counter("punt_ring_full")? > 0)
            })?;
            wait("the program logs it", || {
                Ok(site.logged()?.contains("punts lost on this CPU"))
            })?;
            for _ in 0..20 {
                let start = Instant::now();
                let lost = site.counter("punt_ring_full")?;
                let took = start.elapsed();
                ensure!(
                    took < patience(Duration::from_secs(2)),
                    "an answer after {took:?}"
                );
                wait("still more comes", || {
                    Ok(site.counter("punt_ring_full")? > lost)
                })?;
            }
            let took = site.end()?;
            println!("drowned: the daemon ended after {took:?}");
            ensure!(
                took < patience(Duration::from_secs(5)),
                "it ended after {took:?}"
            );
            Ok(())
        })();
        over.store(true, Ordering::Relaxed);
        outcome
    })
}

fn refusals() -> Result<()> {
    let site = Site::new("refusals")?;
    let frames = Reports::open(&site.flooder)?;
    for _ in 0..3 {
        frames.report(DENIED, MAC, B)?;
    }
    frames.report("2001:db8::1".parse()?, MAC, B)?;
    for low in 1..=65 {
        let anycast = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, low);
        frames.report(FLOODER, MAC, anycast)?;
    }
    let find = |reason: &str| -> Result<Option<view::Refusal>> {
        let refusals: view::Refusals = site.ask(&Request::Refusals)?;
        let mut refusals = refusals.refusals.into_iter();
        Ok(refusals.find(|refusal| refusal.reason == reason))
    };
    for (reason, source, by) in [
        ("mld_report_denied", DENIED, "data_plane"),
        ("mld_bad_source", "2001:db8::1".parse()?, "data_plane"),
        ("member_full", FLOODER, "controller"),
    ] {
        wait(reason, || Ok(find(reason)?.is_some()))?;
        let found = find(reason)?.context("it was there")?;
        ensure!(found.source == source && found.by == by, "{found:?}");
        ensure!(found.mac.0 == MAC && found.interface == "lan0", "{found:?}");
        ensure!(found.anycast.is_some(), "{found:?}");
    }
    let denied = find("mld_report_denied")?.context("it was there")?;
    ensure!(denied.seen == 3 && denied.anycast == Some(B), "{denied:?}");
    let refusals: view::Refusals = site.ask(&Request::Refusals)?;
    ensure!(refusals.totals["mld_report_denied"] == 3, "{refusals:?}");
    ensure!(refusals.totals["member_full"] == 1, "{refusals:?}");
    Ok(())
}
