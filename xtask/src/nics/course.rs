//! In the guest: each case on its own network of four namespaces, whose cards come back when it is removed.

use std::{
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use super::{
    bed::{self, AGAIN, Bed, C, Names, SOON, attached, ip, run},
    case::{self, Case, Row, WITHOUT},
    later, stall,
};
use crate::{
    kernels::guest::MARK,
    lab::{
        node::Daemon,
        topology::{B, CLIENT},
        visitor::{self, Visitor},
    },
    net::{Sender, ethtool, packet::forge, wait},
};

/// Type of an MLDv1 Report (RFC 2710 section 3).
const REPORT: u8 = 131;
/// For a transfer.
const LONG: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;
/// Packets of a transfer, however many are merged.
const FEWEST: u64 = 50;
/// Some packets of the largest size.
const SMALL: u64 = 1 << 16;

/// What a guest is to try
#[derive(clap::Args, Clone, Debug)]
pub struct Guest {
    /// What the card is called
    card: String,
    /// Its module
    driver: String,
    /// Only cases whose name contains this, or another of these
    #[arg(long)]
    only: Vec<String>,
    /// What stands on cards as well
    #[arg(long)]
    stacks: bool,
    /// The card takes VLAN tags off as it is
    #[arg(long)]
    rxvlan: bool,
    /// The largest MTU with which packets pass
    #[arg(long)]
    mtu: u32,
}

/// Tries everything, and says a line of JSON for each case.
pub fn course(guest: &Guest) -> Result<()> {
    run("/sbin/modprobe", &[&guest.driver])?;
    bed::make_keys()?;
    run("/sbin/modprobe", &["-a", "ppp_generic", "pppoe"])?;
    let mut cases = case::of_card(guest.rxvlan, guest.mtu);
    if guest.stacks {
        cases.extend(case::of_stacks());
    }
    for case in cases {
        let name = format!("{} {} {}", case.device(), case.mode, case.mtu);
        let is_wanted = |word: &String| name.contains(word);
        if !guest.only.is_empty() && !guest.only.iter().any(is_wanted) {
            continue;
        }
        println!("case: {name}");
        let start = Instant::now();
        let mut seen = Seen::default();
        let (result, is_right) = match one(&case, &mut seen) {
            Ok(words) => (words, true),
            Err(error) => (format!("FAILS: {error:#}").replace('\n', " "), false),
        };
        let row = Row {
            card: guest.card.clone(),
            stack: case.device(),
            mtu: case.mtu,
            mode: case.mode.to_owned(),
            offloads: seen.offloads.join(", "),
            got: seen.got,
            result,
            is_right,
            seconds: start.elapsed().as_secs_f64(),
        };
        println!("\n{MARK}{}", serde_json::to_string(&row)?);
    }
    Ok(())
}

/// What a case shows by the way.
#[derive(Default)]
struct Seen {
    offloads: Vec<&'static str>,
    got: Option<(String, String)>,
    /// Seconds of the session's transfer.
    took: Option<f64>,
    /// Whether the gateway has warned that native XDP costs sessions something at first.
    warned: bool,
}

/// What happened, in words.
fn one(case: &Case, seen: &mut Seen) -> Result<String> {
    if case.mode == WITHOUT {
        return control(case, seen);
    }
    let (mut bed, names) = Bed::up(case)?;
    seen.offloads = ethtool::receive(&bed.router, "lan0")?;
    let told = carry(case, &mut bed, &names, seen);
    let slow = seen.took.filter(|took| *took > stall::QUICK);
    if seen.warned {
        return told.map(|words| format!("{words}; the log warns of it"));
    }
    if told.is_ok() && slow.is_none() {
        return told;
    }
    let tails = bed.daemons.iter().map(|daemon| daemon.tail(4).join(" / "));
    let tails: Vec<String> = tails.collect();
    bed.tell_counters();
    drop(bed);
    let mut alone = Seen::default();
    let without = control(case, &mut alone);
    let error = match (told, slow, alone.took) {
        (Ok(words), Some(took), Some(control)) => match stall::none(took, control) {
            Ok(()) => return Ok(words),
            Err(error) => error,
        },
        (Ok(_), Some(took), None) => {
            anyhow!("the session took {took:.1} s, and there is no control to compare it with")
        }
        (Ok(words), None, _) => return Ok(words),
        (Err(error), ..) => error,
    };
    let without = match without {
        Ok(_) => "without daemons a session passes".to_owned(),
        Err(error) => format!("without daemons no session passes either ({error:#})"),
    };
    Err(error.context(tails.join(" // ")).context(without))
}

/// A session by the same network without us: what fails there, too, is a fault of the card.
fn control(case: &Case, seen: &mut Seen) -> Result<String> {
    let (mut bed, Names([_, _, lan, _])) = Bed::up(case)?;
    seen.offloads = ethtool::receive(&bed.router, "lan0")?;
    let table = case.stack.table_of(1);
    let line = format!("-6 route replace {B}/128 via 2001:db8:20::11 dev {lan} table {table}");
    ip(&bed.router, &line)?;
    let service = visitor::serve("s1", &bed.member, bed.site.directory())?;
    bed.services.push(service);
    let mut visitor = Visitor::connect("client", &bed.client, bed.site.directory())?;
    let mut passed = || -> Result<String> {
        visitor.transfer(512, 512, SOON)?;
        if case.stalls {
            ensure!(
                visitor.transfer(SMALL, SMALL, SOON).is_err(),
                "{SMALL} octets pass: every mode can be tried with this MTU"
            );
            return Ok(format!(
                "512 octets pass, and {SMALL} do not in {:.0} s",
                wait::patience(SOON).as_secs_f64()
            ));
        }
        let refused = later::mtu(case, &bed)?;
        let refused = refused.map_or_else(String::new, |words| format!("; {words}"));
        let start = Instant::now();
        visitor.transfer(MIB, MIB, LONG)?;
        let seconds = start.elapsed().as_secs_f64();
        seen.took = Some(seconds);
        if case.later.is_some() {
            later::another(&bed)?.transfer(MIB, MIB, LONG)?;
        }
        Ok(format!("1 MiB each way by B in {seconds:.1} s{refused}"))
    };
    passed().inspect_err(|_| bed.tell_counters())
}

fn carry(case: &Case, bed: &mut Bed, names: &Names, seen: &mut Seen) -> Result<String> {
    let Names([up, _, lan, eth]) = names;
    let mode = case.mode;
    let up = case.stack.uplink.unwrap_or(up);
    let table = case.stack.table_of(1);
    let router = format!(
        "[router]\ninterfaces = [\"{lan}\"]\nmode = \"{mode}\"\ntable = {table}\n[router.timers]\n\
         query_response_interval = \"1s\"\n[[router.policy]]\nsource = \"fe80::/10\"\n\
         anycast = \"2001:db8:a::/48\"\naction = \"allow\"\n"
    );
    let member = format!(
        "[member]\ninterfaces = [\"{eth}\"]\nmode = \"{mode}\"\n[[member.group]]\nanycast = \"{B}\"\n\
         care_of = \"{C}\"\n"
    );
    let gateway = format!(
        "[correspondent]\ninterfaces = [\"clients0\", \"{up}\"]\nmode = \"{mode}\"\n\
         client_prefixes = [\"2001:db8:1::/64\"]\nallow = [\"2001:db8:a::/48\"]\n"
    );
    for (node, config) in [("router", router), ("member", member), ("gateway", gateway)] {
        if let Some(reason) = bed.start(node, &config)? {
            let is_blind = case.stack.uplink.is_some();
            ensure!(
                mode == "native" || mode == "generic" || is_blind,
                "{node} does not start: {reason}"
            );
            bed.is_foretold(node, &reason)?;
            return Ok(format!("refused: {}", short(&reason)));
        }
    }
    let gateway = bed.daemon("gateway")?;
    seen.got = Some(attached(gateway, up)?);
    seen.warned = mode == "native" && warns(gateway);
    let service = visitor::serve("s1", &bed.member, bed.site.directory())?;
    bed.services.push(service);
    wait::poll(SOON, AGAIN, "the router has the member", || {
        Ok((bed.daemon("router")?.list("members")?.len() == 1).then_some(()))
    })?;
    let mut visitor = Visitor::connect("client", &bed.client, bed.site.directory())?;
    if let Some(words) = case.stack.unbound {
        let start = Instant::now();
        visitor.transfer(MIB, MIB, LONG)?;
        seen.took = Some(start.elapsed().as_secs_f64());
        let gateway = bed.daemon("gateway")?;
        ensure!(gateway.list("bindings")?.is_empty(), "the client is bound");
        let said = gateway.tail(usize::MAX).concat();
        ensure!(
            said.contains(words),
            "nothing is said of that nobody is bound"
        );
        return Ok("1 MiB each way by B; the log says why nobody is bound".to_owned());
    }
    wait::poll(SOON, AGAIN, "the client is bound", || {
        Ok(bed.daemon("gateway")?.list("bindings")?.first().map(drop))
    })?;
    wait::poll(SOON, AGAIN, "the session is bound", || {
        visitor.transfer(512, 512, SOON)?;
        let flows = bed.daemon("gateway")?.list("flows")?;
        Ok(flows
            .iter()
            .any(|flow| flow["state"] == "bound")
            .then_some(()))
    })?;
    let counters = ["correspondent_to_care_of", "correspondent_from_care_of"];
    let count = |bed: &Bed| -> Result<Vec<u64>> {
        let daemon = bed.daemon("gateway")?;
        counters
            .iter()
            .map(|name| daemon.counter("data_plane", name))
            .collect()
    };
    let mut came = later::come(case, bed, names)?;
    seen.warned |= mode == "native" && warns(bed.daemon("gateway")?);
    let before = count(bed)?;
    let start = Instant::now();
    let event = visitor.transfer(MIB, MIB, LONG)?;
    let seconds = start.elapsed().as_secs_f64();
    seen.took = Some(seconds);
    if !Visitor::shows_anycast(&event, CLIENT) {
        bail!("the sockets show other addresses: {event}");
    }
    // Segments may be merged.
    let is_by_c = |before: &[u64], after: &[u64]| -> Result<()> {
        let mut pairs = after.iter().zip(before);
        let grown = pairs.all(|(after, before)| after - before > FEWEST);
        ensure!(grown, "not by C: {before:?} to {after:?}");
        Ok(())
    };
    let between = count(bed)?;
    is_by_c(&before, &between)?;
    visitor.tell("finish")?;
    visitor.event("finished", SOON)?;
    if let Some(came) = &mut came {
        // Its segments are as large as they may be now.
        let mut another = later::another(bed)?;
        let start = Instant::now();
        another.transfer(MIB, MIB, LONG).context("a new session")?;
        seen.took = Some(seconds.max(start.elapsed().as_secs_f64()));
        is_by_c(&between, &count(bed)?).context("a new session")?;
        another.tell("finish")?;
        another.event("finished", SOON)?;
        later::kept(came, bed, lan)?;
    }
    let moved = came.map_or_else(String::new, |came| came.told);
    let mut result = format!("1 MiB each way by C in {seconds:.1} s{moved}");
    if let Some(tag) = case.stack.tag {
        reports(bed, lan, tag)?;
        result += "; a Report with a tag makes no member";
    }
    Ok(result)
}

/// Whether a daemon has warned that native XDP costs sessions something at first.
fn warns(daemon: &Daemon) -> bool {
    let said = daemon.tail(usize::MAX).concat();
    said.contains("drops large frames of")
}

/// A Report that has a VLAN's tag makes no member on the card; without the tag it does.
fn reports(bed: &Bed, lan: &str, tag: u16) -> Result<()> {
    let sender = Sender::open(&bed.member, "eth0")?;
    let host = |last| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last);
    let report = |last: u16| {
        let [_, mac] = last.to_be_bytes();
        forge::mld(REPORT, host(last), [2, 0, 0, 0, 0, mac], B)
    };
    let mut tagged = report(0x71);
    tagged.splice(12..12, [[0x81, 0x00], tag.to_be_bytes()].concat());
    for _ in 0..3 {
        ensure!(sender.send(&tagged)?, "the queue of the link is full");
    }
    ensure!(sender.send(&report(0x72))?, "the queue of the link is full");
    let router = bed.daemon("router")?;
    let is_member = |last| -> Result<bool> {
        let (members, address) = (router.list("members")?, host(last).to_string());
        Ok(members
            .iter()
            .any(|member| member["member"] == address.as_str() && member["interface"] == lan))
    };
    wait::poll(SOON, AGAIN, "a Report without a tag makes a member", || {
        Ok(is_member(0x72)?.then_some(()))
    })?;
    ensure!(!is_member(0x71)?, "a Report of VLAN {tag} made a member");
    Ok(())
}

/// The last line of a daemon that does not start, without what stands before the reason.
fn short(line: &str) -> &str {
    line.trim().trim_start_matches("anycast-ctl: ")
}
