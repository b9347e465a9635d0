//! Rules as `nft --json --numeric list ruleset` writes them (libnftables-json(5)).

use std::collections::BTreeMap;

use serde_json::Value;

use super::chain::{self, Chain, Holds, Packet, Rule, Table, Then};

/// Number of the Mobility Header among protocols.
const MOBILITY: u64 = 135;
/// `NFPROTO_IPV6`
const IPV6: u64 = 10;
/// Bits of a connection's state.
const ESTABLISHED: u64 = 2;
const NEW: u64 = 8;

type Sets<'a> = BTreeMap<[&'a str; 3], &'a Value>;

/// The tables that see IPv6, with what their rules are to this packet.
pub(super) fn tables(ruleset: &Value, packet: &Packet<'_>) -> Vec<Table> {
    let listed = ruleset["nftables"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let of = |kind: &'static str| listed.iter().filter_map(move |it| it.get(kind));
    let sets: Sets<'_> = of("set")
        .chain(of("map"))
        .map(|set| {
            (
                ["family", "table", "name"].map(|key| text(set, key)),
                &set["elem"],
            )
        })
        .collect();
    let mut tables: BTreeMap<[&str; 2], Table> = BTreeMap::new();
    for chain in of("chain") {
        let key = ["family", "table"].map(|key| text(chain, key));
        if !matches!(key[0], "ip6" | "inet") {
            continue;
        }
        let table = tables.entry(key).or_default();
        table.name = key.join(" ");
        let new = Chain {
            hook: chain["hook"].as_str().map(str::to_owned),
            drops: chain["policy"] == "drop",
            rules: Vec::new(),
        };
        table.chains.insert(text(chain, "name").to_owned(), new);
    }
    for rule in of("rule") {
        let key = ["family", "table"].map(|key| text(rule, key));
        let table = tables.get_mut(&key);
        let Some(chain) = table.and_then(|it| it.chains.get_mut(text(rule, "chain"))) else {
            continue;
        };
        let statements = rule["expr"].as_array().map_or(&[][..], Vec::as_slice);
        let reader = Reader {
            sets: &sets,
            table: key,
            packet,
        };
        chain.rules.push(reader.rule(statements));
    }
    tables.into_values().collect()
}

/// Whether a rule has something of iptables, for which nft has no words.
pub(super) fn has_words_of_iptables(ruleset: &Value) -> bool {
    let listed = ruleset["nftables"].as_array();
    let rules = listed.into_iter().flatten();
    let mut statements = rules
        .filter_map(|it| it["rule"]["expr"].as_array())
        .flatten();
    statements.any(|statement| statement.get("xt").is_some())
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_default()
}

/// What a rule looks at.
#[derive(Clone, Copy)]
enum Subject<'a> {
    Number(u64),
    Name(&'a str),
    /// A route that there is not.
    NoRoute,
    /// No such packet has it.
    Absent,
    Unknown,
}

struct Reader<'a> {
    sets: &'a Sets<'a>,
    /// Family and name of the table in which the rule is.
    table: [&'a str; 2],
    packet: &'a Packet<'a>,
}

impl Reader<'_> {
    fn rule(&self, statements: &[Value]) -> Rule {
        let mut holds = Holds::Yes;
        let named = statements.iter().map(named).enumerate();
        for (number, (kind, value)) in named.filter_map(|(number, it)| Some((number, it?))) {
            match kind {
                "match" => holds = holds.min(self.matches(value)),
                "vmap" => {
                    let (looked_up, then) = self.verdict(value);
                    holds = holds.min(looked_up);
                    return Rule { holds, then };
                }
                // How much has passed already is not known.
                "limit" | "quota" | "ct count" => holds = holds.min(Holds::Maybe),
                "counter" | "log" | "mangle" | "notrack" | "set" | "map" | "ct helper"
                | "ct timeout" | "ct expectation" | "secmark" | "flow" | "dup" | "last" => {}
                // Of iptables, for what nft has no words. A target comes last.
                "xt" => match (text(value, "type"), text(value, "name")) {
                    ("match", name) => holds = holds.min(chain::match_of_iptables(name)),
                    ("target", name) => {
                        let then = Then::target(name).unwrap_or(Then::Unknown);
                        return Rule { holds, then };
                    }
                    // An nft that does not say which.
                    _ if number + 1 < statements.len() => holds = holds.min(Holds::Unread),
                    _ => {
                        let then = Then::Unknown;
                        return Rule { holds, then };
                    }
                },
                _ => {
                    let then = verdict(kind, value);
                    return Rule { holds, then };
                }
            }
        }
        Rule {
            holds,
            then: Then::Next,
        }
    }

    fn matches(&self, condition: &Value) -> Holds {
        let subject = self.subject(&condition["left"]);
        if matches!(subject, Subject::Absent) {
            return Holds::No;
        }
        // Our messages are of several types.
        if condition["left"]["exthdr"]["name"] == "mh" {
            return Holds::Unread;
        }
        let is = self.is(subject, &condition["right"]);
        match text(condition, "op") {
            "==" | "in" => is,
            "!=" => is.not(),
            _ => Holds::Maybe,
        }
    }

    fn subject(&self, left: &Value) -> Subject<'_> {
        let name = |interface: Option<_>| interface.map_or(Subject::Unknown, Subject::Name);
        match named(left) {
            Some(("meta", meta)) => match text(meta, "key") {
                "l4proto" => Subject::Number(MOBILITY),
                "nfproto" => Subject::Number(IPV6),
                "iif" | "iifname" => name(self.packet.comes_in()),
                "oif" | "oifname" => name(self.packet.leaves()),
                _ => Subject::Unknown,
            },
            Some(("fib", fib)) if self.packet.astray && is_reverse_path(fib) => Subject::NoRoute,
            Some(("payload", field)) => match (text(field, "protocol"), text(field, "field")) {
                ("ip6", "nexthdr") => Subject::Number(MOBILITY),
                ("" | "ip6" | "th" | "ether" | "vlan", _) => Subject::Unknown,
                _ => Subject::Absent,
            },
            Some(("ct", key)) if text(key, "key") == "state" => {
                let begins = self.packet.begins();
                Subject::Number(if begins { NEW } else { ESTABLISHED })
            }
            _ => Subject::Unknown,
        }
    }

    fn is(&self, subject: Subject<'_>, right: &Value) -> Holds {
        let any = |values: &[Value]| {
            let each = values.iter().map(|value| self.is(subject, value));
            each.max().unwrap_or(Holds::No)
        };
        match (subject, right) {
            (Subject::Unknown, _) => Holds::Maybe,
            (Subject::Absent, _) => Holds::No,
            (Subject::NoRoute, Value::Bool(exists)) => Holds::from(!exists),
            (Subject::NoRoute, Value::String(index)) if index == "0" => Holds::Yes,
            (_, Value::Array(values)) => any(values),
            (_, Value::String(name)) if name.starts_with('@') => {
                let [family, table] = self.table;
                let elements = self.sets.get(&[family, table, &name[1..]]);
                match elements {
                    Some(Value::Array(values)) => any(values),
                    Some(Value::Null) => Holds::No,
                    _ => Holds::Maybe,
                }
            }
            (Subject::Number(number), Value::Number(other)) => {
                Holds::from(other.as_u64() == Some(number))
            }
            (Subject::Name(name), Value::String(pattern)) => {
                Holds::from(match pattern.strip_suffix('*') {
                    Some(beginning) => name.starts_with(beginning),
                    None => name == pattern,
                })
            }
            (_, Value::Object(_)) => match (named(right), subject) {
                (Some(("set" | "|", values)), _) => self.is(subject, values),
                (Some(("elem", element)), _) => self.is(subject, &element["val"]),
                (Some(("range", ends)), Subject::Number(number)) => {
                    match (ends[0].as_u64(), ends[1].as_u64()) {
                        (Some(first), Some(last)) => (first..=last).contains(&number).into(),
                        _ => Holds::Maybe,
                    }
                }
                _ => Holds::Maybe,
            },
            _ => Holds::Maybe,
        }
    }

    /// Whether a map of verdicts has one for the packet, and which.
    fn verdict(&self, map: &Value) -> (Holds, Then) {
        let subject = self.subject(&map["key"]);
        let pairs = match named(&map["data"]) {
            Some(("set", pairs)) => pairs.as_array(),
            _ => {
                let [family, table] = self.table;
                let name = map["data"].as_str().unwrap_or_default();
                let name = name.trim_start_matches('@');
                let elements = self.sets.get(&[family, table, name]);
                elements.and_then(|elements| elements.as_array())
            }
        };
        for pair in pairs.map_or(&[][..], Vec::as_slice) {
            match self.is(subject, &pair[0]) {
                Holds::No => {}
                doubt @ (Holds::Maybe | Holds::Unread) => return (doubt, Then::Unknown),
                Holds::Yes => {
                    let then = named(&pair[1]).map(|(kind, value)| verdict(kind, value));
                    return (Holds::Yes, then.unwrap_or(Then::Unknown));
                }
            }
        }
        (Holds::No, Then::Next)
    }
}

/// Whether a question for a route is whether that to a packet's source leads by the interface where it came in.
fn is_reverse_path(fib: &Value) -> bool {
    let flags = fib["flags"].as_array().map_or(&[][..], Vec::as_slice);
    let has = |flag: &str| flags.iter().any(|it| it == flag);
    text(fib, "result") == "oif" && has("saddr") && has("iif")
}

/// An object with one field, which is what nft makes of most things.
fn named(value: &Value) -> Option<(&str, &Value)> {
    let (kind, value) = value.as_object()?.iter().next()?;
    Some((kind.as_str(), value))
}

fn verdict(kind: &str, value: &Value) -> Then {
    let target = || text(value, "target").to_owned();
    match kind {
        "accept" | "snat" | "dnat" | "masquerade" | "redirect" => Then::Accept,
        "drop" | "reject" => Then::Drop,
        "return" => Then::Return,
        "continue" => Then::Next,
        "jump" => Then::Jump(target()),
        "goto" => Then::Goto(target()),
        _ => Then::Unknown,
    }
}

#[cfg(test)]
mod tests;
