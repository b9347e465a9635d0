//! One host that the policy allows, and the groups that it reports: a few, and thousands.

use std::{net::Ipv6Addr, time::Instant};

use anycast_common::wire::{ipv6, mld};
use anycast_ctl::shell::sockets::Sender;
use anyhow::{Result, ensure};
use xtask::net::wait;

use super::bed::{AGAIN, Bed, SOON, in_bed, link_local};

const HOST: u16 = 0x11;
const REPORTS: u16 = 6000;
const GROUPS: u16 = 2120;
/// Groups that a member may be in where its rule says nothing else.
const CAP: usize = 1024;
/// Lines about members and routes in one period of ten seconds, and those about what is refused and what is summed up.
const LINES: usize = 100 + 10;

fn group(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 1, number)
}

/// Reports of the host, one after the other.
fn report(bed: &Bed, groups: impl Iterator<Item = u16>) -> Result<()> {
    let packets = groups.map(|number| {
        let mut packet = vec![0; mld::PACKET_LEN];
        let address = group(number);
        let message = mld::Message::Report { address };
        message.emit(link_local(HOST), ipv6::ALL_ROUTERS, &mut packet)?;
        Ok(packet)
    });
    let packets = packets.collect::<Result<Vec<_>>>()?;
    bed.node("m1")?.namespace.run(|| {
        let index = nix::net::if_::if_nametoindex("eth0")?;
        let mut sender = Sender::new()?;
        packets
            .iter()
            .try_for_each(|packet| Ok(sender.send(Some(index), packet)?))
    })
}

/// With the timers of RFC 2710: no membership ends meanwhile.
const ROUTER: &str = r#"
[router]
interfaces = ["eth0"]
next_hops = "best"

[[router.policy]]
source = "fe80::/10"
anycast = "2001:db8:a::/48"
action = "allow"
"#;

/// Members that the router knows, and routes that its kernel has.
fn held(bed: &Bed) -> Result<(usize, usize)> {
    let routes = bed.ip("r1", "-6 route show proto 172")?;
    let members = bed.daemon("r1")?.list("members")?;
    Ok((members.len(), routes.lines().count()))
}

/// A router, a host, and how many lines the router has logged before the host says anything.
fn prepare(bed: &mut Bed) -> Result<usize> {
    bed.add_router("r1", 1)?;
    bed.add("m1", HOST)?;
    bed.start("r1", ROUTER)?;
    Ok(bed.daemon("r1")?.tail(usize::MAX).len())
}

/// What the router has logged since.
fn logged(bed: &Bed, before: usize) -> Result<Vec<String>> {
    let all = bed.daemon("r1")?.tail(usize::MAX);
    Ok(all.into_iter().skip(before).collect())
}

/// The control: a host that is in some groups.
pub fn few() -> Result<()> {
    in_bed(|bed| {
        let before = prepare(bed)?;
        report(bed, 1..=5)?;
        wait::poll(SOON, AGAIN, "five routes", || {
            Ok((held(bed)? == (5, 5)).then_some(()))
        })?;
        let lines = logged(bed, before)?;
        for number in 1..=5 {
            let about = |what: &str| {
                let address = group(number).to_string();
                let mut lines = lines.iter();
                lines.any(|line| line.contains(&address) && line.contains(what))
            };
            ensure!(about("member joined"), "{number}: {lines:?}");
            ensure!(about("route"), "{number}: {lines:?}");
        }
        Ok(())
    })
}

pub fn many() -> Result<()> {
    in_bed(|bed| {
        let before = prepare(bed)?;
        let start = Instant::now();
        report(bed, (0..REPORTS).map(|number| number % GROUPS))?;
        let heard = || {
            let core = |name| bed.daemon("r1")?.counter("controller", name);
            let limited = bed
                .daemon("r1")?
                .counter("data_plane", "mld_rate_limited")?;
            anyhow::Ok([core("report_accepted")?, core("member_full")?, limited])
        };
        wait::poll(SOON, AGAIN, "every Report is counted", || {
            let all = heard()?.iter().sum::<u64>() >= u64::from(REPORTS);
            Ok(all.then_some(()))
        })?;
        let [accepted, full, limited] = heard()?;
        println!("{accepted} accepted, {full} beyond the cap, {limited} beyond the rate");
        ensure!(full > 0, "the cap was not reached");
        wait::poll(SOON, AGAIN, "as many routes as members", || {
            Ok((held(bed)? == (CAP, CAP)).then_some(()))
        })?;
        let lines = logged(bed, before)?;
        // The first and the last period may be cut off.
        let took = start.elapsed();
        let most = LINES * (2 + usize::try_from(took.as_secs())? / 10);
        println!("{} lines in {took:.1?}", lines.len());
        let joined = lines.iter().filter(|line| line.contains("member joined"));
        ensure!(joined.count() >= 10, "{lines:?}");
        ensure!(
            lines.len() <= most,
            "{} lines in {took:.1?}: {lines:?}",
            lines.len()
        );
        Ok(())
    })
}
