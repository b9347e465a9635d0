//! Two gateways, of which one is active and the other stands by, with the files of `contrib` for keepalived and BIRD.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use xtask::{
    kernel_tests::Suite,
    lab::crowd::Crowd,
    net::{Namespace, Process, netlink, wait},
    process,
};

use super::{
    nats::{self, Nats},
    sessions::{self, GO_ON, REST},
    site::{DAEMON, Plan, SOON, Site, ip, link_local},
};

/// For OSPF to find its neighbours.
const OSPF: Duration = Duration::from_secs(40);
/// Those of `contrib/keepalived/gateway.conf`: what each side sends by.
const BY_CLIENTS: &str = "fe80::1:1";
const BY_MEMBERS: &str = "fe80::1:2";

pub fn tests(suite: Suite) -> Suite {
    let suite = by(suite, "keepalived", keepalived);
    by(suite, "bird", bird)
}

fn by(suite: Suite, program: &'static str, body: fn() -> Result<()>) -> Suite {
    let name = format!("sessions outlive the active one of two gateways, by {program}");
    if process::find(program).is_some() {
        nats::test(suite, &name, body)
    } else {
        suite.ignored(name, &format!("{program} is not installed"))
    }
}

fn keepalived() -> Result<()> {
    in_pair(true, |site| {
        let mut daemons = vec![keepalive(site, 0, 150)?];
        let active = wait::poll(SOON, REST, "the first gateway is active", || {
            Ok(has(site, 0, BY_MEMBERS)?.then_some(()))
        });
        active.with_context(|| told(&daemons))?;
        // With `nopreempt` the one that is active first stays so, whatever its priority.
        daemons.push(keepalive(site, 1, 100)?);
        let result = fails(site, &mut daemons, |site| has(site, 1, BY_MEMBERS));
        result.with_context(|| told(&daemons))?;
        // Without any daemon, plain anycast goes on by it.
        let [_, standby] = &daemons[..] else {
            bail!("there are two");
        };
        let before = standby.output().read(|output| output.lines.len());
        site.take_gateway(1)?.kill()?;
        standby.wait_line(SOON, "its priority falls", before, |line| {
            line.contains("effective priority").then_some(())
        })?;
        ensure!(has(site, 1, BY_MEMBERS)?, "nobody has the address");
        Ok(())
    })
}

fn bird() -> Result<()> {
    in_pair(false, |site| {
        let near = neighbour("clients0 { stub yes; };", "");
        let far = neighbour(
            "lan0 { stub yes; };",
            "protocol static { ipv6; route 2001:db8:a::/48 unreachable; }",
        );
        let gateway = |cost: &str| -> Result<String> {
            let file = xtask::workspace().join("contrib/bird/gateway.conf");
            let text = fs::read_to_string(file)?;
            ensure!(text.contains("cost 10;"), "{text}");
            Ok(text.replace("cost 10;", &format!("cost {cost};")))
        };
        let mut daemons = vec![
            birdie(site, &site.gateways[0], 1, &gateway("10")?)?,
            birdie(site, &site.gateways[1], 2, &gateway("20")?)?,
            birdie(site, &site.edge, 3, &near)?,
            birdie(site, &site.core, 4, &far)?,
        ];
        let leads = |site: &Site, place: usize| -> Result<bool> {
            let out = shown(&site.edge, "-6 route get 2001:db8:a::53")?;
            let back = shown(&site.core, "-6 route get 2001:db8:1::100")?;
            let by = format!("via {} ", link_local(place));
            Ok(out.contains(&by) && back.contains(&by))
        };
        let active = wait::poll(OSPF, REST, "the first gateway is active", || {
            Ok(leads(site, 0)?.then_some(()))
        });
        active.with_context(|| told(&daemons))?;
        let result = fails(site, &mut daemons, |site| leads(site, 1));
        result.with_context(|| told(&daemons))
    })
}

/// Sessions begin, the route of B moves, and then the active gateway fails with all that it runs.
fn fails(
    site: &mut Site,
    routing: &mut [Process],
    took_over: impl Fn(&Site) -> Result<bool>,
) -> Result<()> {
    let mut crowd: Crowd = sessions::begin(site, &[0, 1])?;
    site.route(1)?;
    sessions::go_on(&mut crowd, GO_ON)?;
    sessions::none_broken(&crowd, "the route moved")?;
    ensure!(!took_over(site)?, "the other gateway is active already");
    for interface in ["clients0", "up0", "bus0"] {
        netlink::down(&site.gateways[0], interface)?;
    }
    site.take_gateway(0)?.kill()?;
    routing[0].kill()?;
    site.forget_gateway(0)?;
    wait::poll(SOON, REST, "the other gateway is active", || {
        Ok(took_over(site)?.then_some(()))
    })?;
    sessions::go_on(&mut crowd, GO_ON)?;
    sessions::none_broken(&crowd, "the active gateway failed")
}

