//! What `status --check` fails for, provoked in a lab: it says nothing before, and nothing afterwards.

use std::{fs, path::Path, time::Duration};

use anyhow::{Result, ensure};
use xtask::{
    kernel_tests::Suite,
    lab::{
        report::Report,
        scenario::{self, ASK_AGAIN, SOON},
        stage::Lab,
        topology::{B, CLIENT},
    },
    net::{Pass, netlink, wait},
    process,
};

use crate::host::{Check, ip};

const DAEMON: &str = env!("CARGO_BIN_EXE_anycast-ctl");

/// Time after which a member complains that it hears no Query, and some more.
const UNHEARD: Duration = Duration::from_secs(300);

pub fn tests(suite: Suite) -> Suite {
    let with_ip: [(&str, Check); 2] = [
        ("status --check names each problem of a gateway", of_gateway),
        (
            "status --check names a care_of that is preferred",
            of_member,
        ),
    ];
    let suite = with_ip
        .into_iter()
        .fold(suite, |suite, (name, body)| match process::find("ip") {
            None => suite.ignored(name, "ip (iproute2) is not installed"),
            Some(_) => suite.test(name, body),
        });
    let suite = suite.test(
        "status --check names a group that is not joined",
        not_joined,
    );
    let name = "status --check misses Queries";
    match std::env::var_os("ANYCAST_LONG") {
        None => suite.ignored(name, "it takes 255 s: ANYCAST_LONG=1 runs it"),
        Some(_) => suite.test(name, no_query),
    }
}

/// A lab with a member, which the router knows, and a gateway with room for one binding that takes native XDP alone.
fn lab() -> Result<Lab> {
    let mut lab = Lab::up(Path::new(DAEMON), None)?;
    lab.configure("gateway", "max_bindings = 100000", "max_bindings = 1")?;
    let file = lab.own_config("gateway");
    let native = fs::read_to_string(&file)?.replace("mode = \"auto\"", "mode = \"native\"");
    fs::write(file, native)?;
    lab.start(&["router", "gateway", "s1"])?;
    wait::poll(SOON, ASK_AGAIN, "the member is known", || {
        let members = lab.daemon("router")?.list("members")?;
        Ok((members.len() == 1).then_some(()))
    })?;
    Ok(lab)
}

fn of_gateway() -> Result<()> {
    let mut lab = lab()?;
    for node in ["router", "gateway", "s1"] {
        lab.daemon(node)?.wait_problems(&[])?;
    }
    let gateway = lab.daemon("gateway")?;
    let mut report = Report::begin(true);
    let session = report.step("bind", "", |evidence| {
        scenario::open(&lab, "client", evidence)
    })?;
    gateway.wait_problems(&["map_nearly_full"])?;
    let room = gateway.tell(&["status", "--check"]).err();
    let room = room.map(|error| error.to_string()).unwrap_or_default();
    ensure!(room.contains("1 problem"), "{room}");

    // Its programs go on with maps that the next daemon wants larger.
    lab.kill("gateway")?;
    let file = lab.own_config("gateway");
    let configured = fs::read_to_string(&file)?;
    let larger = configured
        .replace("flows = 262144", "flows = 524288")
        .replace("max_bindings = 1", "max_bindings = 1000");
    ensure!(larger != configured, "{configured}");
    fs::write(&file, larger)?;
    lab.restart("gateway")?;
    lab.daemon("gateway")?
        .wait_problems(&["map_of_other_size"])?;
    drop(session);
    lab.kill("gateway")?;
    lab.detach("gateway")?;
    lab.restart("gateway")?;
    let gateway = lab.daemon("gateway")?;
    gateway.wait_problems(&[])?;
    netlink::down(&lab.network.router, "gw0")?;
    gateway.wait_problems(&["interface_down"])?;
    netlink::up(&lab.network.router, "gw0")?;
    gateway.wait_problems(&[])?;
    not_attached(&lab)
}

/// An interface goes, and another one comes by its name that has an XDP program of somebody else.
fn not_attached(lab: &Lab) -> Result<()> {
    let (namespace, gateway) = (&lab.network.gateway, lab.daemon("gateway")?);
    let code = || -> Result<String> {
        let said = gateway.tell(&["explain", &CLIENT.to_string(), &B.to_string(), "--json"])?;
        let said: serde_json::Value = serde_json::from_str(&said)?;
        Ok(said["roles"][0]["code"].to_string())
    };
    ensure!(code()? == "\"not_bound\"", "{}", code()?);
    netlink::delete(namespace, "clients0")?;
    gateway.wait_problems(&["interface_missing"])?;
    ip(namespace, "link add other0 type veth peer name other1")?;
    let foreign = Pass::attach(namespace, "other0")?;
    ip(namespace, "link set other0 name clients0")?;
    netlink::up(namespace, "other1")?;
    netlink::up(namespace, "clients0")?;
    gateway.wait_problems(&["not_attached"])?;
    ensure!(code()? == "\"not_attached\"", "{}", code()?);
    // It tries again when the interface changes.
    drop(foreign);
    netlink::down(namespace, "clients0")?;
    netlink::up(namespace, "clients0")?;
    gateway.wait_problems(&[])?;
    ensure!(code()? == "\"not_bound\"", "{}", code()?);
    Ok(())
}

fn of_member() -> Result<()> {
    let lab = lab()?;
    let member = lab.daemon("s1")?;
    let namespace = lab.network.server(xtask::lab::topology::S1);
    member.wait_problems(&[])?;
    let care_of = "address change 2001:db8:20::c1/128 dev eth0 preferred_lft";
    ip(namespace, &format!("{care_of} forever"))?;
    member.wait_problems(&["care_of_preferred"])?;
    ip(namespace, &format!("{care_of} 0"))?;
    member.wait_problems(&[])
}

/// A group whose health nobody knows yet is wanted, and not joined.
fn not_joined() -> Result<()> {
    let mut lab = Lab::up(Path::new(DAEMON), None)?;
    let gate = lab.network.site().directory().join("gate");
    let mut made = std::process::Command::new("mkfifo");
    process::capture_ok(made.arg(&gate), "mkfifo", SOON)?;
    // The check waits until somebody opens the other end.
    let health = format!(
        "health = {{ type = \"command\", command = [\"cat\", \"{}\"], interval = \"60s\", timeout = \"50s\", rise = 1 }}",
        gate.display()
    );
    lab.configure("s1", "join = \"start\"", &health)?;
    lab.start(&["router", "s1"])?;
    let member = lab.daemon("s1")?;
    member.wait_problems(&["not_joined"])?;
    drop(fs::File::options().write(true).open(&gate)?);
    member.wait_problems(&[])
}

/// Minutes without a router.
fn no_query() -> Result<()> {
    let mut lab = lab()?;
    lab.daemon("s1")?.wait_problems(&[])?;
    lab.end("router")?;
    let mut last = Vec::new();
    let found = wait::poll(UNHEARD, Duration::from_secs(1), "nobody asks", || {
        last = lab.daemon("s1")?.problems()?;
        Ok((!last.is_empty()).then_some(()))
    });
    found?;
    ensure!(last == ["no_query"], "{last:?}");
    lab.start(&["router"])?;
    lab.daemon("s1")?.wait_problems(&[])
}
