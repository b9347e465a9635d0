//! What a gateway leaves of the kernel's own forwarding: TCP by iperf3 through three namespaces.
//!
//! `cargo xtask bench tcx`, with `-- --json FILE` to keep what came of it. Needs root and iperf3. How to
//! read it is in `docs/performance.md`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement may abort"
)]

#[path = "common/mod.rs"]
#[allow(dead_code, reason = "shared with other measurements")]
mod common;

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    net::Ipv6Addr,
    path::PathBuf,
    process::Stdio,
    ptr,
};

use anycast_common::abi::roles::CORRESPONDENT;
use anycast_ctl::{
    core::{MapAction, Time},
    shell::dataplane::{Dataplane, Limits, Mode, OBJECT, Settings},
};
use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use common::median;
use serde::Serialize;
use xtask::net::{
    Namespace, Pass, Site,
    ethtool::{self, Offload},
    netlink::{self, End},
    sysctl,
};

const A: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x100);
const B: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);
const C: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, 0xc1);
const INSIDE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
const OUTSIDE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, 1);

/// Measures TCP through a gateway.
#[derive(Parser)]
struct Options {
    /// Every case is run so many times, in turn with the others.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Seconds of each run.
    #[arg(long, default_value_t = 2)]
    seconds: u32,
    /// An object of programs of an earlier build, measured at TCX in turn with ours.
    #[arg(long, value_name = "OBJECT")]
    baseline: Option<PathBuf>,
    /// Writes the figures there.
    #[arg(long)]
    json: Option<PathBuf>,
    /// cargo adds it.
    #[arg(long, hide = true)]
    bench: bool,
}

/// How packets pass the gateway.
struct Case<'a> {
    name: &'static str,
    /// None: by the kernel alone, and to C.
    programs: Option<(Mode, &'a [u8])>,
    /// Gbit/s up and down, of each round.
    figures: [Vec<f64>; 2],
}

fn cases(baseline: Option<&[u8]>) -> Vec<Case<'_>> {
    let case = |name, programs| Case {
        name,
        programs,
        figures: [Vec::new(), Vec::new()],
    };
    let mut cases = vec![
        case("kernel forwarding", None),
        case("bound flow, TCX", Some((Mode::Tcx, OBJECT))),
        case("bound flow, native XDP", Some((Mode::Native, OBJECT))),
    ];
    if let Some(object) = baseline {
        cases.push(case("bound flow, TCX, baseline", Some((Mode::Tcx, object))));
    }
    cases
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    direction: &'static str,
    /// Gbit/s: median, and quartiles.
    median: f64,
    quartiles: [f64; 2],
    /// Median of the ratios to kernel forwarding in the same round, for what else the machine does changes
    /// faster than medians show.
    ratio: f64,
}

struct Path {
    client: Namespace,
    gateway: Namespace,
    server: Namespace,
    _site: Site,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let path = Path::new()?;
    let baseline = options.baseline.as_ref().map(fs::read).transpose()?;
    let mut cases = cases(baseline.as_deref());
    for _ in 0..options.rounds {
        for case in &mut cases {
            let rates = path.gateway.run(|| {
                // The programs' log is read by a task of it.
                let _guard = runtime.enter();
                path.measure(case.programs, options.seconds)
            });
            for (figures, rate) in case.figures.iter_mut().zip(rates.context(case.name)?) {
                figures.push(rate);
            }
        }
    }
    let mut rows = Vec::new();
    for (index, direction) in ["to the server", "to the client"].into_iter().enumerate() {
        let plain = &cases[0].figures[index];
        for case in &cases {
            let mut sorted = case.figures[index].clone();
            sorted.sort_by(f64::total_cmp);
            let median = median(sorted.clone());
            let pairs = case.figures[index].iter().zip(plain);
            let ratios = pairs.map(|(rate, plain)| rate / plain).collect();
            rows.push(Row {
                name: case.name,
                direction,
                median,
                quartiles: [sorted[sorted.len() / 4], sorted[sorted.len() * 3 / 4]],
                ratio: common::median(ratios),
            });
        }
    }
    println!(
        "{:24} {:15} {:>8} {:>15} {:>10}",
        "", "", "Gbit/s", "quartiles", "x kernel"
    );
    for row in &rows {
        let [low, high] = row.quartiles;
        println!(
            "{:24} {:15} {:8.2} {:>15} {:10.2}",
            row.name,
            row.direction,
            row.median,
            format!("{low:.2}..{high:.2}"),
            row.ratio
        );
    }
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_string_pretty(&rows)? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

impl Path {
    fn new() -> Result<Self> {
        let site = Site::claim("btcx")?;
        let path = Self {
            client: site.namespace("client")?,
            gateway: site.namespace("gateway")?,
            server: site.namespace("server")?,
            _site: site,
        };
        for namespace in [&path.client, &path.gateway, &path.server] {
            sysctl::set(namespace, &[("ipv6/conf/default/accept_dad", "0")])?;
            netlink::up(namespace, "lo")?;
        }
        sysctl::set(&path.gateway, &[("ipv6/conf/all/forwarding", "1")])?;
        let end = |namespace, name| End {
            namespace,
            name,
            mac: None,
        };
        for (near, far) in [("inside", &path.client), ("outside", &path.server)] {
            let (near, far) = (end(&path.gateway, near), end(far, "eth0"));
            netlink::veth(near, far)?;
            netlink::connect(near, far)?;
        }
        for (namespace, interface, address) in [
            (&path.client, "eth0", A),
            (&path.gateway, "inside", INSIDE),
            (&path.gateway, "outside", OUTSIDE),
            (&path.server, "eth0", C),
        ] {
            netlink::address(namespace, interface, address, 64)?;
        }
        let any = Ipv6Addr::UNSPECIFIED;
        netlink::route(&path.client, any, 0, INSIDE, "eth0")?;
        netlink::route(&path.server, any, 0, OUTSIDE, "eth0")?;
        // Where B would be without a binding: nothing there answers for it.
        netlink::route(&path.gateway, any, 0, C, "outside")?;
        Ok(path)
    }

