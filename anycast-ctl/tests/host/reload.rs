//! What a running member and a running router take of a file that is read again, and what they name.

use std::{
    fs,
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use anycast_common::{
    abi::maps::{self, LocalAnycast, LocalCareOf},
    wire::{ipv6, mld},
};
use anycast_ctl::shell::sockets::Sender;
use anyhow::{Result, ensure};
use xtask::{
    kernel_tests::Suite,
    lab::node::Daemon,
    net::{
        Pass, capture, netlink,
        netlink::End,
        packet::{Upper, mld as seen},
        wait,
    },
};

use zerocopy::FromBytes as _;

use super::site::{
    ASK_AGAIN, B, GONE, Lan, SOON, care_of, group, has, link_local, listens, member_text,
    router_text, until,
};

/// Another anycast address.
const B2: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x54);

pub fn tests(suite: Suite) -> Suite {
    suite
        .test("a member reads its file again", member)
        .test("groups come and go with a reload", groups)
        .test("a reload that the kernel refuses changes nothing", kept)
        .test("links of a router come and go with a reload", links)
        .test("limits of a router change with a reload", limits)
}

fn with_check(program: &str) -> String {
    member_text(&format!(
        "health = {{ type = \"command\", command = [\"{program}\"], interval = \"100ms\", timeout = \"100ms\" }}"
    ))
}

/// Why a reload was refused.
fn refused(daemon: &Daemon) -> Result<String> {
    let refused = daemon.tell(&["reload"]).err();
    refused
        .map(|error| format!("{error:#}"))
        .ok_or_else(|| anyhow::anyhow!("it was taken"))
}

fn member() -> Result<()> {
    let lan = Lan::up()?;
    let file = lan.site.directory().join("s1.toml");
    let member = lan.node("s1", &lan.members[0], &with_check("/bin/false"))?;
    until("the service is found to be ill", || {
        Ok(group(&member)?["health"]["state"] == "unhealthy")
    })?;
    fs::write(&file, with_check("/bin/true"))?;
    let said = member.tell(&["reload"])?;
    ensure!(said.trim() == "reloaded", "{said}");
    until("the other check passes", || {
        Ok(group(&member)?["joined"] == true)
    })?;

    // A member stays one until a check that is new has said otherwise, and when there is none any more.
    for text in [member_text(""), with_check("/bin/true"), member_text("")] {
        fs::write(&file, text)?;
        member.tell(&["reload"])?;
        ensure!(group(&member)?["joined"] == true, "{}", group(&member)?);
    }
    ensure!(
        lan.captures[0].ledger().read(|ledger| {
            let dones = ledger.messages(0, |packet| packet.upper == Upper::Mld(seen::DONE, B));
            dones.count() == 0
        }),
        "a Done was sent"
    );

    fs::write(&file, with_check("/bin/true"))?;
    member.tell(&["reload"])?;
    let more = with_check("/bin/true").replace("[member]", "[member]\nmode = \"tcx\"")
        + "[data_plane]\nclients = 2048\n";
    for _ in 0..2 {
        fs::write(&file, &more)?;
        let said = member.tell(&["reload"])?;
        let expected = "reloaded; needs a restart: member.mode, data_plane";
        ensure!(said.trim() == expected, "{said}");
    }

    // A wrong file changes nothing, though what is right in it could be taken.
    fs::write(&file, with_check("/bin/false") + "anycaste = \"\"\n")?;
    let reason = refused(&member)?;
    ensure!(reason.contains("did you mean `anycast`?"), "{reason}");
    let passed = || member.counter("controller", "health_check_passed");
    let before = passed()?;
    until("the check passes as before", || Ok(passed()? > before + 3))?;
    ensure!(group(&member)?["joined"] == true, "{}", group(&member)?);
    Ok(())
}

