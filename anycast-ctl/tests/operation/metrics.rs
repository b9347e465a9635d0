//! Metrics of a lab, read as they are, and compared with what the daemons say elsewhere and what documents tell.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::{Ipv6Addr, SocketAddr, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use xtask::{
    lab::{
        report::Report,
        scenario::{self, ASK_AGAIN},
        stage::Lab,
        topology::{S1, S2},
    },
    net::{Namespace, netlink, wait},
};

const DAEMON: &str = env!("CARGO_BIN_EXE_anycast-ctl");
pub(super) const METRICS: &str = "[::1]:9472";
/// The service of a member fails while there is this file.
const FAILS: &str = "fails";
pub(super) const SOON: Duration = Duration::from_secs(30);
const OPENMETRICS: &str = "Accept: application/openmetrics-text; version=1.0.0\r\n";

/// A lab whose daemons serve metrics, with a session of its client.
pub(super) fn lab() -> Result<Lab> {
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
pub(super) fn get(
    from: &Namespace,
    address: &str,
    path: &str,
    header: &str,
) -> Result<(String, String)> {
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
