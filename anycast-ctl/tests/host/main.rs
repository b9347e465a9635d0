//! The member host: health, addresses, Queries and Neighbor Solicitations, on a real link.

mod left;
mod own;
mod pairing;
mod reload;
mod site;

use std::{
    fs,
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    process::ExitCode,
    time::Duration,
};

use anycast_common::wire::{ipv6, mld as wire};
use anycast_ctl::shell::sockets::Sender;
use anyhow::{Result, ensure};
use xtask::{
    kernel_tests::Suite,
    net::{
        capture::{self, Ledger},
        netlink,
        packet::{Neighbor, Upper, mld, neighbor},
    },
};

use site::{B, Lan, ROUTER, SOON, care_of, group, has, link_local, listens, mac, until};

fn main() -> ExitCode {
    let suite = pairing::tests(Suite::new());
    let suite = left::tests(reload::tests(suite));
    suite
        .test("the route follows the health of the service", health)
        .test("addresses come, outlive a crash, and go", addresses)
        .test(
            "routers are told before anything is taken down",
            leaves_first,
        )
        .test(
            "an on-link router finds a member that does not override",
            on_link,
        )
        .test("the Queries of an MLDv2 querier are answered", queries)
        .test("connections of the host's own by C go on", own::connections)
        .test("what cannot be sent is logged with where to", own::nowhere)
        .test(
            "a C that the host may choose as a source is warned of",
            own::preferred,
        )
        .test("a C that another host has is told of", own::duplicate)
        .run()
}

/// When a Done of s1 was seen, from a time on.
fn done(ledger: &Ledger, since: u64) -> Option<u64> {
    let mut messages = ledger.messages(since, |packet| {
        packet.source == link_local(0x11) && packet.upper == Upper::Mld(mld::DONE, B)
    });
    messages.next().map(|message| message.time)
}

fn health() -> Result<()> {
    let lan = Lan::up()?;
    let well = lan.site.directory().join("well");
    let _router = lan.router("best")?;
    let check = format!(
        "health = {{ type = \"command\", command = [\"sh\", \"-c\", \"echo looking; test -e {}\"], \
         interval = \"100ms\", timeout = \"100ms\", rise = 2, fall = 2 }}",
        well.display()
    );
    let member = lan.member(0, &check)?;
    until("the service is found to be ill", || {
        Ok(group(&member)?["health"]["state"] == "unhealthy")
    })?;
    let ill = group(&member)?;
    ensure!(ill["joined"] == false && ill["wanted"] == true, "{ill}");
    ensure!(ill["health"]["last_error"] == "status 1: looking", "{ill}");
    ensure!(
        lan.routes.to(B, 128).is_empty(),
        "a route to a service that is ill"
    );

    for round in 0..2 {
        fs::write(&well, "")?;
        lan.routed(true)?;
        let text = member.tell(&["groups"])?;
        ensure!(
            text.contains("joined") && text.contains("healthy"),
            "{text}"
        );
        let since = capture::now();
        fs::remove_file(&well)?;
        let what = format!("the Done of round {round}");
        lan.captures[0]
            .ledger()
            .wait(SOON, &what, |ledger| done(ledger, since))?;
        lan.routed(false)?;
        let text = member.tell(&["status"])?;
        ensure!(
            text.contains("waiting for health") && text.contains("fails: status 1: looking"),
            "{text}"
        );
    }
    ensure!(
        member.counter("controller", "health_check_failed")? >= 4,
        "not counted"
    );
    Ok(())
}

fn addresses() -> Result<()> {
    let lan = Lan::up()?;
    let [host, _] = &lan.members;
    let other = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x99);
    netlink::address(host, "lo", other, 128)?;
    let c = care_of(1);
    let config = format!(
        "care_of = \"{c}\"\nassign = true\n[[member.group]]\nanycast = \"{other}\"\nassign = true"
    );
    let both = || Ok(has(host, "lo", B)? && has(host, "eth0", c)?);
    let none = || Ok(!has(host, "lo", B)? && !has(host, "eth0", c)?);
    let mut member = lan.member(0, &config)?;
    until("B and C are there", both)?;
    ensure!(
        own::is_deprecated(host, B)? && own::is_deprecated(host, c)?,
        "the host may choose them as sources"
    );
    until("the host listens for B", || {
        listens(host, ipv6::solicited_node(B))
    })?;
    member.tell(&["leave", &B.to_string()])?;
    until("it listens no more", || {
        Ok(!listens(host, ipv6::solicited_node(B))?)
    })?;
    ensure!(both()?, "sessions need them still");

    member.kill()?;
    ensure!(both()?, "a crash cleans nothing up");
    let mut member = lan.member(0, &config)?;
    ensure!(both()?, "they are adopted");
    ensure!(member.end()?.success(), "{:?}", member.tail(5));
    ensure!(none()?, "they go with the daemon that adopted them");
    ensure!(has(host, "lo", other)?, "not ours, and removed");

    // After a crash, with another configuration.
    let mut member = lan.member(0, &config)?;
    until("B and C are there again", both)?;
    member.kill()?;
    let _member = lan.member(0, "")?;
    until("what a crash left and nothing wants goes", none)?;
    ensure!(has(host, "lo", other)?, "not ours, and removed");
    Ok(())
}

