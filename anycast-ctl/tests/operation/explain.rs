//! Each answer of `explain`, provoked in a lab.

use std::{
    net::{Ipv6Addr, SocketAddr, UdpSocket},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use xtask::{
    lab::{
        report::Report,
        scenario::{self, ASK_AGAIN, SOON},
        stage::Lab,
        topology::{B, CLIENT, S1, SERVICE},
    },
    net::{netlink, wait},
};

/// A port at which nobody answers.
const SILENT: u16 = 9;
const DAEMON: &str = env!("CARGO_BIN_EXE_anycast-ctl");

/// What a node says, and the code of its answer.
fn explain(lab: &Lab, node: &str, client: &str, anycast: &str) -> Result<(String, Value)> {
    let said = lab
        .daemon(node)?
        .tell(&["explain", client, anycast, "--json"])?;
    let said: Value = serde_json::from_str(&said)?;
    let code = said["roles"][0]["code"].as_str().context("no code")?;
    Ok((code.to_owned(), said))
}

fn must_be(lab: &Lab, node: &str, client: &str, anycast: &str, expected: &str) -> Result<Value> {
    let (code, said) = explain(lab, node, client, anycast)?;
    ensure!(
        code == expected,
        "{node} says {code}, not {expected}: {said}"
    );
    Ok(said)
}

pub fn answers() -> Result<()> {
    let mut lab = Lab::up(Path::new(DAEMON), None)?;
    let (a, b) = (CLIENT.to_string(), B.to_string());
    lab.start(&["router", "gateway"])?;
    must_be(&lab, "router", &a, &b, "no_member")?;
    must_be(&lab, "gateway", "2001:db8:77::1", &b, "client_not_covered")?;
    must_be(
        &lab,
        "gateway",
        &a,
        "2001:db8:77::53",
        "anycast_not_allowed",
    )?;
    must_be(&lab, "gateway", &a, &b, "not_bound")?;

    lab.start(&["s1", "s2"])?;
    wait::poll(SOON, ASK_AGAIN, "both are members", || {
        let members = lab.daemon("router")?.list("members")?;
        Ok((members.len() == 2).then_some(()))
    })?;
    let said = must_be(&lab, "router", &a, &b, "members")?;
    ensure!(said["ways"][1]["next_hop"].is_string(), "{said}");
    let mut report = Report::begin(true);
    let session = report.step("bind", "", |evidence| {
        scenario::open(&lab, "client", evidence)
    })?;
    let care_of = session.care_of.to_string();
    let said = must_be(&lab, "gateway", &a, &b, "bound")?;
    ensure!(said["bindings"][0]["care_of"] == care_of, "{said}");
    ensure!(said["flows"][0]["state"] == "bound", "{said}");
    let way = &said["ways"][2];
    ensure!(way["to"] == care_of && way["interface"] == "up0", "{way}");
    ensure!(way["mtu"] == 1500, "{way}");
    // The session's packets go there.
    ensure!(way["neighbour"].is_string(), "{way}");
    let of_c = |name: &str| {
        let limits = said["limits"].as_array().into_iter().flatten();
        let mut found = limits.filter(|limit| limit["limit"] == name);
        found
            .next()
            .map(|limit| (limit["used"].clone(), limit["care_of"].clone()))
    };
    ensure!(
        of_c("max_bindings_per_member") == Some((1.into(), care_of.clone().into())),
        "{said}"
    );
    ensure!(
        of_c("max_bindings").is_some_and(|(used, _)| used == 1),
        "{said}"
    );
    // What the path is known to carry counts, and not the link alone.
    let gateway = &lab.network.gateway;
    let via = way["next_hop"].as_str().context("no next hop")?.to_owned();
    let route = format!("{care_of}/128 via {via} dev up0 mtu 1400");
    crate::host::ip(gateway, &format!("route add {route}"))?;
    let narrow = must_be(&lab, "gateway", &a, &b, "bound")?;
    ensure!(narrow["ways"][2]["mtu"] == 1400, "{narrow}");
    crate::host::ip(gateway, &format!("route del {route}"))?;
    let member = session.server.name;
    let said = must_be(&lab, member, &a, &b, "bound")?;
    ensure!(
        said["handshakes"][0]["last_answer"]["status"] == 0,
        "{said}"
    );
    must_be(&lab, member, &a, "2001:db8:a::99", "not_a_group")?;
    must_be(&lab, member, "2001:db8:1::200", &b, "client_unknown")?;

    // A client without a gateway, whose kernel does not know the Mobility Header.
    let plain = lab.visit("plain", false)?;
    let (server, local) = (plain.server().to_owned(), plain.connected["local"].clone());
    let plain_client = local.as_str().context("no address")?;
    let plain_client: std::net::SocketAddrV6 = plain_client.parse()?;
    let plain_client = plain_client.ip().to_string();
    let words = wait::poll(SOON, ASK_AGAIN, "the member gives up", || {
        let (_, said) = explain(&lab, &server, &plain_client, &b)?;
        let words = said["roles"][0]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        Ok(words.contains("no gateway with this role").then_some(words))
    })?;
    ensure!(
        words.contains("its last answer was a parameter problem"),
        "{words}"
    );

    let other = if member == "s1" { "s2" } else { "s1" };
    lab.daemon(other)?.tell(&["leave", &b])?;
    must_be(&lab, other, "2001:db8:1::200", &b, "not_joined")?;
    let text = lab.daemon("gateway")?.tell(&["explain", &a, &b])?;
    ensure!(
        text.starts_with("correspondent: bound: new flows go to "),
        "{text}"
    );
    Ok(())
}

/// Those that take a group without C, a service that does not answer, or some time.
pub fn others() -> Result<()> {
    let mut lab = Lab::up(Path::new(DAEMON), None)?;
    let (a, b) = (CLIENT.to_string(), B.to_string());
    lab.configure("s2", "care_of = \"2001:db8:20::c2\"", "")?;
    lab.configure("s1", "not_capable = \"45s\"", "not_capable = \"3s\"")?;
    lab.start(&["router", "gateway", "s1", "s2"])?;
    must_be(&lab, "s2", &a, &b, "no_care_of")?;
    must_be(&lab, "s1", &a, &b, "client_unknown")?;
    lab.daemon("s2")?.tell(&["leave", &b])?;
    wait::poll(SOON, ASK_AGAIN, "s1 alone is a member", || {
        let members = lab.daemon("router")?.list("members")?;
        let ours = members.iter().all(|member| member["member"] == "fe80::11");
        Ok((members.len() == 1 && ours).then_some(()))
    })?;

    must_be(&lab, "gateway", &a, &b, "not_bound")?;
    let server = lab.network.server(S1);
    let _silent = server.run(|| Ok(UdpSocket::bind((B, SILENT))?))?;
    let socket = || {
        let client = &lab.network.client;
        client.run(|| Ok(UdpSocket::bind((CLIENT, 0))?))
    };
    wait::poll(SOON, ASK_AGAIN, "the client is bound", || {
        socket()?.send_to(b"?", (B, SILENT))?;
        Ok((explain(&lab, "gateway", &a, &b)?.0 == "bound").then_some(()))
    })?;
    // A flow that the binding takes to C, where nobody answers it.
    let socket = socket()?;
    let said = wait::poll(4 * SOON, ASK_AGAIN, "a trial fails", || {
        socket.send_to(b"?", (B, SILENT))?;
        let (code, said) = explain(&lab, "gateway", &a, &b)?;
        Ok((code == "trial_failed").then_some(said))
    })?;
    let words = said["roles"][0]["message"].as_str().unwrap_or_default();
    ensure!(words.contains("2001:db8:20::c1"), "{said}");
    // For another service it is not left alone.
    must_be(&lab, "gateway", &a, "2001:db8:a::54", "not_bound")?;

    let plain = lab.visit("plain", false)?;
    let local = plain.connected["local"].as_str().context("no address")?;
    let plain_client: std::net::SocketAddrV6 = local.parse()?;
    let plain_client = plain_client.ip().to_string();
    for code in ["back_off", "resting"] {
        wait::poll(SOON, ASK_AGAIN, code, || {
            let (found, _) = explain(&lab, "s1", &plain_client, &b)?;
            Ok((found == code).then_some(()))
        })?;
    }
    Ok(())
}

/// Connects from another address of the client's machine, and gives that.
fn second_client(lab: &Lab) -> Result<(String, Socket)> {
    let address: Ipv6Addr = "2001:db8:1::200".parse()?;
    let client = &lab.network.client;
    netlink::address(client, "eth0", address, 64)?;
    let socket = client.run(|| {
        let socket = Socket::new(Domain::IPV6, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((address, 0)).into())?;
        socket.connect_timeout(&SocketAddr::from((B, SERVICE)).into(), SOON)?;
        Ok(socket)
    })?;
    Ok((address.to_string(), socket))
}

/// A gateway remembers what it refused, as a router does.
pub fn refusals() -> Result<()> {
    let mut lab = Lab::up(Path::new(DAEMON), None)?;
    // One binding is permitted, and the second client of the member has none.
    lab.configure(
        "gateway",
        "max_bindings = 100000",
        "max_bindings = 100000\nmax_bindings_per_member = 1",
    )?;
    lab.start(&["router", "gateway", "s1"])?;
    wait::poll(SOON, ASK_AGAIN, "the member is known", || {
        let members = lab.daemon("router")?.list("members")?;
        Ok((members.len() == 1).then_some(()))
    })?;
    let mut report = Report::begin(true);
    report.step("bind", "", |evidence| {
        scenario::open(&lab, "client", evidence)
    })?;
    let (second, _connection) = second_client(&lab)?;
    wait::poll(SOON, ASK_AGAIN, "the refusal is remembered", || {
        let (code, said) = explain(&lab, "gateway", &second, &B.to_string())?;
        let reason = &said["refusals"][0]["reason"];
        Ok((code == "refused" && reason == "binding_member_full").then_some(()))
    })?;
    // Of another service nothing was refused.
    let other = "2001:db8:a::54";
    let said = must_be(&lab, "gateway", &second, other, "not_bound")?;
    ensure!(said["refusals"] == serde_json::json!([]), "{said}");
    let said = lab.daemon("gateway")?.tell(&["refusals"])?;
    ensure!(
        said.contains("binding_member_full") && said.contains(&second),
        "{said}"
    );
    Ok(())
}