fn groups() -> Result<()> {
    let lan = Lan::up()?;
    let [host, _] = &lan.members;
    let _router = lan.router("best")?;
    let file = lan.site.directory().join("s1.toml");
    let (c, c2) = (care_of(1), care_of(2));
    let one = format!("care_of = \"{c}\"\nassign = true");
    let another =
        format!("{one}\n[[member.group]]\nanycast = \"{B2}\"\ncare_of = \"{c2}\"\nassign = true");
    let member = lan.node("s1", host, &member_text(&one))?;
    lan.routed(true)?;
    let others = || anyhow::Ok(has(host, "lo", B2)? && has(host, "eth0", c2)?);
    let none = || anyhow::Ok(!has(host, "lo", B2)? && !has(host, "eth0", c2)?);
    ensure!(none()?, "there before it was asked for");
    let begin = capture::now();
    for round in 0..2 {
        fs::write(&file, member_text(&another))?;
        let said = member.tell(&["reload"])?;
        ensure!(said.trim() == "reloaded", "{said}");
        ensure!(others()?, "B and C of the new group are not there");
        lan.routes
            .wait(SOON, "a route to the new group", (B2, 128), |routes| {
                (!routes.is_empty()).then_some(())
            })?;
        until("the host listens for it", || {
            listens(host, ipv6::solicited_node(B2))
        })?;
        let known = member.map_entry("LOCAL_CARE_OF", &c2.octets())?;
        ensure!(known.is_some(), "the programs do not know C");

        // C cannot stand for another group while sessions may use it.
        let swapped = another.replace(&c.to_string(), "2001:db8:20::c3");
        let swapped = swapped.replace(&c2.to_string(), &c.to_string());
        fs::write(&file, member_text(&swapped))?;
        let reason = refused(&member)?;
        ensure!(reason.contains("it takes a restart"), "{reason}");
        ensure!(others()?, "it changed something");

        fs::write(&file, member_text(&one))?;
        let since = capture::now();
        member.tell(&["reload"])?;
        lan.captures[0].ledger().wait(SOON, "the Done", |ledger| {
            let mut dones = ledger.messages(since, |packet| {
                packet.source == link_local(0x11) && packet.upper == Upper::Mld(seen::DONE, B2)
            });
            dones.next().map(drop)
        })?;
        lan.routes
            .wait(SOON, "no route to the group", (B2, 128), |routes| {
                routes.is_empty().then_some(())
            })?;
        ensure!(others()?, "gone before the route was");
        let listed = member.ask("groups")?["member"].as_array().map(Vec::len);
        ensure!(listed == Some(1), "{listed:?} groups");
        if round == 0 {
            // It comes back before it has gone.
            continue;
        }
        wait::poll(GONE, ASK_AGAIN, "B and C of the group go", || {
            Ok(none()?.then_some(()))
        })?;
        until("the programs forget C", || {
            Ok(member.map_entry("LOCAL_CARE_OF", &c2.octets())?.is_none())
        })?;
    }
    ensure!(
        has(host, "lo", B)? && has(host, "eth0", c)?,
        "the other went too"
    );
    let left = lan.captures[0].ledger().read(|ledger| {
        let dones = ledger.messages(begin, |packet| packet.upper == Upper::Mld(seen::DONE, B));
        dones.count()
    });
    ensure!(left == 0, "the other group was left");
    Ok(())
}

/// The map of care-of addresses has no room for all that a file names.
fn kept() -> Result<()> {
    let lan = Lan::up()?;
    let file = lan.site.directory().join("s1.toml");
    let group = |number: u16| {
        let anycast = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x52 + number);
        let text = format!(
            "[[member.group]]\nanycast = \"{anycast}\"\ncare_of = \"{}\"\n",
            care_of(number)
        );
        (anycast, care_of(number), text)
    };
    let [one, goes, fits, too_many] = [1, 2, 3, 4].map(group);
    let text = |groups: &[&(Ipv6Addr, Ipv6Addr, String)]| {
        let groups: String = groups.iter().map(|(_, _, text)| text.as_str()).collect();
        format!("[member]\ninterfaces = [\"eth0\"]\n{groups}")
    };
    let member = lan.node("s1", &lan.members[0], &text(&[&one, &goes]))?;
    // Behind that stands where its packets are counted.
    let reported = |b: Ipv6Addr| {
        let value = member.map_entry("LOCAL_ANYCAST", &b.octets())?;
        let value = value.and_then(|value| LocalAnycast::read_from_bytes(&value).ok());
        anyhow::Ok(value.map(|value| value.report_clients))
    };
    let known = |c: Ipv6Addr| anyhow::Ok(member.map_entry("LOCAL_CARE_OF", &c.octets())?.is_some());
    let joined = Some(1);
    until("new clients of B are reported", || {
        Ok(reported(one.0)? == joined)
    })?;
    fs::write(&file, text(&[&one]))?;
    member.tell(&["reload"])?;

    // There is room for one more, beside what is there and what sessions may still use.
    let strangers = (3..maps::LOCAL_GROUPS).map(|number| {
        let c = Ipv6Addr::from_bits(0x2001_0db8_ffff << 80 | u128::from(number));
        (c.octets().to_vec(), vec![0; size_of::<LocalCareOf>()])
    });
    member.fill_map("LOCAL_CARE_OF", strangers)?;
    fs::write(&file, text(&[&goes, &fits, &too_many]))?;
    let reason = refused(&member)?;
    ensure!(reason.contains("LOCAL_CARE_OF"), "{reason}");
    for (b, c, stays) in [
        (one.0, one.1, true),
        (goes.0, goes.1, true),
        (fits.0, fits.1, false),
        (too_many.0, too_many.1, false),
    ] {
        ensure!(known(c)? == stays, "{c} of {b}: known {}", !stays);
        ensure!(reported(b)?.is_some() == stays, "{b}: known {}", !stays);
    }
    ensure!(
        reported(one.0)? == joined,
        "its new clients are reported no more"
    );
    let listed = member.ask("groups")?["member"].as_array().map(Vec::len);
    ensure!(listed == Some(1), "{listed:?} groups");
    Ok(())
}

/// A member may take the Query Response Interval of a General Query, ten seconds, to answer (RFC 2710 section 7.3).
const ANSWERED: Duration = Duration::from_secs(20);