    /// Checksums and segments as the kernel makes links, or as XDP needs them.
    fn offload(&self, on: bool) -> Result<()> {
        for (namespace, interface) in [
            (&self.client, "eth0"),
            (&self.gateway, "inside"),
            (&self.gateway, "outside"),
            (&self.server, "eth0"),
        ] {
            ethtool::set(namespace, interface, Offload::TransmitChecksum, on)?;
            ethtool::set(namespace, interface, Offload::Segmentation, on)?;
        }
        Ok(())
    }

    /// Gbit/s up and down, in the gateway's namespace.
    fn measure(&self, programs: Option<(Mode, &[u8])>, seconds: u32) -> Result<[f64; 2]> {
        let xdp = programs.is_some_and(|(mode, _)| mode == Mode::Native);
        self.offload(!xdp)?;
        let _passes = match xdp {
            // A veth takes redirected frames while it runs NAPI.
            true => vec![
                Pass::attach(&self.client, "eth0")?,
                Pass::attach(&self.server, "eth0")?,
            ],
            false => Vec::new(),
        };
        let mut dataplane = programs
            .map(|(mode, object)| self.attach(mode, object))
            .transpose()?;
        let address = if dataplane.is_some() { B } else { C };
        let rates = [
            self.iperf3(address, seconds, &[])?,
            self.iperf3(address, seconds, &["-R"])?,
        ];
        // The programs of an earlier build may have other counters.
        let is_ours = programs.is_some_and(|(_, object)| ptr::eq(object, OBJECT));
        if is_ours && let Some(dataplane) = &mut dataplane {
            let counters = dataplane.maps().counters()?;
            for wanted in ["correspondent_to_care_of", "correspondent_from_care_of"] {
                let found = counters.iter().find(|(name, _)| *name == wanted);
                ensure!(
                    found.is_some_and(|(_, count)| *count > 100),
                    "{wanted}: {found:?}"
                );
            }
        }
        Ok(rates)
    }

    fn attach(&self, mode: Mode, object: &[u8]) -> Result<Dataplane> {
        let settings = Settings {
            roles: CORRESPONDENT,
            require_router_alert: true,
            limits: Limits::NONE,
            sizes: Default::default(),
        };
        let mut dataplane = Dataplane::load(object, settings)?;
        let links = [
            netlink::index(&self.gateway, "inside")?,
            netlink::index(&self.gateway, "outside")?,
        ];
        let maps = dataplane.maps();
        maps.set_client_prefixes(&["2001:db8:1::/64".parse()?])?;
        maps.set_anycast_prefixes(&[])?;
        maps.set_redirect_targets(&BTreeSet::from(links), &BTreeSet::new())?;
        for action in [
            MapAction::SetCareOf {
                client: A,
                care_of: C,
                anycast: B,
                expires: Time::from_nanos(u64::MAX / 2),
            },
            MapAction::SetBinding {
                client: A,
                anycast: B,
                care_of: C,
                expires: Time::from_nanos(u64::MAX / 2),
            },
        ] {
            maps.apply(&action)?;
        }
        for link in links {
            dataplane.attach(link, CORRESPONDENT, mode)?;
        }
        Ok(dataplane)
    }

    /// What the receiver got, in Gbit/s.
    fn iperf3(&self, address: Ipv6Addr, seconds: u32, direction: &[&str]) -> Result<f64> {
        let mut server = self
            .server
            .command("iperf3")
            .args(["-s", "-1", "--forceflush", "-B", &C.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run iperf3")?;
        let said = server.stdout.take().context("no output")?;
        let mut said = BufReader::new(said).lines();
        let listens = said.any(|line| line.is_ok_and(|line| line.contains("listening")));
        let result = self
            .client
            .command("iperf3")
            .args(["-J", "-c", &address.to_string(), "-B", &A.to_string()])
            .args(["-t", &seconds.to_string(), "--connect-timeout", "3000"])
            .args(direction)
            .output();
        if !listens || !result.as_ref().is_ok_and(|output| output.status.success()) {
            let _ = server.kill();
        }
        server.wait()?;
        let output = result?;
        let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        ensure!(output.status.success(), "iperf3: {}", report["error"]);
        let rate = report["end"]["sum_received"]["bits_per_second"].as_f64();
        Ok(rate.context("iperf3 tells no rate")? / 1e9)
    }
}
