//! Tables of bindings, handshakes and flows.

use std::net::Ipv6Addr;

use super::table::{Table, seconds};
use crate::shell::api::view;

pub(super) fn bindings(bindings: &[view::Binding]) -> String {
    let mut table = Table::new(&[
        "CLIENT",
        "ANYCAST",
        "CARE-OF",
        "STEERS",
        "SEQUENCE",
        "AGE",
        "REMAINING",
        "FLOWS",
    ]);
    let mut elsewhere = 0;
    for binding in bindings {
        elsewhere += usize::from(binding.origin != "own");
        table.row([
            binding.client.to_string(),
            binding.anycast.to_string(),
            binding.care_of.to_string(),
            if binding.steers { "yes" } else { "-" }.to_owned(),
            binding.sequence.to_string(),
            seconds(binding.age_seconds),
            seconds(binding.remaining_seconds),
            binding.flows.to_string(),
        ]);
    }
    let mut text = table.render("no bindings");
    if elsewhere > 0 {
        text += &format!("{elsewhere} of them by other gateways of the fleet\n");
    }
    let ages = bindings.iter().filter_map(|row| row.flows_age_seconds);
    match ages.reduce(f64::max) {
        Some(age) => format!("{text}flows as of {} ago\n", seconds(age)),
        None => text,
    }
}

pub(super) fn handshakes(known: &[view::Handshake], client: Option<Ipv6Addr>) -> String {
    let mut table = Table::new(&[
        "CLIENT",
        "ANYCAST",
        "STATE",
        "SINCE",
        "NEXT",
        "ATTEMPTS",
        "FAILURES",
        "LAST ANSWER",
    ]);
    for handshake in known {
        table.row([
            handshake.client.to_string(),
            handshake.anycast.to_string(),
            handshake_state(handshake),
            seconds(handshake.since_seconds),
            next(handshake),
            handshake.attempts.to_string(),
            handshake.failures.to_string(),
            handshake
                .last_answer
                .as_ref()
                .map(last_answer)
                .unwrap_or_default(),
        ]);
    }
    match client {
        Some(client) => table.render(&format!("no client {client} is known")),
        None => table.render("no clients are known"),
    }
}

pub(super) fn handshake_state(handshake: &view::Handshake) -> String {
    let short = |message: &String| match message.as_str() {
        "home_test" => "HoT".to_owned(),
        "care_of_test" => "CoT".to_owned(),
        "binding_ack" => "BA".to_owned(),
        other => other.to_owned(),
    };
    let waiting: Vec<_> = handshake.waiting_for.iter().map(short).collect();
    match (handshake.state.as_str(), handshake.left_alone.as_deref()) {
        (_, Some("not_capable")) => "left alone: cannot bind".into(),
        (_, Some("no_answer")) => "left alone: no answer".into(),
        (_, Some(why)) => format!("left alone: {}", why.replace('_', " ")),
        _ if !waiting.is_empty() => format!("waiting for {}", waiting.join(", ")),
        ("resting", None) => "nothing under way".into(),
        (state, None) => state.replace('_', " "),
    }
}

/// Says what happens next to a handshake without further input, and when.
fn next(handshake: &view::Handshake) -> String {
    let what = match handshake.state.as_str() {
        "testing" | "updating" => "sends again or gives up",
        "bound" => "ends",
        "back_off" => "may try again",
        _ => "forgotten",
    };
    format!("{what} in {}", seconds(handshake.next_seconds))
}

