//! Metrics of a lab, read as they are, checked by promtool, and scraped by a real Prometheus.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::{Ipv6Addr, SocketAddr, TcpStream},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xtask::{
    lab::{
        report::Report,
        scenario::{self, ASK_AGAIN},
        stage::Lab,
        topology::{S1, S2},
    },
    net::{Namespace, Process, netlink, wait},
};

const DAEMON: &str = env!("CARGO_BIN_EXE_anycast-ctl");
const METRICS: &str = "[::1]:9472";
const PROMETHEUS: &str = "[::1]:9090";
/// The service of a member fails while there is this file.
const FAILS: &str = "fails";
const SOON: Duration = Duration::from_secs(30);
const OPENMETRICS: &str = "Accept: application/openmetrics-text; version=1.0.0\r\n";

/// Why the tests with Prometheus cannot run here, if so.
pub fn obstacle() -> Option<&'static str> {
    let tools = ["prometheus", "promtool"].map(xtask::process::find);
    tools
        .contains(&None)
        .then_some("prometheus is not installed")
}

/// A lab whose daemons serve metrics, with a session of its client.
fn lab() -> Result<Lab> {
    let mut lab = Lab::up(Path::new(DAEMON), None)?;
    lab.configure("router", "# metrics =", "metrics =")?;
    for (node, section) in [("gateway", "\n[correspondent]\n"), ("s1", "\n[member]\n")] {
        let both = format!("\n[control]\nmetrics = \"{METRICS}\"\n{section}");
        lab.configure(node, section, &both)?;
    }
    lab.start(&["router", "gateway", "s1"])?;
    wait::poll(SOON, ASK_AGAIN, "the router knows the member", || {
        let members = lab.daemon("router")?.list("members")?;
        Ok((members.len() == 1).then_some(()))
    })?;
    Ok(lab)
}

