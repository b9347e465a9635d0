//! Steps 2, 3 and 6: sessions begin, with a gateway and without one.

use std::{net::Ipv6Addr, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    lab::{
        report::Evidence,
        stage::Lab,
        topology::{B, CLIENT, PLAIN, S1, S2, Server},
        verdict::{Otherwise as _, expect},
        visitor::Visitor,
    },
    net::{capture, wait},
};

use super::{
    close::Account,
    handshake,
    join::tell,
    plan::{ASK_AGAIN, MIB, SOON},
    proof,
    session::Session,
};

/// The time that a lifetime of 1 means when the E bit is set.
const LIFETIME: Duration = Duration::from_secs(16);

/// Octets of an exchange that fills no segment.
const FEW: u64 = 512;

/// Name of the correspondent's map of bindings.
const MAP: &str = "BINDINGS";

/// Opens a session of the client behind the gateway, and follows it until its packets carry the care-of address C.
pub fn open(lab: &Lab, name: &'static str, evidence: &mut Evidence<'_>) -> Result<Session> {
    let since = capture::now();
    let visitor = lab.visit(name, true)?;
    let server = answered(&visitor, CLIENT, evidence)?;
    let care_of = server.care_of.context("the rogue has no care-of address")?;
    let port = visitor.port()?;
    let bound_at = handshake::follow(lab, since, port, (server.name, care_of), evidence)?;
    let binding = binding(lab, |binding| is(binding, "care_of", care_of))?;
    let steered = steered(lab)?;
    expect(
        steered == Some(care_of),
        format_args!("{care_of} in the gateway's map {MAP}"),
        format_args!("{steered:?}"),
    )?;
    evidence.fact(format_args!(
        "gateway's BPF map {MAP}: ({CLIENT}, {B}) -> {care_of}, {:.1} s left",
        binding["remaining_seconds"].as_f64().unwrap_or(f64::NAN)
    ));
    let mut session = Session {
        visitor,
        server,
        care_of,
        port,
        bound_at,
    };
    led(lab, &mut session)?;
    let links = ["gateway-router", "client-gateway"];
    let (event, [core, edge]) = proof::transfer(lab, &mut session, MIB, SOON, links)?;
    core.must_be_by_care_of(links[0])?;
    let [up, down] = core.by_care_of.map(|tally| tally.packets);
    evidence.fact(format_args!(
        "gateway-router, 1 MiB each way: all {up} packets to the member and all {down} to the \
         client carry {care_of}, none carries {B}"
    ));
    let hidden = edge.by_care_of.iter().all(|tally| tally.packets == 0);
    let shown = Visitor::shows_anycast(&event, CLIENT);
    expect(
        hidden && shown,
        "the client's link and both ends' sockets show B only",
        format_args!("{event}, on the link {edge:?}"),
    )?;
    evidence.fact(format_args!(
        "sockets, after that: client's peer {}, server's own {}, server's peer {}",
        text(&event, "peer"),
        text(&event, "server_local"),
        text(&event, "server_peer"),
    ));
    Ok(session)
}

/// Exchanges a few octets at a time until a whole exchange carries C. The session began before its binding, so it is
/// its member that leads it to C, by one of its next packets.
fn led(lab: &Lab, session: &mut Session) -> Result<()> {
    const LINK: &str = "gateway-router";
    wait::poll(SOON, ASK_AGAIN, "the session carries C", || {
        let (_, [core]) = proof::transfer(lab, session, FEW, SOON, [LINK])?;
        Ok(core.must_be_by_care_of(LINK).ok())
    })
}

/// Opens a session of the client without a gateway.
pub(super) fn open_plain(
    lab: &Lab,
    session: &Session,
    evidence: &mut Evidence<'_>,
) -> Result<Visitor> {
    let since = capture::now();
    let mut plain = lab.visit("plain", false)?;
    let server = answered(&plain, PLAIN, evidence)?;
    expect(
        server == session.server,
        format_args!("{}, where the route leads", session.server.name),
        server.name,
    )?;
    plain.transfer(MIB, MIB, SOON)?;
    let ledger = lab.capture("plain-router")?.ledger();
    let (by_care_of, told) = ledger.read(|ledger| {
        let care_of = [S1, S2].map(|server| server.care_of);
        let by_care_of = ledger.sum(|flow| {
            care_of.contains(&Some(flow.source.0)) || care_of.contains(&Some(flow.destination.0))
        });
        let told: Vec<_> = ledger.messages(since, |_| true).cloned().collect();
        (by_care_of.packets, told)
    });
    told.iter().for_each(|message| tell(evidence, message));
    expect(
        by_care_of == 0,
        "plain's packets carry B only",
        format_args!("{by_care_of} with a care-of address"),
    )?;
    let bindings = lab.daemon("gateway")?.list("bindings")?;
    expect(
        bindings.iter().all(|binding| is(binding, "client", CLIENT)),
        "no binding for plain",
        format_args!("{bindings:?}"),
    )?;
    evidence.fact("plain-router, 1 MiB each way: every packet carries B; no binding anywhere");
    Ok(plain)
}

