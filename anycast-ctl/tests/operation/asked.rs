//! What users of `read_group` may do, and what `status --check` says.

use std::{fs::Permissions, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use anyhow::{Result, ensure};
use serde_json::Value;
use xtask::{
    lab::{
        report::Report,
        scenario,
        stage::Lab,
        topology::{B, CLIENT},
    },
    net::netlink,
};

const DAEMON: &str = env!("CARGO_BIN_EXE_anycast-ctl");
/// Every Debian has this group; the user of the same number is in no other.
const GROUP: (&str, &str) = ("nogroup", "65534");

/// Runs the command line as somebody, and gives its status and what it prints.
fn ask(lab: &Lab, group: &str, arguments: &[&str]) -> Result<(bool, String)> {
    let directory = lab.network.site().directory();
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=65534",
        &format!("--regid={group}"),
        "--clear-groups",
        "--",
    ]);
    command
        .args([DAEMON, "--socket", "gateway.sock"])
        .args(arguments);
    let output = command.current_dir(directory).output()?;
    let said = [output.stdout, output.stderr].concat();
    Ok((
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    ))
}

pub fn read_group() -> Result<()> {
    let mut lab = Lab::up(Path::new(DAEMON), None)?;
    let control = format!(
        "\n[control]\nread_group = \"{}\"\n\n[correspondent]\n",
        GROUP.0
    );
    lab.configure("gateway", "\n[correspondent]\n", &control)?;
    lab.start(&["gateway"])?;
    // The directory of the lab is for root alone.
    let directory = lab.network.site().directory();
    std::fs::set_permissions(directory, Permissions::from_mode(0o711))?;
    for question in ["status", "counters", "bindings", "flows", "metrics"] {
        let (done, said) = ask(&lab, GROUP.1, &[question])?;
        ensure!(done, "{question}: {said}");
    }
    for change in [&["flush", "--all"][..], &["reload"]] {
        let (done, said) = ask(&lab, GROUP.1, change)?;
        ensure!(
            !done && said.contains("may ask and change nothing"),
            "{change:?}: {said}"
        );
    }
    let (done, said) = ask(&lab, "65533", &["status"])?;
    ensure!(
        !done && said.contains("not permitted"),
        "another group: {said}"
    );
    lab.daemon("gateway")?.tell(&["flush", "--all"])?;
    Ok(())
}

/// Why JSON cannot be compared with its schemas here, if so.
pub fn obstacle() -> Option<&'static str> {
    let found = xtask::process::find("jsonschema");
    found
        .is_none()
        .then_some("python3-jsonschema is not installed")
}

/// What each command prints, against the schema that is shipped, by another implementation.
pub fn schemas() -> Result<()> {
    let mut lab = Lab::up(Path::new(DAEMON), None)?;
    let mut report = Report::begin(true);
    report.step("join", "", |evidence| scenario::join(&mut lab, evidence))?;
    let session = report.step("bind", "", |evidence| {
        scenario::open(&lab, "client", evidence)
    })?;
    let b = B.to_string();
    let member = session.server.name;
    for (node, command) in [
        ("router", "status"),
        ("gateway", "status"),
        (member, "status"),
        ("gateway", "status --check"),
        ("router", "groups"),
        (member, "groups"),
        ("router", "members"),
        ("router", "policy list"),
        ("router", &format!("policy explain fe80::11 {b}")),
        ("router", &format!("policy add deny fe80::77 {b}/128")),
        ("router", "reload"),
        ("router", "refusals"),
        ("gateway", "bindings"),
        (member, "handshakes"),
        ("gateway", "flows"),
        (member, "flows"),
        ("gateway", "counters"),
        (member, &format!("drain {b}")),
        (member, &format!("undrain {b}")),
        (member, &format!("leave {b}")),
        (member, &format!("join {b}")),
        ("gateway", &format!("explain {CLIENT} {b}")),
        (member, &format!("explain {CLIENT} {b}")),
        ("router", &format!("explain {CLIENT} {b}")),
        ("gateway", "refusals"),
        ("gateway", "flush --all"),
        (member, "flush --all"),
    ] {
        let mut words: Vec<&str> = command.split(' ').collect();
        words.push("--json");
        let printed = lab.daemon(node)?.tell(&words)?;
        let file = lab.network.site().directory().join("printed.json");
        std::fs::write(&file, printed)?;
        let name = command
            .split(' ')
            .take_while(|word| !word.contains(':') && *word != "--all" && *word != "deny");
        let name = name.collect::<Vec<_>>().join("-");
        let schema = xtask::workspace().join(format!("docs/schema/v1/{name}.json"));
        let output = Command::new("jsonschema")
            .arg("-i")
            .arg(&file)
            .arg(schema)
            .output()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        ensure!(output.status.success(), "{node}: {command}: {said}");
    }
    Ok(())
}

