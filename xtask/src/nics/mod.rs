//! `cargo xtask nics`: the drivers of real network cards, and what stands on cards, in virtual machines with one of
//! Debian's generic kernels. Four cards of a guest are two links, by which a session goes through all three roles.

mod bed;
mod case;
mod counted;
mod course;
mod later;
mod stall;

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

pub use course::{Guest, course};

use crate::{
    build,
    kernels::{
        archive::Archive,
        guest::{self, STEPS, Step},
        list, machine, package,
    },
    net::{Namespace, Site, netlink},
    privilege::Root,
    process::{self, say},
    toolchain::{self, locate},
};
use case::Row;

/// How much slower a guest may be: what it does is interpreted.
const SLOWER: u32 = 6;
/// Seconds for all cases of a card.
const LIMIT: u64 = 3600;

/// A card as qemu makes it.
struct Card {
    name: &'static str,
    driver: &'static str,
    device: &'static str,
    queues: u32,
    /// What stands on cards is tried on it, too.
    stacks: bool,
    /// It takes VLAN tags off as it is.
    rxvlan: bool,
    /// The largest MTU with which packets of that size pass.
    mtu: u32,
}

const CARDS: [Card; 5] = [
    Card {
        name: "virtio",
        driver: "virtio_net",
        device: "virtio-net-pci,mq=on,vectors=10",
        queues: 4,
        stacks: true,
        rxvlan: false,
        mtu: case::LARGEST,
    },
    Card {
        name: "virtio-fixed",
        driver: "virtio_net",
        device: "virtio-net-pci,mq=on,vectors=10,ctrl_guest_offloads=off",
        queues: 4,
        stacks: false,
        rxvlan: false,
        mtu: case::LARGEST,
    },
    Card {
        name: "virtio-none",
        driver: "virtio_net",
        device: "virtio-net-pci,mq=on,vectors=10,ctrl_guest_offloads=off,guest_csum=off,\
                 guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off",
        queues: 4,
        stacks: false,
        rxvlan: false,
        mtu: case::LARGEST,
    },
    Card {
        name: "e1000e",
        driver: "e1000e",
        device: "e1000e",
        queues: 1,
        stacks: false,
        rxvlan: true,
        mtu: case::LARGEST,
    },
    Card {
        name: "vmxnet3",
        driver: "vmxnet3",
        device: "vmxnet3",
        queues: 1,
        stacks: false,
        rxvlan: true,
        // Where LRO is off, and forwarding turns it off, Linux does not say how many buffers a packet may have, and
        // qemu takes that for one. The first buffer has 3,072 octets at most; the driver leaves 22 for headers.
        mtu: 3050,
    },
];