/// Waits until the binding has expired, and opens a new session, which must go to another member.
pub(super) fn rebind(
    lab: &Lab,
    mut old: Session,
    other: Server,
    evidence: &mut Evidence<'_>,
) -> Result<[Account; 2]> {
    evidence.progress("the rest of the binding's 16 s; the session does not need it any more");
    let ask = || lab.daemon("gateway")?.list("bindings");
    let what = "the binding expires";
    wait::poll(LIFETIME + SOON, Duration::from_millis(200), what, || {
        Ok(ask()?.is_empty().then_some(()))
    })
    .otherwise("gateway", || format!("bindings: {:?}", ask()))?;
    let lived = Duration::from_nanos(capture::now() - old.bound_at);
    expect(
        lived + Duration::from_millis(500) > LIFETIME,
        format_args!("a life of {} s", LIFETIME.as_secs()),
        format_args!("gone after {:.1} s", lived.as_secs_f64()),
    )?;
    let steered = steered(lab)?;
    expect(
        steered.is_none(),
        format_args!("nothing in the gateway's map {MAP}"),
        format_args!("{steered:?}"),
    )?;
    evidence.fact(format_args!(
        "gateway's BPF map {MAP}: nothing for {CLIENT}, {:.1} s after the BA",
        lived.as_secs_f64()
    ));
    let new = open(lab, "client2", evidence)?;
    expect(
        new.server == other,
        format_args!("an answer by {}", other.name),
        new.server.name,
    )?;
    let (_, [core]) = proof::transfer(lab, &mut old, MIB, SOON, ["gateway-router"])?;
    core.must_be_by_care_of("gateway-router")?;
    evidence.fact(format_args!(
        "the first session still goes to {} by {}, beside the new one",
        old.server.name, old.care_of
    ));
    let first = finish("client", old, evidence)?;
    let second = finish("client2", new, evidence)?;
    Ok([first, second])
}

/// Ends a session in order.
fn finish(
    client: &'static str,
    mut session: Session,
    evidence: &mut Evidence<'_>,
) -> Result<Account> {
    session.visitor.tell("finish")?;
    let end = session.visitor.event("finished", SOON)?;
    evidence.fact(format_args!(
        "{client}: closed in order, {} octets sent, {} received, all verified",
        end["sent"], end["received"]
    ));
    Ok(Account {
        client,
        server: session.server.name,
        by: session.care_of,
        sent: end["sent"].as_u64().unwrap_or(0),
        received: end["received"].as_u64().unwrap_or(0),
        end: "closed by the client".to_owned(),
    })
}

/// The server that answered. Fails unless the sockets at both ends show the client and B.
fn answered(visitor: &Visitor, client: Ipv6Addr, evidence: &mut Evidence<'_>) -> Result<Server> {
    let hello = &visitor.connected;
    let known = [S1, S2]
        .into_iter()
        .find(|server| server.name == visitor.server());
    let Some(server) = known else {
        expect(false, "an answer by a member", hello)?;
        unreachable!("a false condition is an error");
    };
    expect(
        Visitor::shows_anycast(hello, client),
        format_args!("both ends' sockets show {client} and {B}"),
        hello,
    )?;
    evidence.fact(format_args!(
        "answered by {} in {:.1} ms; the sockets: {} <-> {}",
        server.name,
        hello["seconds"].as_f64().unwrap_or(f64::NAN) * 1e3,
        text(hello, "local"),
        text(hello, "peer"),
    ));
    Ok(server)
}

/// Waits for a binding of the client in the gateway's map.
fn binding(lab: &Lab, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    let ask = || lab.daemon("gateway")?.list("bindings");
    wait::poll(SOON, ASK_AGAIN, "the binding in the gateway's map", || {
        Ok(ask()?.into_iter().find(&wanted))
    })
    .otherwise("gateway", || format!("bindings: {:?}", ask()))
}

/// The care-of address to which the gateway's XDP programs send new flows of the client, read from the kernel.
pub fn steered(lab: &Lab) -> Result<Option<Ipv6Addr>> {
    // The key is A and B. The value begins with C.
    let key = [CLIENT.octets(), B.octets()].concat();
    let value = lab.daemon("gateway")?.map_entry(MAP, &key)?;
    Ok(value.and_then(|value| Some(Ipv6Addr::from(*value.first_chunk::<16>()?))))
}

fn is(value: &Value, field: &str, address: Ipv6Addr) -> bool {
    value[field].as_str().and_then(|text| text.parse().ok()) == Some(address)
}

fn text<'a>(event: &'a Value, field: &str) -> &'a str {
    event[field].as_str().unwrap_or("nothing")
}