/// A gateway that lost an interface says so, and fails.
/// What `doctor` finds at the gateway, as codes: about the daemon, and about the machine.
fn doctor(lab: &Lab) -> Result<(Vec<String>, Vec<String>)> {
    let directory = lab.network.site().directory();
    // Like `ip netns exec`: with the interfaces of the namespace in /sys.
    let script = "mount -t sysfs sysfs /sys && exec \"$@\"";
    let mut command = lab.network.gateway.command("unshare");
    command.args(["--mount", "sh", "-c", script, "sh", DAEMON]);
    command.arg("--socket").arg(directory.join("gateway.sock"));
    command.arg("doctor");
    command.arg(xtask::workspace().join("examples/gateway.toml"));
    let output = command.arg("--json").output()?;
    let answer: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(answer["ok"] == true, "{answer}");
    let codes = |of: &str| -> Vec<String> {
        let found = answer[of].as_array().into_iter().flatten();
        found
            .filter_map(|it| it["code"].as_str().map(str::to_owned))
            .collect()
    };
    let (daemon, host) = (codes("daemon"), codes("host"));
    let sound = daemon.is_empty() && host.is_empty();
    ensure!(
        output.status.success() == sound,
        "{:?}: {answer}",
        output.status
    );
    Ok((daemon, host))
}

pub fn check() -> Result<()> {
    let mut lab = Lab::up(Path::new(DAEMON), None)?;
    lab.start(&["gateway"])?;
    let gateway = lab.daemon("gateway")?;
    ensure!(gateway.tell(&["status", "--check"])?.is_empty());
    let status = gateway.tell(&["status"])?;
    ensure!(
        status.lines().all(|line| line.chars().count() <= 80),
        "{status}"
    );
    let (daemon, host) = doctor(&lab)?;
    ensure!(daemon.is_empty(), "{daemon:?}");
    ensure!(!host.contains(&"no_interface".to_owned()), "{host:?}");
    netlink::delete(&lab.network.gateway, "clients0")?;
    let missing = xtask::net::wait::poll(
        std::time::Duration::from_secs(30),
        xtask::lab::scenario::ASK_AGAIN,
        "the interface is missed",
        || {
            let status = gateway.ask("status")?;
            let problems = status["problems"].as_array().cloned().unwrap_or_default();
            Ok((!problems.is_empty()).then_some(problems))
        },
    )?;
    let codes: Vec<_> = missing
        .iter()
        .map(|problem| problem["code"].as_str())
        .collect();
    ensure!(codes == [Some("interface_missing")], "{missing:?}");
    let failed = gateway.tell(&["status", "--check", "--json"]).err();
    ensure!(failed.is_some_and(|error| error.to_string().contains("1 problem")));
    let problems: Vec<Value> = missing;
    ensure!(problems[0]["message"] == "there is no interface clients0");

    let (daemon, host) = doctor(&lab)?;
    ensure!(daemon == ["interface_missing"], "{daemon:?}");
    ensure!(host.contains(&"no_interface".to_owned()), "{host:?}");
    lab.kill("gateway")?;
    let (daemon, host) = doctor(&lab)?;
    ensure!(daemon == ["no_daemon"], "{daemon:?}");
    ensure!(host.contains(&"no_interface".to_owned()), "{host:?}");
    Ok(())
}
