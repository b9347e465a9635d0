//! What `check --host` finds in the way on a machine: nothing before, its code and a remedy while it is so, and nothing
//! when the remedy was applied.

use std::{fs, io::Write as _, path::Path, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xtask::{
    kernel_tests::Suite,
    lab::scenario::SOON,
    net::{
        Direction, Namespace, Pass, Site, TcxCounter, Which,
        netlink::{self, End},
        prepare, sysctl,
    },
    process,
};

const DAEMON: &str = env!("CARGO_BIN_EXE_anycast-ctl");
const NAMES: [&str; 2] = ["clients0", "up0"];
pub(super) const GATEWAY: &str = "[correspondent]\ninterfaces = [\"clients0\", \"up0\"]\nmode = \"auto\"\n\
    client_prefixes = [\"2001:db8:1::/64\"]\nallow = [\"2001:db8:a::/48\"]\n";
pub(super) const MEMBER: &str = "[member]\ninterfaces = [\"up0\"]\n[[member.group]]\nanycast = \"2001:db8:a::53\"\n\
    care_of = \"2001:db8:20::c1\"\n";
pub(super) const ROUTER: &str = "[router]\ninterfaces = [\"up0\"]\nnext_hops = \"all\"\n\
    [[router.policy]]\nsource = \"fe80::11/128\"\nanycast = \"2001:db8:a::/48\"\naction = \"allow\"\n";

pub(super) type Check = fn() -> Result<()>;

pub fn tests(suite: Suite) -> Suite {
    let tests: [(&str, Check); 4] = [
        ("check --host: settings of a gateway", settings),
        ("check --host: programs of others", programs),
        ("check --host: ports of a bridge", bridges),
        ("check --host: addresses of a member", addresses),
    ];
    let needed = ["ip", "unshare", "mount"];
    let missing = needed
        .into_iter()
        .find(|name| process::find(name).is_none());
    tests
        .into_iter()
        .fold(suite, |suite, (name, body)| match missing {
            None => suite.test(name, body),
            Some(missing) => suite.ignored(name, &format!("{missing} is not installed")),
        })
}

/// A machine with two links that forwards.
pub(super) struct Machine {
    pub(super) namespace: Namespace,
    pub(super) far: Namespace,
    site: Site,
}

impl Machine {
    pub(super) fn new() -> Result<Self> {
        let site = Site::claim("achost")?;
        let (namespace, far) = (site.namespace("m")?, site.namespace("far")?);
        for namespace in [&namespace, &far] {
            prepare(namespace)?;
        }
        for name in NAMES {
            let (near, far) = (End::new(&namespace, name), End::new(&far, name));
            netlink::veth(near, far)?;
            netlink::connect(near, far)?;
        }
        sysctl::set(&namespace, &[("ipv6/conf/all/forwarding", "1")])?;
        Ok(Self {
            namespace,
            far,
            site,
        })
    }

    /// What is found, by code and remedy. `about` are the codes that this is about: the machine that runs the tests has
    /// a kernel and a packet filter of its own.
    pub(super) fn finds(&self, config: &str, about: &[&str]) -> Result<Vec<(String, String)>> {
        self.finds_by("", config, about)
    }

    /// The same after these words of a shell, in a place of its own for mounts.
    pub(super) fn finds_by(
        &self,
        before: &str,
        config: &str,
        about: &[&str],
    ) -> Result<Vec<(String, String)>> {
        let file = self.site.directory().join("anycast.toml");
        fs::write(&file, config)?;
        let answer = look(&self.namespace, before, &file)?;
        let found = answer["host"].as_array().context("no findings")?;
        let found = found.iter().map(|finding| {
            let word = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
            (word("code"), word("remedy"))
        });
        Ok(found
            .filter(|(code, _)| about.contains(&code.as_str()))
            .collect())
    }

    /// Nothing is found, then `code` with a remedy that says this, and nothing any more.
    pub(super) fn provoke<T>(
        &self,
        config: &str,
        code: &str,
        remedy: &str,
        cause: impl FnOnce() -> Result<T>,
        remedied: impl FnOnce(T) -> Result<()>,
    ) -> Result<()> {
        let found = self.finds(config, &[code])?;
        ensure!(found.is_empty(), "{code} before: {found:?}");
        let caused = cause().context(code.to_owned())?;
        let found = self.finds(config, &[code])?;
        ensure!(
            matches!(&found[..], [(_, said)] if said.contains(remedy)),
            "{code}: {found:?}"
        );
        remedied(caused).context(code.to_owned())?;
        let found = self.finds(config, &[code])?;
        ensure!(found.is_empty(), "{code} afterwards: {found:?}");
        Ok(())
    }

    /// The same of a setting.
    fn setting(&self, code: &str, wrong: (&str, &str), right: (&str, &str)) -> Result<()> {
        // A remedy names it as sysctl does.
        let remedy = format!("net.{}={}", right.0.replace('/', "."), right.1);
        let set = |it| sysctl::set(&self.namespace, &[it]);
        self.provoke(GATEWAY, code, &remedy, || set(wrong), |()| set(right))
    }
}

/// The answer of `check --host`, with the interfaces of the namespace in /sys, as `ip netns exec` has them.
fn look(namespace: &Namespace, before: &str, file: &Path) -> Result<Value> {
    let script = format!("mount -t sysfs sysfs /sys && {before} exec \"$@\"");
    let mut command = namespace.command("unshare");
    command.args(["--mount", "sh", "-c", &script, "sh", DAEMON]);
    command.args(["check", "--host", "--json"]).arg(file);
    let output = command.output()?;
    serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

fn settings() -> Result<()> {
    let machine = Machine::new()?;
    let forwarding = "ipv6/conf/all/forwarding";
    machine.setting("no_forwarding", (forwarding, "0"), (forwarding, "1"))?;
    let disable = "ipv6/conf/up0/disable_ipv6";
    machine.setting("no_ipv6", (disable, "1"), (disable, "0"))?;
    let accept = "ipv6/conf/up0/accept_ra";
    machine.setting("accept_ra", (accept, "1"), (accept, "2"))?;
    if process::find("sysctl").is_some() {
        vlan(&machine)?;
    }
    let hash = |policy, fields| {
        let (policy, fields) = (
            ("ipv6/fib_multipath_hash_policy", policy),
            ("ipv6/fib_multipath_hash_fields", fields),
        );
        sysctl::set(&machine.namespace, &[policy, fields])
    };
    hash("3", "3")?;
    machine.provoke(
        ROUTER,
        "multipath_hash",
        "peers",
        || hash("1", "7"),
        |()| hash("3", "3"),
    )
}

/// Remedies of an interface with a dot in its name, as those of VLANs have it, as they are printed.
fn vlan(machine: &Machine) -> Result<()> {
    let namespace = &machine.namespace;
    // Its name is what matters, and not every kernel has devices for VLANs.
    let (near, far) = (
        End::new(namespace, "up0.100"),
        End::new(&machine.far, "up0.100"),
    );
    netlink::veth(near, far)?;
    netlink::connect(near, far)?;
    let config = GATEWAY.replace("\"up0\"", "\"up0.100\"");
    for (code, setting, wrong) in [
        ("no_ipv6", "disable_ipv6", "1"),
        ("accept_ra", "accept_ra", "1"),
    ] {
        let key = format!("ipv6/conf/up0.100/{setting}");
        let right = std::cell::RefCell::default();
        let cause = || {
            sysctl::set(namespace, &[(&key, wrong)])?;
            let found = machine.finds(&config, &[code])?;
            let (_, remedy) = found.into_iter().next().context("it is not found")?;
            right.replace(remedy.replace(", where routes come by them", ""));
            Ok(())
        };
        machine.provoke(&config, code, "net/ipv6/conf/up0.100/", cause, |()| {
            follow(namespace, &right.take())
        })?;
    }
    ip(namespace, "link del up0.100").map(drop)
}

fn programs() -> Result<()> {
    let machine = Machine::new()?;
    let namespace = &machine.namespace;
    for (config, remedy) in [
        (GATEWAY.to_owned(), "mode = \"tcx\" for up0"),
        (GATEWAY.replace("auto", "tcx"), "bpftool net"),
    ] {
        machine.provoke(
            &config,
            "other_xdp",
            remedy,
            || Pass::attach(namespace, "up0"),
            |pass| xdp_off(namespace, pass),
        )?;
    }
    for direction in [Direction::Ingress, Direction::Egress] {
        machine.provoke(
            GATEWAY,
            "other_tcx",
            "TCX_NEXT",
            || TcxCounter::attach(namespace, "up0", direction, Which::All),
            |counter| {
                drop(counter);
                Ok(())
            },
        )?;
    }
    Ok(())
}

/// The kernel detaches a program a moment after its last descriptor was closed.
fn xdp_off(namespace: &Namespace, pass: Pass) -> Result<()> {
    drop(pass);
    xtask::net::wait::poll(SOON, xtask::lab::scenario::ASK_AGAIN, "no program", || {
        let shown = ip(namespace, "link show dev up0")?;
        Ok((!shown.contains("xdp")).then_some(()))
    })
}

/// Has nft load rules.
pub(super) fn load(namespace: &Namespace, rules: &str) -> Result<()> {
    let mut command = namespace.command("nft");
    command.args(["-f", "-"]).stdin(Stdio::piped());
    let mut child = command.spawn()?;
    let mut input = child.stdin.take().context("no standard input")?;
    input.write_all(rules.as_bytes())?;
    drop(input);
    ensure!(child.wait()?.success(), "nft does not take {rules}");
    Ok(())
}

/// Runs a remedy as it is printed.
pub fn follow(namespace: &Namespace, remedy: &str) -> Result<()> {
    let mut command = namespace.command("sh");
    command.args(["-c", remedy]);
    process::capture_ok(&mut command, remedy, SOON).map(drop)
}

/// Runs `ip` there.
pub fn ip(namespace: &Namespace, arguments: &str) -> Result<String> {
    let mut command = namespace.command("ip");
    command.args(arguments.split(' '));
    process::capture_ok(&mut command, "ip", SOON)
}

fn bridges() -> Result<()> {
    let machine = Machine::new()?;
    let namespace = &machine.namespace;
    machine.provoke(
        GATEWAY,
        "port",
        "configure the bridge in its place",
        || netlink::bridge(namespace, "br0", &["up0"]),
        |()| netlink::detach(namespace, "up0"),
    )
}

fn addresses() -> Result<()> {
    let machine = Machine::new()?;
    let namespace = &machine.namespace;
    let about = ["no_anycast", "no_care_of", "care_of_preferred"];
    let codes = |found: Vec<(String, String)>| -> Vec<String> {
        found.into_iter().map(|(code, _)| code).collect()
    };
    let found = codes(machine.finds(MEMBER, &about)?);
    ensure!(found == ["no_anycast", "no_care_of"], "{found:?}");
    // `assign` is a remedy as well.
    let assigned = format!("{MEMBER}assign = true\n");
    let found = machine.finds(&assigned, &about)?;
    ensure!(found.is_empty(), "{found:?}");
    netlink::deprecated_address(namespace, "lo", "2001:db8:a::53".parse()?, 128)?;
    netlink::deprecated_address(namespace, "up0", "2001:db8:20::c1".parse()?, 128)?;
    let change = "address change 2001:db8:20::c1/128 dev up0 preferred_lft";
    machine.provoke(
        MEMBER,
        "care_of_preferred",
        "preferred_lft 0",
        || ip(namespace, &format!("{change} forever")),
        |_| ip(namespace, &format!("{change} 0")).map(drop),
    )?;
    let found = machine.finds(MEMBER, &about)?;
    ensure!(found.is_empty(), "{found:?}");
    Ok(())
}
