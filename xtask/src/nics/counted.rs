//! In the guest: what the kernel and its drivers have counted where a session does not pass, for the console.

use std::{fs, path::Path};

use anyhow::Result;

use crate::net::{Namespace, ethtool};

/// Counters of protocols, as lines of names above lines of values, or as a name and a value each.
const PROTOCOLS: [&str; 3] = ["snmp", "netstat", "snmp6"];
/// What is left out of them: it grows where nothing is wrong.
const DULL: [&str; 4] = ["Octets", "Icmp6OutType", "Icmp6InType", "ECT"];

/// Prints the counters of a machine's protocols and interfaces, and of the drivers of its cards, that are not 0.
pub(super) fn tell(node: &str, namespace: &Namespace, cards: &[&str]) {
    match namespace.run(all) {
        Ok(counters) => println!("{node}: {}", counters.join(" ")),
        Err(error) => println!("{node}: counters cannot be read: {error:#}"),
    }
    for card in cards {
        // A driver that has none refuses to tell them.
        let counters = ethtool::statistics(namespace, card).unwrap_or_default();
        let told: Vec<String> = counters
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        println!("{node}: {card}: {}", told.join(" "));
    }
}

fn all() -> Result<Vec<String>> {
    let mut found = Vec::new();
    for name in PROTOCOLS {
        let text = fs::read_to_string(Path::new("/proc/thread-self/net").join(name))?;
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let (names, values) = match line.split_once(':') {
                Some((_, names)) => {
                    let below = lines.next().and_then(|line| line.split_once(':'));
                    (names, below.map_or("", |(_, values)| values))
                }
                None => line.split_once(char::is_whitespace).unwrap_or((line, "")),
            };
            let pairs = names.split_whitespace().zip(values.split_whitespace());
            let told = pairs.filter(|(name, value)| {
                *value != "0" && !DULL.iter().any(|dull| name.contains(dull))
            });
            found.extend(told.map(|(name, value)| format!("{name}={value}")));
        }
    }
    // Lines of interfaces are of this network namespace, other than /sys, whose mount is of the first one.
    let text = fs::read_to_string("/proc/thread-self/net/dev")?;
    found.extend(text.lines().skip(2).filter_map(interface));
    Ok(found)
}

/// A line of /proc/net/dev in words.
fn interface(line: &str) -> Option<String> {
    const NAMES: [&str; 16] = [
        "octets",
        "packets",
        "errors",
        "dropped",
        "fifo",
        "frame",
        "compressed",
        "multicast",
        "octets out",
        "packets out",
        "errors out",
        "dropped out",
        "fifo out",
        "collisions",
        "carrier",
        "compressed out",
    ];
    let (name, values) = line.split_once(':')?;
    let pairs = NAMES.into_iter().zip(values.split_whitespace());
    let told = pairs.filter(|(_, value)| *value != "0");
    let told: Vec<String> = told
        .map(|(name, value)| format!("{value} {name}"))
        .collect();
    (!told.is_empty()).then(|| format!("\n  {}: {}", name.trim(), told.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_zero_is_told() {
        let line = "  up0: 1280 10 0 2 0 0 0 0 640 8 0 0 0 0 0 0";
        let told = interface(line).expect("counters");
        let expected = "\n  up0: 1280 octets, 10 packets, 2 dropped, 640 octets out, 8 packets out";
        assert_eq!(told, expected);
        assert_eq!(interface("  lo: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"), None);
    }

    #[test]
    fn counters_of_this_machine_can_be_read() {
        let counters = all().expect("counters");
        assert!(
            counters.iter().any(|word| word.starts_with("InReceives=")),
            "{counters:?}"
        );
        assert!(
            counters
                .iter()
                .any(|word| word.starts_with("Ip6InReceives=")),
            "{counters:?}"
        );
    }
}
