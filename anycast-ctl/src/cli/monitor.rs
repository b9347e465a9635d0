//! The command `monitor`, which prints one line for each event.

use std::{
    io::{self, Write},
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::Result;
use humantime_serde::re::humantime::format_rfc3339_millis;
use serde_json::{Map, Value};

use crate::shell::api::{Request, client, view};

/// Fields that are printed first, since people look for them first.
const FIRST: [&str; 11] = [
    "anycast",
    "interface",
    "member",
    "source",
    "mac",
    "client",
    "care_of",
    "change",
    "outcome",
    "reason",
    "querier",
];
/// Fields that are not printed again, because they stand elsewhere in the line or mean nothing to people.
const LEFT_OUT: [&str; 4] = ["time", "role", "event", "ifindex"];

pub(super) fn run(path: &Path, roles: Vec<String>, json: bool) -> Result<()> {
    let mut stdout = io::stdout();
    // This line goes to standard error, so that nobody takes it for an event.
    let begun = |begun: &view::Monitoring| match begun.monitoring.as_slice() {
        [] => eprintln!("watching all roles"),
        roles => eprintln!("watching {}", roles.join(", ")),
    };
    let result = client::watch(path, &Request::Monitor { roles }, begun, |line| {
        let line = if json { line.to_owned() } else { text(line) };
        match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            result => result.map(|()| true),
        }
    });
    Ok(result?)
}

/// Formats an event for people. A line that is not an event stays as it is.
fn text(line: &str) -> String {
    let Ok(Value::Object(event)) = serde_json::from_str(line) else {
        return line.to_owned();
    };
    if let Some(lost) = event.get("lost") {
        return format!("-- {lost} events lost: this reader is too slow --");
    }
    let time = event.get("time").and_then(Value::as_f64).unwrap_or(0.0);
    let time = Duration::try_from_secs_f64(time).unwrap_or_default();
    let mut text = format!(
        "{}  {:13}  {:17} ",
        format_rfc3339_millis(UNIX_EPOCH + time),
        word(&event, "role"),
        word(&event, "event").replace('_', "-"),
    );
    let rest = event.keys().map(String::as_str);
    let rest = rest.filter(|name| !FIRST.contains(name) && !LEFT_OUT.contains(name));
    for name in FIRST.into_iter().chain(rest) {
        if event.get(name).is_some_and(|value| !value.is_null()) {
            text += &format!(" {name}={}", word(&event, name));
        }
    }
    text
}

fn word(event: &Map<String, Value>, name: &str) -> String {
    match event.get(name) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(values)) => {
            let values = values.iter().map(|value| value.as_str().unwrap_or("?"));
            values.collect::<Vec<_>>().join(",")
        }
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn events_are_lines() {
        let line = r#"{"time":1.5,"role":"router","interface":"lan0","event":"member_joined","ifindex":3,"anycast":"2001:db8::1","member":"fe80::1","rule":4}"#;
        assert_eq!(
            text(line),
            "1970-01-01T00:00:01.500Z  router         member-joined      anycast=2001:db8::1 \
             interface=lan0 member=fe80::1 rule=4"
        );
        let line = r#"{"time":0,"role":"router","event":"route","anycast":"::1","next_hops":["fe80::1","fe80::2"]}"#;
        assert!(text(line).ends_with("route              anycast=::1 next_hops=fe80::1,fe80::2"));
        assert_eq!(
            text(r#"{"lost":7}"#),
            "-- 7 events lost: this reader is too slow --"
        );
        assert_eq!(text("nonsense"), "nonsense");
    }
}
