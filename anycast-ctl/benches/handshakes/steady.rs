//! A million bound clients in steady state: a member's Binding Updates come evenly to a gateway's daemon by its link,
//! as many a second as renew all bindings before they expire. Each client has an open flow, whose packets make a member
//! renew the binding, and one that is bound, which the member answers.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anycast_ctl::{
    core::{
        Actions, Time,
        controller::{Controller, Input},
        fleet::{Secret, Settings},
    },
    shell::api::{Request, client::ask},
};
use anyhow::{Context as _, Result, ensure};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use serde_json::Value;
use xtask::net::{Pass, Sender, Site, netlink};

use super::{
    common::{median, sample},
    core::{correspondent, member, packets, step},
    ends::{B, C, CLIENTS, client},
    path::{Node, PORT, cables, datagram, frame},
    report,
};

const COUNT: usize = 1_000_000;
/// The first of them binds, the others renew.
const ROUNDS: u32 = 3;
/// Of a round; a binding lives for 16 s.
const ROUND: Duration = Duration::from_secs(15);
/// A member renews a binding when a client sends in its last four seconds.
const RENEWED: Duration = Duration::from_secs(13);
const STEP: Duration = Duration::from_millis(2);
/// Between two questions to the daemon, which it answers between two packets.
const ASKED: Duration = Duration::from_millis(3);
/// Port of the clients' flows that are bound.
const BOUND: u16 = PORT + 1;
const SECRET: &[u8; 32] = b"a secret of a fleet that is none";
/// Of the daemon, and of all others.
const CPUS: [usize; 2] = [0, 1];
/// Milliseconds that the daemon may not answer for.
const PAUSE: f64 = 10.0;
/// Octets that the maps with room for a million bindings and four million flows may have.
const MAPS: f64 = 0.7e9;

pub fn run() -> Result<()> {
    xtask::net::bpffs::private()?;
    println!(
        "steady: {COUNT} clients of a gateway's daemon on one CPU, whose bindings a member renews once in {ROUND:?}; \
         it sends on the other"
    );
    let rounds = updates()?;
    let site = Site::claim("acs")?;
    let [clients, gateway_side, member_side] = [
        site.namespace("c")?,
        site.namespace("g")?,
        site.namespace("m")?,
    ];
    cables(&clients, &gateway_side, &member_side)?;
    let macs = [
        netlink::mac(&gateway_side, "up0")?,
        netlink::mac(&member_side, "eth0")?,
    ];
    // Acknowledgements reach the link, and no kernel that does not know what they are.
    for address in [format!("{C}/64 dev eth0"), format!("{B}/128 dev lo")] {
        let mut ip = member_side.command("ip");
        let done = ip
            .args(["-6", "address", "del"])
            .args(address.split(' '))
            .status()?;
        ensure!(done.success(), "{done}");
    }
    netlink::neighbour(&gateway_side, "up0", C, macs[1])?;
    let _pass = Pass::attach(&clients, "eth0")?;
    let gateway = Node::start(
        "g",
        &gateway_side,
        &config(site.directory())?,
        site.directory(),
    )?;
    pin(Pid::from_raw(i32::try_from(gateway.process)?), CPUS[0])?;
    pin(Pid::from_raw(0), CPUS[1])?;
    let senders = [
        Sender::open(&clients, "eth0")?,
        Sender::open(&member_side, "eth0")?,
    ];
    let header = [&macs[0][..], &macs[1], &[0x86, 0xdd]].concat();
    let (mut pauses, mut renewed) = (Vec::new(), f64::MAX);
    for (round, updates) in rounds.into_iter().enumerate() {
        let (before, accepted) = (
            gateway.busy()?,
            gateway.controller("binding_update_accepted")?,
        );
        let is_over = AtomicBool::new(false);
        let (took, asked) = thread::scope(|scope| -> Result<_> {
            let asks = scope.spawn(|| asks(&gateway, &is_over));
            let start = Instant::now();
            // The flow that a client has before it is bound goes by B, and the one that it opens then by C.
            let sent = send(&senders, &header, round > 0, updates);
            let took = start.elapsed();
            is_over.store(true, Ordering::Relaxed);
            let asked = asks.join().unwrap()?;
            ensure!(sent? == COUNT, "the link did not take all");
            Ok((took, asked))
        })?;
        let busy = gateway.busy()? - before;
        let accepted = gateway.controller("binding_update_accepted")? - accepted;
        let longest = asked.last().copied().context("it was asked")?;
        let late = asked[asked.len() * 999 / 1000];
        println!(
            "  round {round}: {accepted} of {COUNT} accepted in {took:.2?}, {:.0} % of a core; an answer takes {:.2} ms, \
             one of a thousand {late:.2}, the longest {longest:.2} ({} asked)",
            busy / took.as_secs_f64() * 100.0,
            median(asked.clone()),
            asked.len()
        );
        let status: Value = ask(&gateway.socket, &Request::Status)?;
        let flows = status["summary"]["flows"].as_u64().context("flows")?;
        println!("    {flows} flows are bound");
        ensure!(
            round == 0 || flows > COUNT as u64 * 99 / 100,
            "{flows} flows"
        );
        if accepted < COUNT {
            println!("    by then: {}", counted(&gateway)?);
        }
        if round > 0 {
            pauses.push(longest / PAUSE);
            renewed = renewed.min(accepted as f64 / COUNT as f64);
        }
    }
    report::note("bindings renewed in steady state", vec![renewed]);
    report::note("longest pause in steady state", pauses);
    let (own, maps) = memory(gateway.process)?;
    println!(
        "  memory: {:.2} GB of the daemon, {:.2} GB of its maps",
        own / 1e9,
        maps / 1e9
    );
    report::note("maps of a million bindings", vec![maps / MAPS]);
    Ok(())
}

