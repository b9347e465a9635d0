//! Answers about clients: the bindings of a correspondent and the handshakes of a member.

use std::net::Ipv6Addr;

use anycast_common::wire::mobility::status;

use super::common::{Answered, PAGE, name_of, no_role};
use crate::{
    core::{
        Time,
        correspondent::{BindingView, Correspondent, Selection},
        member::{HandshakeFilter, HandshakeView, Heard, Member},
    },
    shell::{
        api::{Answer, view},
        clock,
        engine::Engine,
    },
};

pub(super) fn bindings(core: &Engine, which: &Selection, after: Option<view::Triple>) -> Answered {
    let Some(correspondent) = core.controller().correspondent() else {
        return Err(no_role("correspondent"));
    };
    let now = clock::now();
    let after = after.map(|after| (after.client, after.anycast, after.care_of));
    let (rows, next) = correspondent.bindings_page(now, which, after, PAGE);
    let rows = rows.into_iter().map(|row| binding(correspondent, now, row));
    Ok(Answer::Bindings(view::Page {
        rows: rows.collect(),
        next: next.map(|(client, anycast, care_of)| view::Triple {
            client,
            anycast,
            care_of,
        }),
    }))
}

/// The first page of the bindings that match.
pub(super) fn bindings_of(
    correspondent: &Correspondent,
    now: Time,
    which: &Selection,
) -> Vec<view::Binding> {
    let (rows, _) = correspondent.bindings_page(now, which, None, PAGE);
    let rows = rows.into_iter();
    rows.map(|row| binding(correspondent, now, row)).collect()
}

fn binding(correspondent: &Correspondent, now: Time, binding: BindingView) -> view::Binding {
    let flows_age = correspondent.flows_age(now);
    view::Binding {
        client: binding.client,
        anycast: binding.anycast,
        care_of: binding.care_of,
        origin: binding.origin.name().to_owned(),
        steers: binding.steers,
        sequence: binding.sequence,
        age_seconds: binding.age.as_secs_f64(),
        remaining_seconds: binding.remaining.as_secs_f64(),
        flows: binding.flows,
        flows_age_seconds: flows_age.map(|age| age.as_secs_f64()),
    }
}

/// What a member knows of a client and an anycast address.
pub(super) fn handshakes_of(
    member: &Member,
    now: Time,
    client: Ipv6Addr,
    anycast: Ipv6Addr,
) -> Vec<view::Handshake> {
    let which = HandshakeFilter {
        client: Some(client),
        anycast: Some(anycast),
    };
    let (rows, _) = member.handshakes_page(now, which, None, PAGE);
    rows.into_iter().map(handshake).collect()
}

pub(super) fn handshakes(
    core: &Engine,
    which: HandshakeFilter,
    after: Option<view::Pair>,
) -> Answered {
    let Some(member) = core.controller().member() else {
        return Err(no_role("member"));
    };
    let after = after.map(|view::Pair { client, anycast }| (anycast, client));
    let (rows, next) = member.handshakes_page(clock::now(), which, after, PAGE);
    Ok(Answer::Handshakes(view::Page {
        rows: rows.into_iter().map(handshake).collect(),
        next: next.map(|(anycast, client)| view::Pair { client, anycast }),
    }))
}

fn handshake(known: HandshakeView) -> view::Handshake {
    view::Handshake {
        client: known.client,
        anycast: known.anycast,
        state: name_of(&known.state),
        waiting_for: known.waiting_for.iter().map(name_of).collect(),
        attempts: known.attempts,
        failures: known.failures,
        since_seconds: known.since.as_secs_f64(),
        next_seconds: known.remaining.as_secs_f64(),
        last_answer: known.heard.map(heard),
        left_alone: known.alone.map(|why| why.name().to_owned()),
    }
}

fn heard(heard: Heard) -> view::Heard {
    let (message, status, name) = match heard {
        Heard::BindingAck(status) => ("binding_ack", Some(status), Some(status::name(status))),
        Heard::BindingError(status) => {
            let name = "unrecognized MH type";
            ("binding_error", Some(status), Some(name))
        }
        Heard::ParameterProblem => ("parameter_problem", None, None),
    };
    view::Heard {
        message: message.to_owned(),
        status,
        status_name: name.map(str::to_owned),
    }
}