/// Which cards
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Options {
    /// virtio, virtio-fixed (offloads that the guest cannot change), virtio-none (no offloads on the way in), e1000e or
    /// vmxnet3; all when none is named
    names: Vec<String>,
    /// Only cases whose name contains this, or another of these
    #[arg(long, value_name = "WORD")]
    only: Vec<String>,
    /// Write the results as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Boots a guest for each card and prints what happened there.
pub fn nics(options: &Options) -> Result<ExitCode> {
    let known = CARDS.map(|card| card.name);
    for name in &options.names {
        if !known.contains(&name.as_str()) {
            bail!("no card {name}; there are {}", known.join(", "));
        }
    }
    if Root::find() != Root::Here {
        bail!("the links between cards are in a network namespace, which needs root");
    }
    toolchain::require("qemu-system-x86_64", "qemu-system-x86")?;
    toolchain::require("depmod", "kmod")?;
    toolchain::require("ip", "iproute2")?;
    toolchain::require("wg", "wireguard-tools")?;
    toolchain::require("pppd", "ppp")?;
    let daemon = build::build(false)?.daemon;
    let cache = locate::tools_dir()?.join("kernels");
    fs::create_dir_all(&cache)?;
    let kernel = list::generic()?;
    let kernel = package::unpacked(&kernel, &cache)?;
    let mut rows = Vec::new();
    for card in &CARDS {
        if options.names.is_empty() || options.names.iter().any(|name| name == card.name) {
            say(format_args!(
                "{}: booting Linux {}",
                card.name, kernel.release
            ));
            rows.extend(one(card, &kernel, &daemon, &options.only)?);
        }
    }
    println!("{}", case::table(&rows));
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_string_pretty(&rows)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(if rows.iter().all(|row| row.is_right) && !rows.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn one(
    card: &Card,
    kernel: &package::Unpacked,
    daemon: &Path,
    only: &[String],
) -> Result<Vec<Row>> {
    let scratch = crate::workspace().join("target/nics").join(card.name);
    fs::create_dir_all(&scratch)?;
    let initramfs = scratch.join("initramfs");
    let mut archive = Archive::create(&initramfs)?;
    for folder in ["/dev", "/proc", "/sys", "/tmp", "/run", "/var/tmp"] {
        archive.folder(Path::new(folder))?;
    }
    let this = std::env::current_exe()?;
    archive.program(&this, Path::new("/init"), &scratch)?;
    archive.program(daemon, Path::new("/usr/sbin/anycast-ctl"), &scratch)?;
    let ip = process::find("ip").context("there is no ip")?;
    archive.program(&ip.canonicalize()?, Path::new("/usr/sbin/ip"), &scratch)?;
    let wg = process::find("wg").context("there is no wg")?;
    archive.program(&wg, Path::new("/usr/bin/wg"), &scratch)?;
    ppp(&mut archive, &scratch)?;
    archive.modules(kernel, &scratch)?;
    let step = Step {
        name: "nics".to_owned(),
        program: "/init".into(),
        arguments: [
            "nics-in-guest",
            card.name,
            card.driver,
            "--mtu",
            &card.mtu.to_string(),
        ]
        .into_iter()
        .chain(card.stacks.then_some("--stacks"))
        .chain(card.rxvlan.then_some("--rxvlan"))
        .chain(only.iter().flat_map(|word| ["--only", word]))
        .map(str::to_owned)
        .collect(),
        environment: vec![("ANYCAST_TIME_SCALE".to_owned(), SLOWER.to_string())],
        refuses: None,
        says: None,
        limit: LIMIT,
    };
    archive.file(Path::new(STEPS), 0o644, &serde_json::to_vec(&[step])?)?;
    archive.finish()?;
    let site = Site::claim("acn")?;
    let switch = site.namespace("switch")?;
    let mut qemu = switch.command("qemu-system-x86_64");
    cables(card, &site, &switch, &mut qemu)?;
    let log = scratch.join("console.log");
    let limit = Duration::from_secs(LIMIT + 120);
    let marked = machine::boot_with(&kernel.image, &initramfs, &log, limit, qemu)?;
    fs::remove_file(initramfs)?;
    let mut rows = Vec::new();
    let mut ended = false;
    for value in marked {
        if value["step"].is_string() {
            let step: guest::Ended = serde_json::from_value(value)?;
            ended = step.success;
        } else {
            rows.push(serde_json::from_value(value)?);
        }
    }
    if !ended {
        bail!(
            "{}: the guest did not come to its end: see {}",
            card.name,
            log.display()
        );
    }
    Ok(rows)
}

/// pppd, and its plug-in for PPPoE, which it looks for at one place.
fn ppp(archive: &mut Archive, scratch: &Path) -> Result<()> {
    let pppd = process::find("pppd").context("there is no pppd")?;
    archive.program(&pppd, Path::new(bed::PPPD), scratch)?;
    let versions = fs::read_dir("/usr/lib/pppd").context("pppd has no plug-ins")?;
    for version in versions {
        let plugin = version?.path().join(bed::PPPOE);
        if plugin.exists() {
            archive.program(&plugin, &plugin, scratch)?;
        }
    }
    Ok(())
}

/// The cards, with a bridge for each two of them.
fn cables(card: &Card, site: &Site, switch: &Namespace, qemu: &mut Command) -> Result<()> {
    let script = site.directory().join("plug");
    fs::write(
        &script,
        format!(
            "#!/bin/sh\ncase \"$1\" in card1|card2) to=link1;; *) to=link2;; esac\n\
             ip link set \"$1\" mtu {} up master $to\n",
            case::LARGEST
        ),
    )?;
    fs::set_permissions(&script, Permissions::from_mode(0o700))?;
    for bridge in ["link1", "link2"] {
        netlink::bridge(switch, bridge, &[])?;
        let line = [
            "link",
            "set",
            bridge,
            "type",
            "bridge",
            "mcast_snooping",
            "0",
        ];
        let mut ip = switch.command("ip");
        process::capture_ok(ip.args(line), "ip", Duration::from_secs(10))?;
    }
    for number in 1..=4 {
        let Card { device, queues, .. } = card;
        let tap = format!(
            "tap,id=net{number},ifname=card{number},script={},downscript=no,queues={queues}",
            script.display()
        );
        let mac = case::mac(number);
        // Without its ROM, from which the machine would try to boot.
        let device = format!("{device},netdev=net{number},mac={mac},romfile=");
        qemu.args(["-netdev", &tap, "-device", &device]);
    }
    Ok(())
}
