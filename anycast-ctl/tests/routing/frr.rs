//! The routes as zebra of FRR reads them, in every setting of `next_hops` and `resilient`.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use xtask::{
    kernel_tests::Suite,
    net::{Process, wait},
};

use super::bed::{B, Bed, MEMBER, SOON, find, in_bed, router};

/// Where packages put zebra, which is not a program for people.
const ZEBRA: [&str; 3] = [
    "/usr/lib/frr/zebra",
    "/usr/libexec/frr/zebra",
    "/usr/sbin/zebra",
];
const AGAIN: Duration = Duration::from_millis(50);

pub fn add(suite: Suite) -> Suite {
    let name = "zebra sees the routes in every setting, and leaves next-hop objects alone";
    if binary().is_some() && find("vtysh").is_some() {
        suite.test(name, seen)
    } else {
        suite.ignored(name, "FRR is not installed (apt-get install frr)")
    }
}

fn binary() -> Option<&'static str> {
    ZEBRA.into_iter().find(|path| Path::new(path).exists())
}

/// zebra in the router's namespace.
struct Zebra {
    process: Process,
    directory: std::path::PathBuf,
}

impl Zebra {
    fn start(bed: &Bed) -> Result<Self> {
        let directory = bed.site.directory().join("frr");
        fs::create_dir_all(&directory)?;
        // zebra gives up root, and makes its sockets after that.
        fs::set_permissions(bed.site.directory(), fs::Permissions::from_mode(0o711))?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o777))?;
        let config = directory.join("zebra.conf");
        fs::write(&config, "hostname r1\n")?;
        let binary = binary().context("zebra")?;
        let mut command = bed.node("r1")?.namespace.command(binary);
        command
            .arg("-f")
            .arg(&config)
            .arg("-i")
            .arg(directory.join("zebra.pid"))
            .arg("-z")
            .arg(directory.join("zserv.api"))
            .arg("--vty_socket")
            .arg(&directory);
        let log = directory.join("zebra.log");
        let process = Process::start("zebra", command, &log)?;
        let zebra = Self { process, directory };
        wait::poll(SOON, AGAIN, "zebra answers", || Ok(zebra.routes().ok()))?;
        Ok(zebra)
    }

    /// What it says about routes of the kernel.
    fn routes(&self) -> Result<String> {
        let output = Command::new("vtysh")
            .arg("--vty_socket")
            .arg(&self.directory)
            .args(["-c", "show ipv6 route kernel"])
            .output()?;
        ensure!(output.status.success(), "zebra does not answer");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Waits until it has a route to B with these next hops; with none at all where none is given.
    fn shows(&mut self, what: &str, wanted: &[&str]) -> Result<()> {
        let mut last = String::new();
        let shown = wait::poll(SOON, AGAIN, what, || {
            last = self.routes()?;
            let all = ["via fe80::11", "via fe80::12", "directly connected, eth0"];
            let by: Vec<_> = all.into_iter().filter(|by| last.contains(by)).collect();
            let there = last.contains(&format!("{B}/128"));
            Ok((there != wanted.is_empty() && by == wanted).then_some(()))
        });
        shown.with_context(|| format!("{last}; {:?}", self.process.tail(5)))
    }
}

/// Next-hop objects with our numbers, and all others of zebra.
fn ours(bed: &Bed) -> Result<Vec<String>> {
    let all = bed.ip("r1", "nexthop")?;
    let ours = all.lines().filter(|line| line.starts_with("id 16338"));
    Ok(ours.map(str::to_owned).collect())
}

const BOTH: [&str; 2] = ["via fe80::11", "via fe80::12"];

/// Members come and go under one setting, with zebra there before us.
fn course(bed: &mut Bed, zebra: &mut Zebra, settings: &str, both: &[&str]) -> Result<()> {
    bed.start("r1", &router(settings))?;
    bed.start("m1", MEMBER)?;
    let first = if both == ["directly connected, eth0"] {
        both
    } else {
        &BOTH[..1]
    };
    zebra.shows(&format!("{settings}: one member"), first)?;
    bed.start("m2", MEMBER)?;
    zebra.shows(&format!("{settings}: two members"), both)?;
    bed.tell("m2", "leave")?;
    zebra.shows(&format!("{settings}: one has left"), first)?;
    bed.tell("m1", "leave")?;
    zebra.shows(&format!("{settings}: both have left"), &[])?;
    let left = ours(bed)?;
    ensure!(left.is_empty(), "{settings}: {left:?}");
    Ok(())
}

/// Whether zebra is found with the capabilities of the unit, which has none to look at processes of others.
fn is_found(bed: &Bed) -> Result<bool> {
    let file = bed.site.directory().join("found.toml");
    fs::write(&file, router("next_hops = \"all\""))?;
    let capabilities = "--bounding-set=-all,+bpf,+perfmon,+net_admin,+net_raw";
    let mut command = bed.node("r1")?.namespace.command("setpriv");
    let program = env!("CARGO_BIN_EXE_anycast-ctl");
    command
        .args([capabilities, "--", program, "check", "--host"])
        .arg(&file);
    let output = command.output()?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(!said.is_empty(), "it says nothing: {}", output.status);
    Ok(said.contains("zebra (FRR) runs here"))
}

fn seen() -> Result<()> {
    in_bed(|bed| {
        bed.add_router("r1", 1)?;
        bed.add_members(&[("m1", 0x11), ("m2", 0x12)])?;
        {
            let mut zebra = Zebra::start(bed)?;
            for (settings, both) in [
                ("next_hops = \"all\"", &BOTH[..]),
                ("next_hops = \"all\"\nresilient = \"never\"", &BOTH[..]),
                ("next_hops = \"best\"", &BOTH[..1]),
                ("next_hops = \"on-link\"", &["directly connected, eth0"][..]),
            ] {
                course(bed, &mut zebra, settings, both)?;
            }
        }

        // zebra comes after us: the route has a resilient group, and no more when it is there.
        bed.start("r1", &router("next_hops = \"all\""))?;
        bed.start_members(&["m1", "m2"])?;
        wait::poll(SOON, AGAIN, "a group of both", || {
            let ours = ours(bed)?;
            Ok((ours.len() == 3).then_some(()))
        })?;
        ensure!(!is_found(bed)?, "there is none");
        let mut zebra = Zebra::start(bed)?;
        ensure!(
            is_found(bed)?,
            "who may not look at processes of others does not find it"
        );
        zebra.shows("zebra comes after us", &BOTH)?;
        let left = ours(bed)?;
        ensure!(left.is_empty(), "groups beside zebra: {left:?}");
        let words = bed.daemon("r1")?.tail(100).join("\n");
        ensure!(words.contains("zebra (FRR) runs here"), "{words}");

        // The groups stay where somebody says so, and zebra does not touch them.
        bed.start("r1", &router("next_hops = \"all\"\nresilient = \"always\""))?;
        wait::poll(SOON, AGAIN, "a group of both", || {
            Ok((ours(bed)?.len() == 3).then_some(()))
        })?;
        bed.tell("m2", "leave")?;
        wait::poll(SOON, AGAIN, "a group of one", || {
            Ok((ours(bed)?.len() == 2).then_some(()))
        })?;
        let ours = ours(bed)?;
        ensure!(
            ours.iter().all(|object| object.contains("proto 172")),
            "{ours:?}"
        );
        ensure!(zebra.process.runs(), "zebra has ended");
        Ok(())
    })
}
