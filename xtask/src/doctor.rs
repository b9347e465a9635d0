//! The command `cargo xtask doctor`: shows what this machine has, what it lacks, and what to do about it.

use std::{fs, path::Path, process::ExitCode, thread};

use anyhow::{Result, anyhow};
use serde::Serialize;

use crate::{
    net::bpffs,
    privilege::Root,
    probe, process,
    toolchain::{self, locate},
};

/// Oldest supported kernel. Older ones lack the links by which the daemon attaches its programs.
const OLDEST_KERNEL: (u32, u32) = (6, 6);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// Required: nothing works without it.
    Missing,
    /// Optional: something works better with it.
    Optional,
}

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    state: State,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl Check {
    fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Ok,
            detail: detail.into(),
            remedy: None,
        }
    }

    fn missing(name: &'static str, detail: impl Into<String>, remedy: &str) -> Self {
        Self {
            name,
            state: State::Missing,
            detail: detail.into(),
            remedy: Some(remedy.to_owned()),
        }
    }

    fn optional(name: &'static str, detail: impl Into<String>, remedy: &str) -> Self {
        Self {
            state: State::Optional,
            ..Self::missing(name, detail, remedy)
        }
    }
}

/// Prints the results of all checks. Fails when something required is missing.
pub fn doctor(json: bool) -> Result<ExitCode> {
    let checks = checks();
    if json {
        println!("{}", serde_json::to_string_pretty(&checks)?);
    } else {
        for check in &checks {
            let state = match check.state {
                State::Ok => "ok",
                State::Missing => "MISSING",
                State::Optional => "optional",
            };
            println!("{state:8}  {:11} {}", check.name, check.detail);
            if let Some(remedy) = &check.remedy {
                println!("{:22}-> {remedy}", "");
            }
        }
    }
    let healthy = checks.iter().all(|check| check.state != State::Missing);
    Ok(if healthy {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The hidden command `probe`: tells a parent process that is not root what root can do on this machine.
pub fn probe_for_parent() -> ExitCode {
    match probe::kernel() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

fn checks() -> Vec<Check> {
    let mut checks = toolchain_checks();
    checks.extend([
        compiler(),
        root(),
        kernel(),
        btf(),
        jit(),
        bpf_file_system(),
        kernel_probe(),
        tool(
            "ip",
            "for looking around in the lab, and for tests: `cargo xtask test` installs iproute2 on Debian",
        ),
        tool("tc", "for shaping links by hand: install iproute2"),
        tool(
            "tshark",
            "a second opinion on packets: `cargo xtask test` installs it on Debian",
        ),
        tool(
            "bird",
            "it passes routes on in a test: `cargo xtask test` installs bird2 on Debian",
        ),
        tool(
            "nft",
            "firewalls of tests are set up with it: `cargo xtask test` installs nftables on Debian",
        ),
        tool(
            "vtysh",
            "FRR reads routes in a test: `cargo xtask test` installs frr on Debian",
        ),
        tool(
            "python3",
            "another implementation of the binding talks to ours in a test: `cargo xtask test` installs it on Debian",
        ),
        tool(
            "c++",
            "libFuzzer is built with it: `cargo xtask fuzz` installs g++ on Debian",
        ),
        tool(
            "bpftool",
            "it loads the programs by libbpf in a test: `cargo xtask test` installs it on Debian",
        ),
        tool(
            "jsonschema",
            "it checks what commands print in a test: `cargo xtask test` installs python3-jsonschema on Debian",
        ),
        tool(
            "tmux",
            "`top` is looked at in its terminal in a test: `cargo xtask test` installs it on Debian",
        ),
        tool(
            "rpm",
            "it reads the RPM package in a test: `cargo xtask test` installs it on Debian",
        ),
        tool(
            "nats-server",
            "the bus of a fleet in tests: `cargo xtask test` installs it on Debian",
        ),
        tool(
            "faketime",
            "its library gives a gateway another time of day in a test: `cargo xtask test` installs it on Debian",
        ),
        tool(
            "openssl",
            "it makes certificates of the bus in a test: `cargo xtask test` installs it on Debian",
        ),
        tool(
            "keepalived",
            "it makes one of two gateways the active one in a test: `cargo xtask test` installs it on Debian",
        ),
        tool(
            "promtool",
            "Prometheus scrapes the lab in a test: `cargo xtask test` installs it on Debian",
        ),
        tool(
            "systemctl",
            "the unit is started under systemd in a test: `cargo xtask test` installs it on Debian",
        ),
    ]);
    checks
}

fn toolchain_checks() -> Vec<Check> {
    let rustc = match toolchain::rustc() {
        Ok(rustc) => rustc,
        Err(error) => {
            let remedy = "install rustup, and with it the Rust that rust-toolchain.toml names";
            return vec![Check::missing("rust", format!("{error:#}"), remedy)];
        }
    };
    let found = format!("{} with LLVM {}", rustc.release, rustc.llvm);
    let rust = match toolchain::pinned_release() {
        Some(pinned) if pinned != rustc.release => Check::optional(
            "rust",
            format!("{found}, but rust-toolchain.toml pins {pinned}"),
            "leave the choice to rustup: no `+toolchain`, no RUSTUP_TOOLCHAIN",
        ),
        _ => Check::ok("rust", found),
    };
    let setup = "cargo xtask setup";
    let source = match locate::rust_src(&rustc) {
        Ok(path) => Check::ok("rust-src", path.display().to_string()),
        Err(missing) => Check::missing("rust-src", missing.0, setup),
    };
    let linker = locate::tools_dir().and_then(|tools| locate::bpf_linker(&rustc, &tools));
    let linker = match linker {
        Ok(path) => Check::ok("bpf-linker", path.display().to_string()),
        Err(missing) => Check::missing("bpf-linker", missing.0, setup),
    };
    vec![rust, source, linker]
}

fn compiler() -> Check {
    match process::find("cc") {
        Some(path) => Check::ok("C compiler", path.display().to_string()),
        None => Check::missing("C compiler", "no `cc` on PATH", "install gcc or clang"),
    }
}

fn root() -> Check {
    match Root::find() {
        Root::Here => Check::ok("root", "this is root"),
        Root::Sudo => Check::ok("root", "by sudo"),
        root => Check::missing(
            "root",
            root.refusal().unwrap_or_default(),
            "run as root; without it everything builds, but neither runs nor is tested",
        ),
    }
}

fn kernel() -> Check {
    let release = read("/proc/sys/kernel/osrelease");
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next().and_then(|n| n.parse().ok()).unwrap_or(0u32);
    if (number(), number()) >= OLDEST_KERNEL {
        Check::ok("kernel", release)
    } else {
        let (major, minor) = OLDEST_KERNEL;
        let remedy = format!("Linux {major}.{minor} or newer is needed");
        Check::missing("kernel", release, &remedy)
    }
}

fn btf() -> Check {
    let path = "/sys/kernel/btf/vmlinux";
    if Path::new(path).is_file() {
        Check::ok("kernel BTF", path)
    } else {
        Check::missing(
            "kernel BTF",
            format!("there is no {path}"),
            "a kernel with CONFIG_DEBUG_INFO_BTF, as distributions build it",
        )
    }
}

fn jit() -> Check {
    let path = "/proc/sys/net/core/bpf_jit_enable";
    match read(path).as_str() {
        "0" => Check::optional(
            "BPF JIT",
            "off: programs are interpreted, which is slow",
            "sysctl net.core.bpf_jit_enable=1",
        ),
        "" => Check::optional("BPF JIT", format!("{path} cannot be read"), "nothing to do"),
        _ => Check::ok("BPF JIT", "on"),
    }
}

fn bpf_file_system() -> Check {
    let mounts = read("/proc/mounts");
    let mounted = mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(1);
        fields.next() == Some(bpffs::MOUNT_POINT) && fields.next() == Some("bpf")
    });
    if mounted {
        return Check::ok("bpffs", "mounted at /sys/fs/bpf");
    }
    if Root::find() != Root::Here {
        return Check::ok(
            "bpffs",
            "none at /sys/fs/bpf; as root, the daemon mounts one",
        );
    }
    // A mount namespace belongs to a thread, and is gone when the thread has ended.
    let tried = thread::spawn(bpffs::private).join();
    match tried.unwrap_or_else(|_| Err(anyhow!("the probe broke"))) {
        Ok(()) => Check::ok("bpffs", "none at /sys/fs/bpf; the daemon mounts one"),
        Err(error) => Check::optional(
            "bpffs",
            format!("none at /sys/fs/bpf, so that sessions end with the daemon: {error:#}"),
            "mount -t bpf bpf /sys/fs/bpf, as root of this machine or container",
        ),
    }
}

fn kernel_probe() -> Check {
    let name = "XDP, netns";
    let root = Root::find();
    if root.refusal().is_some() {
        return Check::optional(name, "not tried, for want of root", "run as root");
    }
    match probe::kernel_by(root) {
        Ok(()) => Check::ok(name, "an XDP program was attached in a network namespace"),
        Err(reason) => Check::missing(
            name,
            reason,
            "a machine or container that allows bpf(2) and network namespaces to root",
        ),
    }
}

fn tool(name: &'static str, remedy: &str) -> Check {
    match process::find(name) {
        Some(path) => Check::ok(name, path.display().to_string()),
        None => Check::optional(name, "not on PATH", remedy),
    }
}

fn read(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.trim().to_owned()
}