/// The links of a router, as `status` shows them.
fn links_of(router: &Daemon) -> Result<Vec<String>> {
    let status = router.ask("status")?;
    let interfaces = status["interfaces"].as_array().cloned().unwrap_or_default();
    let attached = interfaces.iter().filter(|link| !link["program"].is_null());
    Ok(attached
        .filter_map(|link| link["name"].as_str().map(str::to_owned))
        .collect())
}

fn links() -> Result<()> {
    let lan = Lan::up()?;
    let file = lan.site.directory().join("router.toml");
    let router = lan.router("best")?;
    let _member = lan.member(0, "")?;
    lan.routed(true)?;
    let begin = Instant::now();
    // Another link, with a member of another group on it.
    let (near, far) = (
        End::new(&lan.router, "eth1"),
        End::new(&lan.members[1], "eth1"),
    );
    netlink::veth(near, far)?;
    netlink::connect(near, far)?;
    netlink::address(&lan.router, "eth1", link_local(2), 64)?;
    netlink::address(&lan.members[1], "eth1", link_local(0x22), 64)?;
    let other = member_text("").replace(&B.to_string(), &B2.to_string());
    let _other = lan.node("s2", &lan.members[1], &other.replace("eth0", "eth1"))?;
    // And one that a program of somebody else has.
    let ends = ["eth2", "eth3"].map(|name| End::new(&lan.router, name));
    netlink::veth(ends[0], ends[1])?;
    let _foreign = Pass::attach(&lan.router, "eth3")?;
    let routed = |wanted: bool| {
        lan.routes.wait(
            ANSWERED,
            "the route of the other link",
            (B2, 128),
            |routes| (routes.is_empty() != wanted).then_some(()),
        )
    };
    for _ in 0..2 {
        ensure!(links_of(&router)? == ["eth0"], "{:?}", links_of(&router)?);
        let both = router_text("best").replace("[\"eth0\"]", "[\"eth0\", \"eth1\"]");
        fs::write(&file, &both)?;
        let said = router.tell(&["reload"])?;
        ensure!(said.trim() == "reloaded: 1 policy rule", "{said}");
        ensure!(
            links_of(&router)? == ["eth0", "eth1"],
            "{:?}",
            links_of(&router)?
        );
        routed(true)?;
        // What cannot be attached to changes nothing, though the one before it could.
        let wrong = both.replace("\"eth1\"]", "\"eth2\", \"eth3\"]");
        fs::write(&file, wrong)?;
        let reason = refused(&router)?;
        ensure!(reason.contains("cannot attach to eth3"), "{reason}");
        let show = ["link", "show", "dev", "eth2"];
        let shown = lan.router.command("ip").args(show).output()?;
        let shown = String::from_utf8(shown.stdout)?;
        ensure!(shown.contains("eth2") && !shown.contains("xdp"), "{shown}");
        ensure!(
            links_of(&router)? == ["eth0", "eth1"],
            "{:?}",
            links_of(&router)?
        );
        fs::write(&file, router_text("best"))?;
        router.tell(&["reload"])?;
        routed(false)?;
    }
    // The member of the link that stays has been one all the time.
    let elapsed = begin.elapsed().as_secs_f64();
    let members = router.list("members")?;
    let since = members
        .first()
        .and_then(|member| member["since_seconds"].as_f64());
    let stayed = since.is_some_and(|since| since >= elapsed);
    ensure!(members.len() == 1 && stayed, "{members:?}");
    Ok(())
}

fn limits() -> Result<()> {
    let lan = Lan::up()?;
    let file = lan.site.directory().join("router.toml");
    let router = lan.router("best")?;
    let limited = || router.counter("data_plane", "mld_rate_limited");
    let taken = || router.counter("controller", "report_accepted");
    let report = |times: usize| {
        let mut packet = vec![0; mld::PACKET_LEN];
        let message = mld::Message::Report { address: B };
        message.emit(link_local(0x11), ipv6::ALL_ROUTERS, &mut packet)?;
        lan.members[0].run(|| {
            let index = nix::net::if_::if_nametoindex("eth0")?;
            let mut sender = Sender::new()?;
            (0..times).try_for_each(|_| Ok(sender.send(Some(index), &packet)?))
        })
    };
    report(50)?;
    until("all are taken", || Ok(taken()? >= 50))?;
    ensure!(limited()? == 0, "{} limited before", limited()?);
    let few = "[router.limits]\nreports_per_second = 1\nburst = 1\n";
    for (text, some) in [
        (router_text("best") + few, true),
        (router_text("best"), false),
    ] {
        fs::write(&file, text)?;
        router.tell(&["reload"])?;
        let (before, heard) = (limited()?, taken()?);
        report(50)?;
        until("all are counted", || {
            Ok(limited()? - before + taken()? - heard >= 50)
        })?;
        let now = limited()? - before;
        ensure!(
            (now >= 40) == some && (now == 0) != some,
            "{now} limited, {some}"
        );
    }
    Ok(())
}
