//! Rules as `ip6tables-save` writes them: of the filter that was before nftables, and of iptables-nft, which makes
//! tables of nftables.

use super::chain::{self, Chain, Holds, Packet, Rule, Table, Then};

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
        } else if let Some(line) = line.strip_prefix("-A ") {
            let words = words(line);
            let mut words = words.iter().map(String::as_str);
            let chain = words.next().unwrap_or_default();
            if let Some(chain) = table.chains.get_mut(chain) {
                chain.rules.push(rule(words, packet));
            }
        }
    }
    tables
}

/// The words of a line. One in quotation marks may have blanks, and either of the two behind a backslash.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), None);
    let (mut quoted, mut characters) = (false, line.chars());
    while let Some(character) = characters.next() {
        match character {
            ' ' if !quoted => words.extend(word.take()),
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' => word
                .get_or_insert_with(String::new)
                .extend(characters.next()),
            other => word.get_or_insert_with(String::new).push(other),
        }
    }
    words.extend(word);
    words
}

fn rule<'a>(mut words: impl Iterator<Item = &'a str>, packet: &Packet<'_>) -> Rule {
    let (mut holds, mut then, mut negated) = (Holds::Yes, Then::Next, false);
    // What a word is that is not known: of a module, where one has been named, and else of an address.
    let mut unknown = Holds::Maybe;
    let mut reverse_path = None;
    while let Some(word) = words.next() {
        if word == "!" {
            negated = true;
            continue;
        }
        let is = match word {
            // A module, whose conditions come as words of their own.
            "-m" => {
                let name = words.next().unwrap_or_default();
                unknown = chain::match_of_iptables(name);
                match name {
                    "rpfilter" => {
                        reverse_path.get_or_insert(ReversePath::default());
                        Holds::Yes
                    }
                    "conntrack" | "state" | "tcp" | "udp" => Holds::Yes,
                    _ => unknown,
                }
            }
            "-p" => words.next().is_some_and(|it| MOBILITY.contains(&it)).into(),
            "--loose" | "--validmark" | "--accept-local" | "--invert"
                if let Some(test) = &mut reverse_path =>
            {
                test.loose |= word == "--loose";
                test.inverted |= word == "--invert";
                Holds::Yes
            }
            "-i" => is_interface(words.next(), packet.comes_in()),
            "-o" => is_interface(words.next(), packet.leaves()),
            "-s" | "-d" => {
                words.next();
                Holds::Maybe
            }
            "--ctstate" | "--state" => {
                let state = if packet.begins() {
                    "NEW"
                } else {
                    "ESTABLISHED"
                };
                let states = words.next().unwrap_or_default();
                states.split(',').any(|it| it == state).into()
            }
            "--comment" => {
                words.next();
                Holds::Yes
            }
            "-j" => {
                let target = words.next().unwrap_or_default();
                // One that is neither known nor a chain is not known anywhere.
                then = Then::target(target).unwrap_or_else(|| Then::Jump(target.to_owned()));
                break;
            }
            "-g" => {
                then = Then::Goto(words.next().unwrap_or_default().to_owned());
                break;
            }
            _ => unknown,
        };
        holds = holds.min(if negated { is.not() } else { is });
        negated = false;
    }
    if let Some(test) = reverse_path {
        holds = holds.min(test.of(packet));
    }
    Rule { holds, then }
}

/// The match `rpfilter`, whose words only make sense together.
#[derive(Clone, Copy, Default)]
struct ReversePath {
    /// Any route to the source will do.
    loose: bool,
    inverted: bool,
}

impl ReversePath {
    fn of(self, packet: &Packet<'_>) -> Holds {
        match packet.astray && !self.loose {
            true => Holds::from(self.inverted),
            false => Holds::Maybe,
        }
    }
}

/// Whether this interface of the packet has that name.
fn is_interface(name: Option<&str>, interface: Option<&str>) -> Holds {
    let Some(interface) = interface else {
        return Holds::Maybe;
    };
    let is = |name: &str| match name.strip_suffix('+') {
        Some(beginning) => !interface.is_empty() && interface.starts_with(beginning),
        None => interface == name,
    };
    name.is_some_and(is).into()
}

#[cfg(test)]
mod tests {
    use super::{
        super::chain::{Unread, Way},
        *,
    };

    fn stops(way: Way, policy: &str, rules: &str) -> bool {
        stops_with(way, policy, rules, Unread::LetPass)
    }

    fn stops_with(way: Way, policy: &str, rules: &str, unread: Unread) -> bool {
        let packet = Packet {
            interface: "up0",
            way,
            astray: false,
        };
        stops_packet(&packet, policy, rules, unread)
    }