/// How many further groups make the removal of their addresses last: whoever removes them first has
/// most of them still to remove when the first is missed.
const MANY: u16 = 100;

fn leaves_first() -> Result<()> {
    let lan = Lan::up()?;
    let [host, _] = &lan.members;
    let mut config = String::from("assign = true\n");
    for number in 1..=MANY {
        let group = format!("2001:db8:a::1:{number:x}");
        config += &format!("[[member.group]]\nanycast = \"{group}\"\nassign = true\n");
    }
    let mut member = lan.member(0, &config)?;
    let there = || host.run(|| Ok(assigned()? > MANY));
    until("every address is there", there)?;
    let since = capture::now();
    let gone = std::thread::scope(|scope| -> Result<u64> {
        let watching = scope.spawn(|| {
            host.run(|| {
                while assigned()? > MANY {}
                Ok(capture::now())
            })
        });
        ensure!(member.end()?.success(), "{:?}", member.tail(5));
        let gone = watching.join();
        gone.map_err(|_| anyhow::anyhow!("the watching thread panicked"))?
    })?;
    let all = usize::from(MANY) + 1;
    let last = lan.captures[0]
        .ledger()
        .wait(SOON, "every Done", |ledger| {
            let dones = ledger.messages(since, |packet| {
                matches!(packet.upper, Upper::Mld(mld::DONE, _))
            });
            let times: Vec<u64> = dones.map(|message| message.time).collect();
            times.last().copied().filter(|_| times.len() == all)
        })?;
    ensure!(
        last < gone,
        "the last Done at {last}, the first address gone at {gone}"
    );
    until("all addresses go", || host.run(|| Ok(assigned()? == 0)))
}

/// How many addresses of the anycast prefix this namespace has.
fn assigned() -> Result<u16> {
    let table = fs::read_to_string("/proc/thread-self/net/if_inet6")?;
    let ours = table
        .lines()
        .filter(|line| line.starts_with("20010db8000a"));
    Ok(u16::try_from(ours.count())?)
}

fn on_link() -> Result<()> {
    let lan = Lan::up()?;
    let _router = lan.router("on-link")?;
    let mut members = Vec::new();
    let mut services = Vec::new();
    for (index, host) in lan.members.iter().enumerate() {
        members.push(lan.member(index, "assign = true")?);
        services.push(host.run(|| Ok(TcpListener::bind((B, 7777))?))?);
    }
    lan.routed(true)?;
    until("both are members", || {
        let joined = members
            .iter()
            .map(|member| Ok(group(member)?["joined"] == true));
        Ok(joined
            .collect::<Result<Vec<_>>>()?
            .iter()
            .all(|joined| *joined))
    })?;
    let since = capture::now();
    let stream = lan.router.run(|| {
        Ok(TcpStream::connect_timeout(
            &SocketAddr::from((B, 7777)),
            SOON,
        )?)
    })?;
    ensure!(stream.peer_addr()?.ip() == B, "{stream:?}");
    for (capture, host) in lan.captures.iter().zip([0x11, 0x12]) {
        let what = format!(
            "{} answers the router's Neighbor Solicitation",
            capture.name()
        );
        let answer = capture.ledger().wait(SOON, &what, |ledger| {
            ledger
                .neighbors
                .iter()
                .find_map(|message| match message.packet.upper {
                    Upper::Neighbor(answer) => (message.time >= since
                        && answer.kind == neighbor::ADVERTISEMENT
                        && answer.target == B
                        && message.packet.source == link_local(host))
                    .then(|| (answer, message.packet.clone())),
                    _ => None,
                })
        })?;
        let expected = Neighbor {
            kind: neighbor::ADVERTISEMENT,
            flags: 0x40,
            target: B,
            mac: Some(mac(host)),
        };
        ensure!(answer.0 == expected, "S alone: {answer:?}");
        ensure!(
            answer.1.hop_limit == 255 && answer.1.intact == Some(true),
            "{answer:?}"
        );
    }
    // However an Advertisement for B came about, none may claim it.
    for capture in &lan.captures {
        let claims = capture.ledger().read(|ledger| {
            let claims = ledger.neighbors.iter().filter(|message| {
                matches!(message.packet.upper, Upper::Neighbor(Neighbor { kind: 136, flags, target: B, .. }) if flags & 0x20 != 0)
            });
            claims.count()
        });
        ensure!(
            claims == 0,
            "{}: {claims} overriding Advertisements",
            capture.name()
        );
    }
    // Who does not serve does not answer.
    let silent = members[0].counter("controller", "neighbor_advertisement_sent")?;
    members[0].tell(&["drain", &B.to_string()])?;
    let packet = solicitation();
    lan.router.run(|| {
        let index = nix::net::if_::if_nametoindex("eth0")?;
        Ok(Sender::new()?.send(Some(index), &packet)?)
    })?;
    until("the other answers again", || {
        Ok(members[1].counter("controller", "neighbor_advertisement_sent")? >= 2)
    })?;
    let now = members[0].counter("controller", "neighbor_advertisement_sent")?;
    ensure!(
        now == silent,
        "{silent} answers before the drain, {now} after it"
    );
    Ok(())
}