/// Asks by HTTP, and gives the head and the body of the answer.
fn get(from: &Namespace, address: &str, path: &str, header: &str) -> Result<(String, String)> {
    let address: SocketAddr = address.parse()?;
    let answer = from.run(|| {
        let mut stream = TcpStream::connect_timeout(&address, SOON)?;
        stream.set_read_timeout(Some(wait::patience(SOON)))?;
        write!(stream, "GET {path} HTTP/1.0\r\n{header}\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    })?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    Ok((head.to_owned(), body.to_owned()))
}

/// The value of a sample without labels, or with exactly these.
fn sample(text: &str, name: &str) -> Option<f64> {
    let line = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    text.lines().find_map(line)
}

/// Reads what the daemons serve, and compares it with what they say elsewhere.
pub fn served() -> Result<()> {
    let mut lab = lab()?;
    let mut report = Report::begin(true);
    let session = report.step("bind", "", |evidence| {
        scenario::open(&lab, "client", evidence)
    })?;
    let (head, text) = get(&lab.network.gateway, METRICS, "/metrics", OPENMETRICS)?;
    ensure!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    ensure!(head.contains("application/openmetrics-text; version=1.0.0"));
    ensure!(text.ends_with("# EOF\n"));
    let gateway = lab.daemon("gateway")?;
    let care_of = session.care_of;
    for (name, value) in [
        ("anycast_bindings", 1.0),
        (r#"anycast_flows{state="bound"}"#, 1.0),
        (r#"anycast_map_entries{map="bindings"}"#, 1.0),
        (r#"anycast_map_max_entries{map="bindings"}"#, 100_000.0),
        (r#"anycast_interface_up{interface="up0"}"#, 1.0),
        (
            &format!(r#"anycast_care_of_flows{{anycast="2001:db8:a::53",care_of="{care_of}"}}"#),
            1.0,
        ),
    ] {
        ensure!(
            sample(&text, name) == Some(value),
            "{name} is not {value}:\n{text}"
        );
    }
    counted(
        &text,
        care_of,
        [
            ("to_member", "correspondent_to_care_of"),
            ("to_client", "correspondent_from_care_of"),
        ],
    )?;
    let accepted = gateway.counter("controller", "binding_update_accepted")?;
    let (_, text) = get(&lab.network.gateway, METRICS, "/metrics", "")?;
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    let accepted = accepted as f64;
    ensure!(sample(&text, "anycast_binding_update_accepted_total") == Some(accepted));
    ensure!(
        gateway
            .tell(&["metrics"])?
            .contains("# TYPE anycast_bindings gauge")
    );

    let member = lab.network.server(S1);
    let (_, text) = get(member, METRICS, "/metrics", "")?;
    for name in [
        r#"anycast_group_joined{anycast="2001:db8:a::53"}"#.to_owned(),
        format!(r#"anycast_group_sessions{{anycast="2001:db8:a::53",care_of="{care_of}"}}"#),
    ] {
        ensure!(sample(&text, &name) == Some(1.0), "{name}:\n{text}");
    }
    counted(
        &text,
        care_of,
        [
            ("to_member", "member_from_care_of"),
            ("to_client", "member_to_care_of"),
        ],
    )?;
    let measured = sample(&text, "anycast_handshake_duration_seconds_count");
    ensure!(measured.is_some_and(|count| count >= 1.0), "{measured:?}");
    let (_, text) = get(&lab.network.router, METRICS, "/metrics", "")?;
    let querier = r#"anycast_querier{interface="lan0",querier="fe80::1"}"#;
    ensure!(sample(&text, querier) == Some(1.0), "{text}");
    ensure!(sample(&text, "anycast_routes") == Some(1.0), "{text}");
    let changed = sample(&text, "anycast_route_change_duration_seconds_count");
    ensure!(changed.is_some_and(|count| count >= 1.0), "{text}");

    let (head, _) = get(&lab.network.router, METRICS, "/", "")?;
    ensure!(head.starts_with("HTTP/1.1 404 "), "{head}");
    documented(&lab)?;
    late(&mut lab)?;
    of_health_and_queries(lab)
}

/// The service of a member fails, and a router asks when it starts.
fn of_health_and_queries(mut lab: Lab) -> Result<()> {
    let b = "{anycast=\"2001:db8:a::53\"}";
    let healthy = format!("anycast_group_healthy{b}");
    let read = |lab: &Lab| -> Result<String> { lab.daemon(S2.name)?.tell(&["metrics"]) };
    let text = read(&lab)?;
    ensure!(sample(&text, &healthy) == Some(1.0), "{text}");
    let checks = "anycast_health_check_duration_seconds_count";
    ensure!(
        sample(&text, checks).is_some_and(|count| count >= 1.0),
        "{text}"
    );
    let lasts = sample(&text, &format!("anycast_group_health_age_seconds{b}"));
    ensure!(lasts.is_some_and(|age| age > 0.0), "{text}");
    fs::write(lab.network.site().directory().join(FAILS), "")?;
    wait::poll(SOON, ASK_AGAIN, "the service fails", || {
        let text = read(&lab)?;
        let joined = sample(&text, &format!("anycast_group_joined{b}"));
        Ok((sample(&text, &healthy) == Some(0.0) && joined == Some(0.0)).then_some(()))
    })?;

    let asked = Instant::now();
    lab.restart("router")?;
    let age = "anycast_last_query_age_seconds{interface=\"eth0\"}";
    wait::poll(SOON, ASK_AGAIN, "the Query is heard", || {
        let text = lab.daemon("s1")?.tell(&["metrics"])?;
        let since = asked.elapsed().as_secs_f64();
        Ok(sample(&text, age).filter(|age| *age < since).map(drop))
    })
}

/// The one pair of addresses that is used has all packets that the counters have, and their octets.
fn counted(text: &str, care_of: Ipv6Addr, directions: [(&str, &str); 2]) -> Result<()> {
    for (direction, counter) in directions {
        let labels =
            format!(r#"anycast="2001:db8:a::53",care_of="{care_of}",direction="{direction}""#);
        let of = |name: &str| {
            let name = format!("anycast_traffic_{name}_total{{{labels}}}");
            sample(text, &name).with_context(|| format!("no {name}:\n{text}"))
        };
        let (packets, octets) = (of("packets")?, of("octets")?);
        let all = sample(text, &format!("anycast_{counter}_total"));
        ensure!(
            packets > 0.0 && all == Some(packets),
            "{packets}, not {all:?}"
        );
        // An IPv6 and a TCP header each, at least.
        ensure!(octets >= 60.0 * packets, "{octets} octets of {packets}");
    }
    Ok(())
}

/// The address by which people watch may come when the daemon runs, or never.
fn late(lab: &mut Lab) -> Result<()> {
    let address: Ipv6Addr = "2001:db8:9::9".parse()?;
    let metrics = format!("[{address}]:9472");
    let both = format!("\n[control]\nmetrics = \"{metrics}\"\n\n[member]\n");
    lab.configure(S2.name, "\n[member]\n", &both)?;
    let fails = lab.network.site().directory().join(FAILS);
    let health = format!(
        "health = {{ type = \"command\", command = [\"test\", \"!\", \"-e\", \"{}\"], interval = \"1s\", \
         timeout = \"1s\", rise = 1, fall = 1 }}",
        fails.display()
    );
    lab.configure(S2.name, "join = \"start\"", &health)?;
    lab.start(&[S2.name])?;
    let daemon = lab.daemon(S2.name)?;
    daemon.wait_problems(&["metrics_not_served"])?;
    let node = lab.network.server(S2);
    netlink::address(node, "lo", address, 128)?;
    daemon.wait_problems(&[])?;
    let (head, _) = get(node, &metrics, "/metrics", "")?;
    ensure!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    Ok(())
}

/// A member without health checks has none of their metrics, one that has just started may have heard no Query, and a
/// gateway without a bus has nothing to say of a fleet. Other tests see these.
const UNSEEN: [&str; 3] = ["_health", "_last_query_", "_fleet_"];

/// Every family that is no counter is in the documents, and no other is.
fn documented(lab: &Lab) -> Result<()> {
    let nodes = [
        &lab.network.router,
        &lab.network.gateway,
        lab.network.server(S1),
    ];
    let mut served = BTreeSet::new();
    let mut samples = BTreeSet::new();
    for node in nodes {
        let (_, text) = get(node, METRICS, "/metrics", OPENMETRICS)?;
        samples.extend(metric_names(&text));
        let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let kinds = kinds.filter_map(|line| line.split_once(' '));
        let gauges = kinds.filter(|(_, kind)| *kind != "counter");
        served.extend(gauges.map(|(name, _)| name.to_owned()));
    }
    let text = fs::read_to_string(xtask::workspace().join("docs/running.md"))?;
    let rows = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `anycast_"));
    let names = rows.filter_map(|row| row.split(['`', '{']).next());
    let told: BTreeSet<_> = names.map(|name| format!("anycast_{name}")).collect();
    let (more, less): (Vec<_>, Vec<_>) = (
        served.difference(&told).collect(),
        told.difference(&served).collect(),
    );
    let less: Vec<_> = less
        .iter()
        .filter(|name| !UNSEEN.iter().any(|part| name.contains(part)))
        .collect();
    ensure!(
        more.is_empty() && less.is_empty(),
        "not told {more:?}, not there {less:?}"
    );
    // Rules and dashboard ask for nothing else.
    samples.extend(told);
    for file in ["prometheus/anycast.rules.yml", "grafana/anycast.json"] {
        let text = fs::read_to_string(xtask::workspace().join("contrib").join(file))?;
        let asked = metric_names(&text);
        let unknown: Vec<_> = asked.difference(&samples).collect();
        ensure!(
            asked.len() > 8 && unknown.is_empty(),
            "{file} asks for {unknown:?} of {asked:?}"
        );
    }
    ensure!(samples.is_disjoint(&metric_names("rate(anycast_nothing_total{a=\"b\"}[5m])")));
    Ok(())
}

/// The names of metrics in a text.
fn metric_names(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_lowercase() && letter != '_');
    let names = words.filter(|word| word.starts_with("anycast_"));
    names.map(str::to_owned).collect()
}

/// Checks text and rules by promtool, and puts every question of the dashboard to a Prometheus that scrapes the lab.
pub fn prometheus() -> Result<()> {
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
