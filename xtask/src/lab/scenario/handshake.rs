//! The handshake, as the link between gateway and router shows it.

use std::net::Ipv6Addr;

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    lab::{
        report::Evidence,
        stage::Lab,
        topology::{B, CLIENT, SERVICE},
        verdict::{Otherwise as _, expect},
    },
    net::{
        capture::{Flow, Ledger, Message},
        packet::{Upper, mobility},
    },
};

use super::{SOON, join::tell};

/// The A bit of a Binding Update, and the E bit.
const A: u16 = 0x8000;
const E: u16 = 0x0400;

/// Waits for a whole handshake with this member, tells it, and gives the time of its end.
pub(super) fn follow(
    lab: &Lab,
    since: u64,
    port: u16,
    (member, care_of): (&'static str, Ipv6Addr),
    evidence: &mut Evidence<'_>,
) -> Result<u64> {
    let ledger = lab.capture("gateway-router")?.ledger();
    let what = "HoTI, CoTI, HoT, CoT, BU and BA on gateway-router";
    let messages = ledger
        .wait(SOON, what, |ledger| find(ledger, since, care_of))
        .otherwise("gateway", || {
            ledger.read(|ledger| {
                let all = ledger.messages(since, |_| true);
                let all: Vec<_> = all
                    .map(|message| message.packet.upper.to_string())
                    .collect();
                format!("[{}]", all.join(", "))
            })
        })?;
    let first = ledger.read(|ledger| {
        let (client, server) = ((CLIENT, port), (B, SERVICE));
        [(client, server), (server, client)].map(|(source, destination)| {
            let flow = Flow {
                source,
                destination,
            };
            ledger
                .flows
                .get(&flow)
                .map_or(u64::MAX, |tally| tally.first)
        })
    });
    let (client, anycast) = (CLIENT.to_string(), B.to_string());
    let syn = format!("{client:>18} > {anycast:<18} TCP: the first packet");
    let answer = format!("{anycast:>18} > {client:<18} TCP: the answer");
    let [update, ack] = [&messages[4], &messages[5]];
    evidence.event(first[0], syn);
    if first[1] <= messages[0].time {
        evidence.event(first[1], &answer);
    }
    messages.iter().for_each(|message| tell(evidence, message));
    if first[1] > messages[0].time {
        evidence.event(first[1], &answer);
    }
    in_order(&messages, first)?;
    let right = match update.packet.upper {
        Upper::Mobility {
            flags,
            lifetime,
            care_of: told,
            ..
        } => flags & (A | E) == A | E && lifetime == 1 && told == Some(care_of),
        _ => false,
    };
    expect(
        right,
        format_args!("a Binding Update with A and E, lifetime 1 and care-of {care_of}"),
        &update.packet.upper,
    )?;
    let accepted = matches!(
        ack.packet.upper,
        Upper::Mobility {
            flags: 0,
            lifetime: 1,
            ..
        }
    );
    expect(
        accepted,
        "an acknowledgement with status 0 and lifetime 1",
        &ack.packet.upper,
    )?;
    let data: Vec<_> = messages.iter().map(as_json).collect();
    evidence.keep(&format!("handshake_{member}"), data);
    Ok(ack.time)
}

/// The six messages, each between the addresses that it must have.
fn find(ledger: &Ledger, since: u64, care_of: Ipv6Addr) -> Option<Vec<Message>> {
    let expected = [
        (mobility::HOTI, B, CLIENT),
        (mobility::COTI, care_of, CLIENT),
        (mobility::HOT, CLIENT, B),
        (mobility::COT, CLIENT, care_of),
        (mobility::BU, B, CLIENT),
        (mobility::BA, CLIENT, B),
    ];
    let find = |(wanted, source, destination)| {
        let mut found = ledger.messages(since, move |packet| {
            (packet.source, packet.destination) == (source, destination)
                && matches!(packet.upper, Upper::Mobility { kind, .. } if kind == wanted)
        });
        found.next().cloned()
    };
    expected.into_iter().map(find).collect()
}

/// The data goes first and does not wait; each message follows what it answers.
fn in_order(messages: &[Message], [first, answer]: [u64; 2]) -> Result<()> {
    let [hoti, coti, hot, cot, update, ack] = [0, 1, 2, 3, 4, 5].map(|index| messages[index].time);
    let ordered = first <= hoti.min(coti)
        && hoti <= hot
        && coti <= cot
        && hot.max(cot) <= update
        && update <= ack
        && answer <= ack;
    expect(
        ordered,
        "first packet, HoTI and CoTI, HoT and CoT, BU, BA; and the answer before the end of that",
        format_args!(
            "the times {:?}",
            [first, answer, hoti, coti, hot, cot, update, ack]
        ),
    )?;
    Ok(())
}

fn as_json(message: &Message) -> Value {
    let packet = &message.packet;
    json!({
        "time_ns": message.time,
        "source": packet.source,
        "destination": packet.destination,
        "message": packet.upper.to_string(),
    })
}
