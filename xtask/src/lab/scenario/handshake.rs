//! Follows the handshake as the link between gateway and router shows it.

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
        packet::{Mobility, Packet, mobility},
    },
};

use super::{join::tell, plan::SOON};

/// The A bit (Acknowledge) of a Binding Update, and the E bit.
const A: u16 = 0x8000;
const E: u16 = 0x0400;
/// The lifetime of a Binding Update with E, and of its acknowledgement: 16 s.
const LIFETIME: u16 = 1;
/// The status of an acknowledgement that grants the binding.
const ACCEPTED: u16 = 0;

/// Waits for a whole handshake with this member, prints it, and gives the time of its end.
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
            list(&ledger.read(|ledger| said(ledger, since)))
        })?;
    let [.., update, ack] = &messages;
    let data = ledger.read(|ledger| first_data(ledger, port));
    // A member that is new to this client may choose a sequence number that was used before, and is told so. So all
    // messages are printed, not only those that succeeded.
    let mut said = ledger.read(|ledger| said(ledger, since));
    said.retain(|message| message.time <= ack.time);
    show(&said, data, evidence);
    in_order(&messages, data)?;
    let right = update.packet.upper.mobility().is_some_and(|update| {
        update.flags & (A | E) == A | E
            && update.lifetime == LIFETIME
            && update.care_of == Some(care_of)
    });
    expect(
        right,
        format_args!("a Binding Update with A and E, lifetime 1 and care-of {care_of}"),
        &update.packet.upper,
    )?;
    let data: Vec<_> = said.iter().map(as_json).collect();
    evidence.keep(&format!("handshake_{member}"), data);
    Ok(ack.time)
}

/// Finds the six messages, each between the right addresses: the acknowledgement that grants the binding, the update
/// that it answers, and the four messages before.
fn find(ledger: &Ledger, since: u64, care_of: Ipv6Addr) -> Option<[Message; 6]> {
    let find = |source, destination, wanted: &dyn Fn(Mobility) -> bool| {
        let mut found = ledger.messages(since, |packet| {
            (packet.source, packet.destination) == (source, destination)
                && packet.upper.mobility().is_some_and(wanted)
        });
        found.next().cloned()
    };
    let ack = find(CLIENT, B, &|message| {
        message.kind == mobility::BA && (message.flags, message.lifetime) == (ACCEPTED, LIFETIME)
    })?;
    let sequence = ack.packet.upper.mobility()?.sequence;
    Some([
        find(B, CLIENT, &|message| message.kind == mobility::HOTI)?,
        find(care_of, CLIENT, &|message| message.kind == mobility::COTI)?,
        find(CLIENT, B, &|message| message.kind == mobility::HOT)?,
        find(CLIENT, care_of, &|message| message.kind == mobility::COT)?,
        find(B, CLIENT, &|message| {
            message.kind == mobility::BU && message.sequence == sequence
        })?,
        ack,
    ])
}

/// All mobility messages on the link, whoever sent them.
fn said(ledger: &Ledger, since: u64) -> Vec<Message> {
    let mobility = |packet: &Packet| packet.upper.mobility().is_some();
    let mut said: Vec<_> = ledger.messages(since, mobility).cloned().collect();
    said.sort_by_key(|message| message.time);
    said
}

/// Times of the session's first packet and of the first answer.
fn first_data(ledger: &Ledger, port: u16) -> [u64; 2] {
    let (client, server) = ((CLIENT, port), (B, SERVICE));
    [(client, server), (server, client)].map(|(source, destination)| {
        let flow = Flow {
            source,
            destination,
        };
        let tally = ledger.flows.get(&flow);
        tally.map_or(u64::MAX, |tally| tally.first)
    })
}

/// Prints the messages, together with the first data packets.
fn show(said: &[Message], [first, answer]: [u64; 2], evidence: &mut Evidence<'_>) {
    let (client, anycast) = (CLIENT.to_string(), B.to_string());
    let before = said.partition_point(|message| message.time < answer);
    evidence.event(
        first,
        format_args!("{client:>18} > {anycast:<18} TCP: the first packet"),
    );
    said[..before]
        .iter()
        .for_each(|message| tell(evidence, message));
    evidence.event(
        answer,
        format_args!("{anycast:>18} > {client:<18} TCP: the answer"),
    );
    said[before..]
        .iter()
        .for_each(|message| tell(evidence, message));
}

fn list(messages: &[Message]) -> String {
    let texts = messages
        .iter()
        .map(|message| message.packet.upper.to_string());
    format!("[{}]", texts.collect::<Vec<_>>().join(", "))
}

/// Checks the order: the data comes first and does not wait, and each message follows the one that it answers.
fn in_order(messages: &[Message; 6], [first, answer]: [u64; 2]) -> Result<()> {
    let [hoti, coti, hot, cot, update, ack] = messages.each_ref().map(|message| message.time);
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
