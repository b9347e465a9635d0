//! Installs packages of the distribution that tests and fuzzing use.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::environment::may_install;
use crate::{
    privilege::Root,
    process::{self, say},
};

/// Installs the programs that tests use in addition to the daemon, on machines with apt: ip, with which people start
/// daemons in namespaces; tshark, a second parser for every packet; BIRD and FRR, which pass routes on; nft, for
/// firewalls; Python, for the peer of `interop`; bpftool, which loads the programs by libbpf; systemd, under which
/// the unit is started; Prometheus, which scrapes the lab; a validator of JSON Schema; curl and pgrep, which the
/// README and the package's test type; tmux, a terminal for `top`; rpm, which makes and reads the RPM package;
/// nats-server, the bus of a fleet; faketime, for gateways whose clocks are off; openssl, for certificates of the bus;
/// keepalived, which makes one of two gateways the active one; and ethtool and ip6tables, which remedies of `check
/// --host` name.
///
/// The tests work without them, so that a failure is only reported.
pub fn install_helpers() {
    for (program, package) in [
        ("ip", "iproute2"),
        ("tshark", "tshark"),
        ("bird", "bird2"),
        ("nft", "nftables"),
        ("vtysh", "frr"),
        ("python3", "python3"),
        ("bpftool", "bpftool"),
        ("systemctl", "systemd"),
        ("promtool", "prometheus"),
        ("jsonschema", "python3-jsonschema"),
        ("curl", "curl"),
        ("pgrep", "procps"),
        ("tmux", "tmux"),
        ("rpm", "rpm"),
        ("nats-server", "nats-server"),
        ("faketime", "faketime"),
        ("openssl", "openssl"),
        ("keepalived", "keepalived"),
        ("ethtool", "ethtool"),
        ("ip6tables-legacy", "iptables"),
    ] {
        if process::find(program).is_some() {
            continue;
        }
        if !may_install() {
            say(format_args!(
                "{program} is missing and ANYCAST_NO_INSTALL is set: tests that use it are skipped"
            ));
        } else if let Err(error) = install(&[package]) {
            say(format_args!(
                "{program} is missing, tests that use it are skipped: {error:#}"
            ));
        }
    }
}

/// Finds or installs the C++ compiler with which libFuzzer is built.
pub fn cxx_compiler() -> Result<()> {
    let named = std::env::var_os("CXX").is_some_and(|name| !name.is_empty());
    if named || process::find("c++").is_some() {
        return Ok(());
    }
    let missing = "libFuzzer needs a C++ compiler, and there is no `c++` on PATH";
    if !may_install() {
        bail!("{missing}; ANYCAST_NO_INSTALL forbids to install one");
    }
    say(missing);
    install(&["g++"]).context(missing)
}

/// Installs a program that is required.
pub fn require(program: &str, package: &str) -> Result<()> {
    match process::find(program) {
        Some(_) => Ok(()),
        None => install_missing(program, package),
    }
}

/// Makes sure that there is a file of a package.
pub fn require_file(path: &Path, package: &str) -> Result<()> {
    match path.is_file() {
        true => Ok(()),
        false => install_missing(&path.display().to_string(), package),
    }
}

fn install_missing(what: &str, package: &str) -> Result<()> {
    if !may_install() {
        bail!("{what} is missing, and ANYCAST_NO_INSTALL forbids to install it");
    }
    install(&[package]).with_context(|| format!("{what} is missing"))
}

/// Runs a command during which the packages that it installs start no daemons: tests want the programs, and the
/// machine is somebody's. See policy-rc.d(8) of invoke-rc.d; a policy that the machine has already stays in force.
const UNSTARTED: &str = r#"
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM HUP
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
"$@"
"#;

fn install(packages: &[&str]) -> Result<()> {
    let names = packages.join(" ");
    if process::find("apt-get").is_none() {
        bail!("there is no apt-get here; install {names} with this system's package manager");
    }
    let root = Root::find();
    say(format_args!("apt-get install {names}"));
    let apt = |arguments: &[&str]| {
        let mut command = root.command("sh")?;
        command
            .args(["-c", UNSTARTED, "sh"])
            // sudo may refuse to pass variables on, so `env` sets this one.
            .args(["env", "DEBIAN_FRONTEND=noninteractive"])
            .args(["apt-get", "--quiet=2"])
            .args(arguments);
        process::show(&mut command, "apt-get")
    };
    let mut wanted = vec!["install", "--yes", "--no-install-recommends"];
    wanted.extend(packages);
    // The package lists of the machine may be recent enough. A fresh machine has none.
    if apt(&wanted).is_err() {
        apt(&["update"])?;
        apt(&wanted)?;
    }
    for package in packages {
        say(format_args!("installed {package} with apt"));
    }
    Ok(())
}