/// The rates are unlimited: all come by one member, from one prefix.
fn config(directory: &Path) -> Result<String> {
    let secret = directory.join("secret");
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&secret)?;
    file.write_all(SECRET)?;
    let (secret, room) = (secret.display(), COUNT.next_power_of_two());
    Ok(format!(
        "[correspondent]\ninterfaces = [\"clients0\", \"up0\"]\nclient_prefixes = [\"{CLIENTS}\"]\n\
         allow = [\"{B}/128\"]\nmax_bindings = {COUNT}\nmax_bindings_per_prefix = {COUNT}\n\
         max_bindings_per_member = {COUNT}\n[correspondent.limits]\nprefix_rate = 4000000\nrate = 4000000\n\
         [correspondent.fleet]\nsecret = \"{secret}\"\n[data_plane]\nbindings = {room}\nflows = {}\n",
        4 * room
    ))
}

/// What a member sends in each round, by tests of a gateway with the same secret: that of the daemon is not asked for
/// them, since its programs answer them.
fn updates() -> Result<Vec<Vec<Vec<u8>>>> {
    let mut now = Time::ZERO + Duration::from_secs(3600);
    let mut unix = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let fleet = Settings {
        secret: Secret::new(SECRET).context("a secret")?,
        previous: None,
        name: None,
    };
    let mut gateway = correspondent(now, COUNT, Some(fleet));
    let mut member = member(COUNT);
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        gateway.clock(now, unix);
        for end in [&mut gateway, &mut member] {
            end.poll(now, &mut Actions::new());
        }
        let updates = of_round(&mut gateway, &mut member, now);
        ensure!(updates.len() == COUNT, "{} updates", updates.len());
        rounds.push(updates);
        now += RENEWED;
        unix += RENEWED;
    }
    Ok(rounds)
}

fn of_round(gateway: &mut Controller, member: &mut Controller, now: Time) -> Vec<Vec<u8>> {
    let mut inits = Actions::new();
    for number in 0..COUNT {
        let (client, anycast) = (client(number), B);
        member.handle(now, Input::NewClient { client, anycast }, &mut inits);
    }
    let (tests, _) = step(gateway, now, &packets(inits));
    let (updates, _) = step(member, now, &packets(tests));
    let updates = packets(updates);
    let (acks, _) = step(gateway, now, &updates);
    step(member, now, &packets(acks));
    updates
}

/// Sends all of them evenly, each behind a packet of its client's open flow: what comes for clients that do not send is
/// limited. And where the client is bound, a packet of another flow and the answer to it.
fn send(
    [clients, member]: &[Sender; 2],
    header: &[u8],
    is_bound: bool,
    updates: Vec<Vec<u8>>,
) -> Result<usize> {
    let steps = usize::try_from(ROUND.as_millis() / STEP.as_millis())?;
    let (mut due, mut sent, mut number) = (Instant::now(), 0, 0);
    for updates in updates.chunks(COUNT.div_ceil(steps)) {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        due += STEP;
        let numbers = number..number + updates.len();
        number = numbers.end;
        let packets = |port| {
            numbers
                .clone()
                .map(move |number| frame(client(number), port))
        };
        clients.send_all(&packets(PORT).collect::<Vec<_>>())?;
        if is_bound {
            clients.send_all(&packets(BOUND).collect::<Vec<_>>())?;
            let answers = numbers.map(|number| datagram([C, client(number)], [PORT, BOUND]));
            let answers = answers.map(|answer| [header, &answer].concat());
            member.send_all(&answers.collect::<Vec<_>>())?;
        }
        let frames = updates.iter().map(|update| [header, update].concat());
        sent += member.send_all(&frames.collect::<Vec<_>>())?;
    }
    Ok(sent)
}

/// How many milliseconds each answer of the daemon took, in order.
fn asks(gateway: &Node, is_over: &AtomicBool) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let start = Instant::now();
        let _: Value = ask(&gateway.socket, &Request::Groups { after: None })?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        thread::sleep(ASKED);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// What the programs and the daemon counted, for whoever asks why.
fn counted(gateway: &Node) -> Result<String> {
    let (counters, _) = sample(&gateway.socket, gateway.process)?;
    let of_one = |(name, count): (&String, &u64)| (*count > 0).then(|| format!("{name} {count}"));
    let all = counters.data_plane.iter().chain(&counters.controller);
    Ok(all.filter_map(of_one).collect::<Vec<_>>().join(" "))
}

fn pin(process: Pid, cpu: usize) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu)?;
    Ok(sched_setaffinity(process, &cpus)?)
}

/// Octets of a process by itself, without what it sees of its maps, and of the maps that it holds.
fn memory(process: u32) -> Result<(f64, f64)> {
    let number = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok())
    };
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let own = number(&status, "RssAnon:").context("RssAnon")? * 1024.0;
    let mut maps = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{process}/fdinfo"))? {
        let Ok(text) = fs::read_to_string(entry?.path()) else {
            continue;
        };
        let id = text.lines().find(|line| line.starts_with("map_id:"));
        if let (Some(id), Some(octets)) = (id, number(&text, "memlock:")) {
            maps.insert(id.to_owned(), octets);
        }
    }
    Ok((own, maps.values().sum()))
}
