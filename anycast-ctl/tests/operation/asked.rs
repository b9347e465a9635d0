//! What users of `read_group` may do, and what `status --check` says.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xtask::{
    json_schema,
    lab::{
        report::Report,
        scenario::{self, SOON},
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

/// A group that is not there keeps its users out, and the daemon runs all the same.
pub fn no_read_group() -> Result<()> {
    let mut lab = Lab::up(Path::new(DAEMON), None)?;
    let control = "\n[control]\nread_group = \"anycast-nobody-has-it\"\n\n[correspondent]\n";
    lab.configure("gateway", "\n[correspondent]\n", control)?;
    lab.start(&["gateway", "router"])?;
    let directory = lab.network.site().directory();
    let mode = std::fs::metadata(directory.join("gateway.sock"))?.permissions();
    ensure!(mode.mode() & 0o777 == 0o600, "{:o}", mode.mode());
    let daemon = lab.daemon("gateway")?;
    daemon.wait_problems(&["read_group"])?;
    lab.daemon("router")?.wait_problems(&[])?;
    Ok(())
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
    let daemon = lab.daemon("gateway")?;
    daemon.tell(&["flush", "--all"])?;
    daemon.wait_problems(&[])?;
    Ok(())
}

/// What each command prints, against the schema that is shipped.
pub fn schemas() -> Result<()> {
    let mut lab = Lab::up(Path::new(DAEMON), None)?;
    let mut report = Report::begin(true);
    report.step("join", "", |evidence| scenario::join(&mut lab, evidence))?;
    let mut monitors = Vec::new();
    for node in ["router", "gateway", "s1", "s2"] {
        monitors.push((node, lab.daemon(node)?.monitor()?));
    }
    let session = report.step("bind", "", |evidence| {
        scenario::open(&lab, "client", evidence)
    })?;
    let directory = lab.network.site().directory().to_owned();
    let validate =
        |command: &str, printed: &str| json_schema::validate(&directory, command, printed);
    let b = B.to_string();
    let member = session.server.name;
    for (node, command, arguments) in [
        ("router", "status", ""),
        ("gateway", "status", ""),
        (member, "status", ""),
        ("gateway", "status --check", ""),
        ("router", "groups", ""),
        (member, "groups", ""),
        ("router", "members", ""),
        ("router", "policy list", ""),
        ("router", "policy explain", &format!("fe80::11 {b}")),
        ("router", "policy add", &format!("deny fe80::77 {b}/128")),
        ("router", "policy remove", "0"),
        ("router", "reload", ""),
        ("router", "refusals", ""),
        ("gateway", "bindings", ""),
        (member, "handshakes", ""),
        ("gateway", "flows", ""),
        (member, "flows", ""),
        ("gateway", "counters", ""),
        (member, "drain", &b),
        (member, "undrain", &b),
        (member, "leave", &b),
        (member, "join", &b),
        ("gateway", "explain", &format!("{CLIENT} {b}")),
        (member, "explain", &format!("{CLIENT} {b}")),
        ("router", "explain", &format!("{CLIENT} {b}")),
        ("gateway", "refusals", ""),
    ] {
        let words = command.split(' ').chain(arguments.split_whitespace());
        let words: Vec<&str> = words.chain(["--json"]).collect();
        let printed = lab.daemon(node)?.tell(&words)?;
        validate(command, &printed).context(node)?;
    }
    for (node, monitor) in monitors {
        let event = match node {
            "router" => "member_joined",
            "gateway" => "binding",
            node if node == member => "handshake",
            _ => continue,
        };
        let kind = format!("\"event\":\"{event}\"");
        monitor.wait_line(SOON, event, 0, |line| line.contains(&kind).then_some(()))?;
        let lines = monitor.tail(usize::MAX);
        for line in lines.iter().filter(|line| line.starts_with('{')) {
            validate("monitor", line).context(node)?;
        }
    }
    // The control: what no command prints is told.
    for (command, wrong) in [
        ("monitor", r#"{"event":"nothing","time":1}"#),
        ("check", "{}"),
    ] {
        ensure!(
            validate(command, wrong).is_err(),
            "{command} may print {wrong}"
        );
    }

    let right = xtask::workspace().join("examples/gateway.toml");
    let wrong = directory.join("wrong.toml");
    std::fs::write(&wrong, "[member]\ninterfaces = 7\n")?;
    let printed = |words: &[&str], file: &Path| -> Result<String> {
        Ok(String::from_utf8(look(&lab, words, file)?.stdout)?)
    };
    for file in [&right, &wrong] {
        validate("check", &printed(&["check"], file)?)?;
        validate("check", &printed(&["check", "--host"], file)?)?;
        validate("doctor", &printed(&["doctor"], file)?)?;
    }
    for node in ["gateway", member] {
        let printed = lab.daemon(node)?.tell(&["flush", "--all", "--json"])?;
        validate("flush", &printed)?;
    }
    lab.kill("gateway")?;
    let alone = look(&lab, &["doctor"], &right)?;
    validate("doctor", &String::from_utf8(alone.stdout)?)?;
    let mut command = lab.network.gateway.command(DAEMON);
    let detached = command.args(["detach", "--json"]).output()?;
    let detached = String::from_utf8(detached.stdout)?;
    let removed: Value = serde_json::from_str(&detached)?;
    ensure!(removed["programs"] != 0, "nothing was pinned: {detached}");
    validate("detach", &detached)
}

/// `check` or `doctor` of this file, at the gateway.
fn look(lab: &Lab, words: &[&str], file: &Path) -> Result<Output> {
    let socket = lab.network.site().directory().join("gateway.sock");
    // Like `ip netns exec`: with the interfaces of the namespace in /sys.
    let script = "mount -t sysfs sysfs /sys && exec \"$@\"";
    let mut command = lab.network.gateway.command("unshare");
    command.args(["--mount", "sh", "-c", script, "sh", DAEMON]);
    command.arg("--socket").arg(socket).args(words).arg(file);
    Ok(command.arg("--json").output()?)
}

/// What `doctor` finds at the gateway, as codes: about the daemon, and about the machine.
fn doctor(lab: &Lab) -> Result<(Vec<String>, Vec<String>)> {
    let file = xtask::workspace().join("examples/gateway.toml");
    let output = look(lab, &["doctor"], &file)?;
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

/// A gateway that lost an interface says so, and fails.
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
