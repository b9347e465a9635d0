//! Metrics of a lab as a real Prometheus scrapes them, with the rules and the dashboard that come with the daemon.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xtask::{
    lab::{scenario::ASK_AGAIN, stage::Lab, topology::S1},
    net::{Namespace, Process, wait},
};

use crate::metrics::{METRICS, SOON, get, lab};

const PROMETHEUS: &str = "[::1]:9090";

/// Why the tests with Prometheus cannot run here, if so.
pub fn obstacle() -> Option<&'static str> {
    let tools = ["prometheus", "promtool"].map(xtask::process::find);
    tools
        .contains(&None)
        .then_some("prometheus is not installed")
}

/// Checks text and rules by promtool, and puts every question of the dashboard to a Prometheus that scrapes the lab.
pub fn scraped() -> Result<()> {
    let lab = lab()?;
    let contrib = xtask::workspace().join("contrib");
    let rules = contrib.join("prometheus/anycast.rules.yml");
    promtool(&["check", "rules", &rules.to_string_lossy()], "")?;
    let test = contrib.join("prometheus/anycast.rules.test.yml");
    promtool(&["test", "rules", &test.to_string_lossy()], "")?;
    for node in [
        &lab.network.router,
        &lab.network.gateway,
        lab.network.server(S1),
    ] {
        let (_, text) = get(node, METRICS, "/metrics", "")?;
        promtool(&["check", "metrics"], &text)?;
    }

    let gateway = &lab.network.gateway;
    let _prometheus = scraping(&lab, &rules)?;
    let ask = |question: &str| query(gateway, question);
    wait::poll(SOON, ASK_AGAIN, "Prometheus has scraped", || {
        let up = ask(r#"up{job="anycast"} == 1"#).unwrap_or_default();
        Ok((!up.is_empty()).then_some(()))
    })?;
    for (question, value) in [
        ("anycast_bindings", "0"),
        ("anycast_interface_attached{interface=\"up0\"}", "1"),
        ("anycast_binding_update_accepted_total", "0"),
        (
            "count(anycast_refused_total{message=\"binding_update\"}) > bool 10",
            "1",
        ),
        // Those that wait for their time, too.
        ("count(ALERTS) or vector(0)", "0"),
    ] {
        let said = ask(question)?;
        let values: Vec<_> = said
            .iter()
            .filter_map(|row| row["value"][1].as_str())
            .collect();
        ensure!(values == [value], "{question}: {said:?}");
    }
    let dashboard = fs::read_to_string(contrib.join("grafana/anycast.json"))?;
    let dashboard: Value = serde_json::from_str(&dashboard)?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    for target in targets.flatten() {
        let question = target["expr"].as_str().context("no question")?;
        let question = question
            .replace("$instance", ".*")
            .replace("$__rate_interval", "1m");
        ask(&question).with_context(|| question.clone())?;
    }
    Ok(())
}

fn promtool(arguments: &[&str], input: &str) -> Result<()> {
    let mut child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child
        .stdin
        .take()
        .context("no input")?
        .write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    ensure!(
        output.status.success(),
        "promtool {}: {said}",
        arguments.join(" ")
    );
    Ok(())
}

/// A Prometheus beside the gateway, which scrapes it each second.
fn scraping(lab: &Lab, rules: &Path) -> Result<Process> {
    let directory = lab.network.site().directory();
    let config = directory.join("prometheus.yml");
    let rules = rules.display();
    fs::write(
        &config,
        format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: ['{rules}']\n\
             scrape_configs:\n\
             - job_name: anycast\n  static_configs: [{{targets: ['{METRICS}']}}]\n"
        ),
    )?;
    let mut command = lab.network.gateway.command("prometheus");
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!(
        "--storage.tsdb.path={}",
        directory.join("tsdb").display()
    ));
    command.arg(format!("--web.listen-address={PROMETHEUS}"));
    Process::start("prometheus", command, &directory.join("prometheus.log"))
}

/// The rows that answer a question to Prometheus.
fn query(from: &Namespace, question: &str) -> Result<Vec<Value>> {
    let encoded: String = question
        .bytes()
        .map(|byte| format!("%{byte:02x}"))
        .collect();
    let path = format!("/api/v1/query?query={encoded}");
    let (_, body) = get(from, PROMETHEUS, &path, "Host: localhost\r\n")?;
    let mut answer: Value = serde_json::from_str(&body).with_context(|| body.clone())?;
    ensure!(answer["status"] == "success", "{question}: {answer}");
    match answer["data"]["result"].take() {
        Value::Array(rows) => Ok(rows),
        other => Ok(vec![other]),
    }
}
