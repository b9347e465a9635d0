//! Rules as `ip6tables-save` writes them, of the filter that was before nftables.

use super::chain::{Chain, Holds, Packet, Rule, Table, Then, Way};

/// What the Mobility Header is called in `-p`.
const MOBILITY: [&str; 4] = ["135", "ipv6-mh", "mh", "mobility-header"];

/// The tables, with what their rules are to this packet.
pub(super) fn tables(saved: &str, packet: &Packet<'_>) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    for line in saved.lines() {
        if let Some(name) = line.strip_prefix('*') {
            let name = name.to_owned();
            tables.push(Table {
                name,
                ..Table::default()
            });
        }
        let Some(table) = tables.last_mut() else {
            continue;
        };
        let mut words = line.split_ascii_whitespace();
        if let Some(chain) = line.strip_prefix(':') {
            let mut words = chain.split_ascii_whitespace();
            let (Some(name), Some(policy)) = (words.next(), words.next()) else {
                continue;
            };
            let new = Chain {
                hook: (policy != "-").then(|| name.to_lowercase()),
                drops: policy == "DROP",
                rules: Vec::new(),
            };
            table.chains.insert(name.to_owned(), new);
        } else if words.next() == Some("-A") {
            let chain = words.next().unwrap_or_default();
            if let Some(chain) = table.chains.get_mut(chain) {
                chain.rules.push(rule(words, packet));
            }
        }
    }
    tables
}

fn rule<'a>(mut words: impl Iterator<Item = &'a str>, packet: &Packet<'_>) -> Rule {
    let (mut holds, mut then, mut negated) = (Holds::Yes, Then::Next, false);
    while let Some(word) = words.next() {
        if word == "!" {
            negated = true;
            continue;
        }
        let is = match word {
            // A module, whose conditions come as words of their own. Most of them need what is not known here.
            "-m" => match words.next() {
                Some("conntrack" | "state" | "tcp" | "udp" | "comment") => Holds::Yes,
                _ => Holds::Maybe,
            },
            "-p" => words.next().is_some_and(|it| MOBILITY.contains(&it)).into(),
            "-i" => is_interface(words.next(), Way::In, packet).into(),
            "-o" => is_interface(words.next(), Way::Out, packet).into(),
            "--ctstate" | "--state" => {
                let state = match packet.way {
                    Way::In => "ESTABLISHED",
                    Way::Out => "NEW",
                };
                let states = words.next().unwrap_or_default();
                states.split(',').any(|it| it == state).into()
            }
            "-j" => {
                then = match words.next().unwrap_or_default() {
                    "ACCEPT" => Then::Accept,
                    "DROP" | "REJECT" => Then::Drop,
                    "RETURN" => Then::Return,
                    "LOG" | "NFLOG" | "MARK" | "CONNMARK" | "CT" | "TRACE" => Then::Next,
                    // One that is no chain passes the packet, as far as is known here.
                    chain => Then::Jump(chain.to_owned()),
                };
                break;
            }
            "-g" => {
                then = Then::Goto(words.next().unwrap_or_default().to_owned());
                break;
            }
            // The text can have any words in it.
            "--comment" => Holds::Maybe,
            _ => Holds::Maybe,
        };
        holds = holds.min(if negated { is.not() } else { is });
        negated = false;
    }
    Rule { holds, then }
}

fn is_interface(name: Option<&str>, way: Way, packet: &Packet<'_>) -> bool {
    let Some(name) = name.filter(|_| packet.way == way) else {
        return false;
    };
    match name.strip_suffix('+') {
        Some(beginning) => packet.interface.starts_with(beginning),
        None => packet.interface == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stops(way: Way, policy: &str, rules: &str) -> bool {
        let saved = format!(
            "# Generated\n*filter\n:INPUT {policy} [0:0]\n:OUTPUT {policy} [0:0]\n:own - [0:0]\n{rules}COMMIT\n"
        );
        let interface = "up0";
        let packet = Packet { interface, way };
        let tables = tables(&saved, &packet);
        assert_eq!(tables.len(), 1);
        !tables[0].stopping(&packet.hooks()).is_empty()
    }

    #[test]
    fn rules_that_drop_the_mobility_header_are_known() {
        for (policy, rules, stops_in, stops_out) in [
            ("ACCEPT", "", false, false),
            ("DROP", "", true, true),
            ("DROP", "-A OUTPUT -p ipv6-mh -j ACCEPT\n", true, false),
            (
                "DROP",
                "-A OUTPUT -p tcp -m tcp --dport 22 -j ACCEPT\n",
                true,
                true,
            ),
            (
                "DROP",
                "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n",
                false,
                true,
            ),
            (
                "DROP",
                "-A OUTPUT -m state --state RELATED,ESTABLISHED -j ACCEPT\n",
                true,
                true,
            ),
            (
                "DROP",
                "-A INPUT -i lo -j ACCEPT\n-A OUTPUT -o up+ -j ACCEPT\n",
                true,
                false,
            ),
            (
                "DROP",
                "-A OUTPUT -s 2001:db8::/32 -j ACCEPT\n",
                true,
                false,
            ),
            ("DROP", "-A OUTPUT ! -p tcp -j ACCEPT\n", true, false),
            (
                "ACCEPT",
                "-A OUTPUT -p 135 -j REJECT --reject-with icmp6-port-unreachable\n",
                false,
                true,
            ),
            (
                "ACCEPT",
                "-A OUTPUT -p 135 -j own\n-A own -j LOG\n-A own -j DROP\n",
                false,
                true,
            ),
            (
                "ACCEPT",
                "-A OUTPUT -m hashlimit --hashlimit-above 1/sec -j DROP\n",
                false,
                false,
            ),
        ] {
            let found = (
                stops(Way::In, policy, rules),
                stops(Way::Out, policy, rules),
            );
            assert_eq!(found, (stops_in, stops_out), "{policy} {rules}");
        }
    }
}