    fn stops_packet(packet: &Packet<'_>, policy: &str, rules: &str, unread: Unread) -> bool {
        let chains = ["INPUT", "FORWARD", "OUTPUT"];
        let chains = chains.map(|name| format!(":{name} {policy} [0:0]\n"));
        let chains = chains.concat();
        let saved = format!(
            "# Generated\n*filter\n:PREROUTING ACCEPT [0:0]\n{chains}:own - [0:0]\n{rules}COMMIT\n"
        );
        let tables = tables(&saved, packet);
        assert_eq!(tables.len(), 1);
        !tables[0].stopping(packet.hooks(), unread).is_empty()
    }

    #[test]
    fn what_is_forwarded_meets_the_chain_forward() {
        for (policy, rules, from, to) in [
            ("ACCEPT", "", false, false),
            ("ACCEPT", "-A FORWARD -p 135 -j DROP\n", true, true),
            (
                "ACCEPT",
                "-A INPUT -j DROP\n-A OUTPUT -j DROP\n",
                false,
                false,
            ),
            ("ACCEPT", "-A FORWARD -i up0 -p 135 -j DROP\n", true, false),
            ("ACCEPT", "-A FORWARD -o up+ -p 135 -j DROP\n", false, true),
            // By which interface it leaves is not known.
            ("ACCEPT", "-A FORWARD -i up0 -o x0 -j DROP\n", false, false),
            (
                "ACCEPT",
                "-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT\n-A FORWARD -j DROP\n",
                true,
                false,
            ),
        ] {
            let stops = |way| stops(way, policy, rules);
            assert_eq!((stops(Way::From), stops(Way::To)), (from, to), "{rules}");
        }
    }

    #[test]
    fn a_test_of_the_reverse_path_stops_what_comes_by_another_way() {
        for (rule, stopped) in [
            ("-m rpfilter --invert -j DROP", true),
            (
                "-m rpfilter --validmark --accept-local --invert -j DROP",
                true,
            ),
            ("-i up0 -m rpfilter --invert -j DROP", true),
            ("-i clients0 -m rpfilter --invert -j DROP", false),
            ("-m rpfilter --loose --invert -j DROP", false),
            ("-m rpfilter -j DROP", false),
            ("-m rpfilter --invert -j LOG", false),
            ("-m rpfilter -j RETURN\n-A PREROUTING -j DROP", true),
        ] {
            for (astray, expected) in [(true, stopped), (false, false)] {
                let packet = Packet {
                    interface: "up0",
                    way: Way::From,
                    astray,
                };
                let rule = format!("-A PREROUTING {rule}\n");
                let stops = stops_packet(&packet, "ACCEPT", &rule, Unread::LetPass);
                assert_eq!(stops, expected, "{rule} {astray}");
            }
        }
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
    #[test]
    fn matches_that_are_not_known_are_in_doubt() {
        for (policy, rule, doubtful) in [
            ("ACCEPT", "-p 135 -m mh --mh-type 1 -j DROP", true),
            ("ACCEPT", "-p 135 -m mh ! --mh-type 5:6 -j DROP", true),
            ("ACCEPT", "-p tcp -m multiport --dports 1,2 -j DROP", false),
            ("ACCEPT", "-m u32 --u32 \"0=1\" -j DROP", true),
            (
                "ACCEPT",
                "-m hashlimit --hashlimit-above 1/sec -j DROP",
                false,
            ),
            ("ACCEPT", "-m set --match-set deny6 src -j DROP", false),
            ("ACCEPT", "-m set ! --match-set allow6 src -j DROP", false),
            ("ACCEPT", "-m rpfilter --invert -j DROP", false),
            ("ACCEPT", "-m policy --dir out --pol none -j DROP", false),
            ("ACCEPT", "-m devgroup --dst-group 0x1 -j DROP", false),
            ("DROP", "-m cgroup --path a -j ACCEPT", false),
            ("DROP", "-m conntrack --ctstate NEW -j ACCEPT", false),
            ("DROP", "-m conntrack --ctdir ORIGINAL -j ACCEPT", true),
            ("ACCEPT", "-j NFQUEUE --queue-num 1", true),
            ("ACCEPT", "-j LOG --log-prefix \"a -j DROP\"", false),
        ] {
            let rule = format!("-A OUTPUT {rule}\n");
            let stops = |unread| stops_with(Way::Out, policy, &rule, unread);
            let doubt = stops(Unread::Stop) && !stops(Unread::LetPass);
            assert_eq!(doubt, doubtful, "{policy} {rule}");
        }
    }

    #[test]
    fn a_comment_is_one_word_whatever_is_in_it() {
        let rule =
            |comment: &str| format!("-A OUTPUT -p 135 -m comment --comment {comment} -j DROP\n");
        for comment in ["short", "\"-j ACCEPT\"", r#""with \" -j ACCEPT""#, "\"\""] {
            assert!(stops(Way::Out, "ACCEPT", &rule(comment)), "{comment}");
        }
        assert_eq!(words(r#"a  "b c" \"d """#), ["a", "b c", "\"d", ""]);
    }
}