fn last_answer(heard: &view::Heard) -> String {
    let message = match heard.message.as_str() {
        "binding_ack" => "BA",
        "binding_error" => "Binding Error",
        "parameter_problem" => "Parameter Problem",
        other => other,
    };
    let words = [
        Some(message.to_owned()),
        heard.status.map(|status| status.to_string()),
        heard.status_name.clone(),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

pub(super) fn flows(flows: &[view::Flow]) -> String {
    let mut table = Table::new(&[
        "CLIENT", "ANYCAST", "PROTOCOL", "CARE-OF", "STATE", "AGE", "IDLE", "ROLE",
    ]);
    for flow in flows {
        table.row([
            end(flow.client, flow.client_port),
            end(flow.anycast, flow.service_port),
            protocol(flow.protocol),
            flow.care_of
                .map(|address| address.to_string())
                .unwrap_or_default(),
            flow.state.clone().unwrap_or_default(),
            flow.age_seconds.map(seconds).unwrap_or_default(),
            seconds(flow.idle_seconds),
            flow.role.clone(),
        ]);
    }
    table.render("no flows")
}

fn end(address: Ipv6Addr, port: u16) -> String {
    match port {
        0 => address.to_string(),
        port => format!("[{address}]:{port}"),
    }
}

pub(super) fn protocol(number: u8) -> String {
    match number {
        6 => "tcp".into(),
        17 => "udp".into(),
        58 => "icmpv6".into(),
        132 => "sctp".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<Vec<&str>> {
        let cells = |line| str::split(line, "  ").map(str::trim);
        let full = |line| cells(line).filter(|cell| !cell.is_empty()).collect();
        text.lines().map(full).collect()
    }

    fn known(state: &str) -> view::Handshake {
        view::Handshake {
            client: Ipv6Addr::LOCALHOST,
            anycast: Ipv6Addr::UNSPECIFIED,
            state: state.to_owned(),
            waiting_for: Vec::new(),
            attempts: 2,
            failures: 1,
            since_seconds: 1.25,
            next_seconds: 0.75,
            last_answer: None,
            left_alone: None,
        }
    }

    #[test]
    fn a_handshake_is_a_line_that_says_what_it_waits_for() {
        let waiting = view::Handshake {
            waiting_for: vec!["home_test".into(), "care_of_test".into()],
            ..known("testing")
        };
        let alone = view::Handshake {
            left_alone: Some("refused".into()),
            last_answer: Some(view::Heard {
                message: "binding_ack".into(),
                status: Some(130),
                status_name: Some("insufficient resources".into()),
            }),
            next_seconds: 60.0,
            ..known("back_off")
        };
        let text = handshakes(&[waiting, alone], None);
        let [_, waiting, alone] = &lines(&text)[..] else {
            panic!("{text}");
        };
        assert_eq!(
            waiting[2..],
            [
                "waiting for HoT, CoT",
                "1.2s",
                "sends again or gives up in 750ms",
                "2",
                "1",
                "-"
            ]
        );
        assert_eq!(
            alone[2..],
            [
                "left alone: refused",
                "1.2s",
                "may try again in 1m00s",
                "2",
                "1",
                "BA 130 insufficient resources"
            ]
        );
        assert_eq!(handshakes(&[], None), "no clients are known\n");
        let client = "2001:db8:1::1".parse().expect("an address");
        assert_eq!(
            handshakes(&[], Some(client)),
            "no client 2001:db8:1::1 is known\n"
        );
    }

    #[test]
    fn bindings_say_when_the_flows_were_counted() {
        let binding = view::Binding {
            client: Ipv6Addr::LOCALHOST,
            anycast: Ipv6Addr::UNSPECIFIED,
            care_of: Ipv6Addr::LOCALHOST,
            origin: "fleet".to_owned(),
            steers: true,
            sequence: 7,
            age_seconds: 40.0,
            remaining_seconds: 12.0,
            flows: 3,
            flows_age_seconds: Some(4.0),
        };
        let text = bindings(&[binding]);
        let [_, row, origins, foot] = &lines(&text)[..] else {
            panic!("{text}");
        };
        assert_eq!(row[3..], ["yes", "7", "40.0s", "12.0s", "3"]);
        assert_eq!(origins[..], ["1 of them by other gateways of the fleet"]);
        assert_eq!(foot[..], ["flows as of 4.0s ago"]);
        assert_eq!(bindings(&[]), "no bindings\n");
    }

    #[test]
    fn flows_say_their_state() {
        let bound = view::Flow {
            client: Ipv6Addr::LOCALHOST,
            client_port: 40000,
            anycast: Ipv6Addr::UNSPECIFIED,
            service_port: 53,
            protocol: 17,
            care_of: Some(Ipv6Addr::LOCALHOST),
            state: Some("trial".to_owned()),
            age_seconds: Some(2.0),
            idle_seconds: 1.0,
            role: "correspondent".to_owned(),
        };
        let open = view::Flow {
            care_of: None,
            state: Some("open".to_owned()),
            ..bound.clone()
        };
        let text = flows(&[bound, open]);
        let [_, bound, open] = &lines(&text)[..] else {
            panic!("{text}");
        };
        let ends = ["[::1]:40000", "[::]:53", "udp"];
        assert_eq!(
            bound[..],
            [
                &ends[..],
                &["::1", "trial", "2.0s", "1.0s", "correspondent"]
            ]
            .concat()
        );
        assert_eq!(
            open[..],
            [&ends[..], &["-", "open", "2.0s", "1.0s", "correspondent"]].concat()
        );
    }
}