/// A Neighbor Solicitation for B by the router.
fn solicitation() -> Vec<u8> {
    let group = ipv6::solicited_node(B);
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(B.octets());
    let sum =
        anycast_common::wire::checksum::transport(&ROUTER.octets(), &group.octets(), 58, &message);
    message[2..4].copy_from_slice(&sum.to_ne_bytes());
    let mut packet = vec![0; ipv6::HEADER_LEN];
    ipv6::header(&mut packet, ROUTER, group, 58, 255, message.len()).expect("it fits");
    packet.extend(message);
    packet
}

fn queries() -> Result<()> {
    let lan = Lan::up()?;
    let member = lan.member(0, "assign = true")?;
    until("nothing is owed any more", || {
        Ok(group(&member)?["interfaces"][0]["state"] == "idle_listener")
    })?;
    let version = wire::Version::V2 {
        suppress: false,
        robustness: 2,
        interval: Duration::from_secs(125),
    };
    let any = Ipv6Addr::UNSPECIFIED;
    let second = Duration::from_secs(1);
    // The floating-point code begins at 32768 ms; the random delay of at most that long is cut
    // short by the next Query.
    let rows = [
        ("a General Query", any, ipv6::ALL_NODES, second, true),
        (
            "an Address-Specific Query",
            B,
            ipv6::solicited_node(B),
            Duration::ZERO,
            true,
        ),
        (
            "a General Query with a floating-point code",
            any,
            ipv6::ALL_NODES,
            Duration::from_secs(40),
            false,
        ),
        (
            "one that leaves less time",
            B,
            ipv6::solicited_node(B),
            Duration::ZERO,
            true,
        ),
    ];
    for (name, address, destination, max_response_delay, answered) in rows {
        let query = wire::Message::Query(wire::Query {
            max_response_delay,
            address,
            version,
        });
        let mut packet = vec![0; wire::V2_PACKET_LEN];
        query.emit(ROUTER, destination, &mut packet)?;
        let since = capture::now();
        lan.router.run(|| {
            let index = nix::net::if_::if_nametoindex("eth0")?;
            Ok(Sender::new()?.send(Some(index), &packet)?)
        })?;
        if !answered {
            until("the answer is owed", || {
                Ok(group(&member)?["interfaces"][0]["state"] == "delaying_listener")
            })?;
            continue;
        }
        let answer = lan.captures[0].ledger().wait(SOON, name, |ledger| {
            let mut reports = ledger.messages(since, |packet| {
                packet.source == link_local(0x11) && packet.upper == Upper::Mld(mld::REPORT, B)
            });
            reports.next().cloned()
        })?;
        let known = group(&member)?["interfaces"][0].clone();
        let said = (
            known["last_query_from"].as_str(),
            known["last_query_seconds"].as_f64(),
        );
        ensure!(
            said.0 == Some(&*ROUTER.to_string()) && said.1.is_some_and(|age| age < 60.0),
            "{name}: {known}"
        );
        let late = Duration::from_nanos(answer.time - since);
        ensure!(
            late < max_response_delay + second,
            "{name}: answered after {late:?}"
        );
        let packet = &answer.packet;
        ensure!(
            packet.destination == ipv6::ALL_ROUTERS && packet.hop_limit == 1,
            "{packet:?}"
        );
    }
    Ok(())
}