/// Two gateways, as [`Plan::shared`] says, without routes on the sides of clients and members that lead anywhere.
fn in_pair(shared: bool, what: impl FnOnce(&mut Site) -> Result<()>) -> Result<()> {
    let mut site = Site::network(Plan {
        gateways: 2,
        members: 2,
        clients: 1,
        fleet: Some(nats::servers()),
        shared,
        ..Plan::default()
    })?;
    let _bus = Nats::start(&site)?;
    site.daemons()?;
    if shared {
        let default = format!("-6 route replace default via {BY_CLIENTS} dev br0");
        ip(&site.edge, &default)?;
        let back = format!("-6 route replace 2001:db8:1::/64 via {BY_MEMBERS} dev br0");
        ip(&site.core, &back)?;
    } else {
        ip(&site.edge, "-6 route del default")?;
        ip(&site.core, "-6 route del 2001:db8:1::/64")?;
    }
    let result = what(&mut site);
    result.with_context(|| site.logs())
}

/// keepalived of a gateway, with the file of `contrib` and this priority.
fn keepalive(site: &Site, place: usize, priority: u8) -> Result<Process> {
    let file = xtask::workspace().join("contrib/keepalived/gateway.conf");
    let mut text = fs::read_to_string(file)?;
    let directory = site.directory();
    let socket = directory.join(format!("g{}.sock", place + 1));
    let command = format!("{DAEMON} --socket {}", socket.display());
    for (word, instead) in [
        ("priority 150", &*format!("priority {priority}")),
        ("/usr/sbin/anycast-ctl", &command),
    ] {
        ensure!(text.contains(word), "{word} is not in {text}");
        text = text.replace(word, instead);
    }
    let config = directory.join(format!("keepalived{place}.conf"));
    fs::write(&config, text)?;
    let mut command = site.gateways[place].command("keepalived");
    command.args(["--dont-fork", "--log-console", "--vrrp", "--use-file"]);
    command.arg(&config);
    for (option, name) in [("--pid", "pid"), ("--vrrp_pid", "vrrp")] {
        let file = directory.join(format!("keepalived{place}.{name}"));
        command.arg(option).arg(file);
    }
    let log = directory.join(format!("keepalived{place}.log"));
    Process::start(&format!("keepalived {place}"), command, &log)
}

/// BIRD with this configuration.
fn birdie(site: &Site, namespace: &Namespace, id: u8, text: &str) -> Result<Process> {
    let file = |kind: &str| site.directory().join(format!("bird{id}.{kind}"));
    fs::write(file("conf"), format!("router id 192.0.2.{id};\n{text}"))?;
    let mut command = namespace.command("bird");
    command.arg("-f").arg("-c").arg(file("conf"));
    command.arg("-s").arg(file("ctl"));
    Process::start(&format!("BIRD {id}"), command, &file("log"))
}

/// A router beside the gateways: they alone say which of them is preferred.
fn neighbour(stub: &str, more: &str) -> String {
    format!(
        "protocol device {{ scan time 5; }}\n{more}\n\
         protocol kernel {{ ipv6 {{ import none; export where source ~ [ RTS_OSPF, RTS_OSPF_EXT2 ]; }}; }}\n\
         protocol bfd {{ interface \"g*\" {{ interval 100 ms; multiplier 3; }}; }}\n\
         protocol ospf v3 {{\n\
         ipv6 {{ import all; export where source = RTS_STATIC; }};\n\
         area 0 {{ interface \"g*\" {{ type ptp; cost 10; hello 1; dead 4; bfd yes; }}; interface \"{} }};\n}}\n",
        stub.replacen(' ', "\" ", 1)
    )
}

/// Whether a gateway has an address.
fn has(site: &Site, place: usize, address: &str) -> Result<bool> {
    Ok(shown(&site.gateways[place], "-6 address show")?.contains(&format!("{address}/")))
}

fn shown(namespace: &Namespace, arguments: &str) -> Result<String> {
    let output = namespace
        .command("ip")
        .args(arguments.split(' '))
        .output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn told(daemons: &[Process]) -> String {
    let tails = daemons.iter().map(|daemon| {
        let tail = daemon.tail(12).join("\n     ");
        format!("\n   {}:\n     {tail}", daemon.name())
    });
    tails.collect()
}
