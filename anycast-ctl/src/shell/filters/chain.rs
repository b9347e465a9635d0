//! Whether chains of rules let a packet pass, as far as that can be said without having it.

use std::collections::BTreeMap;

/// How deep chains call others. The kernel allows 16.
const DEEPEST: usize = 16;

/// The way of a packet through this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To a socket. It answers what this machine has sent.
    In,
    /// From a socket. It begins something.
    Out,
    /// Forwarded: it comes in by the interface, leaves by one that is not known, and begins something.
    From,
    /// The same of what belongs to something that others have begun.
    Back,
    /// Forwarded: it comes in by an interface that is not known, and leaves by this one. It answers.
    To,
}

/// A message of the Mobility Header, as rules see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    /// Where it comes in, or leaves.
    pub interface: &'a str,
    pub way: Way,
    /// Whether the route to its source leads elsewhere than by the interface where it comes in.
    pub astray: bool,
}

impl Packet<'_> {
    /// The hooks of netfilter that it meets.
    pub(super) fn hooks(&self) -> &'static [&'static str] {
        match self.way {
            Way::In => &["prerouting", "input"],
            Way::Out => &["output", "postrouting"],
            Way::From | Way::Back | Way::To => &["prerouting", "forward", "postrouting"],
        }
    }

    /// Whether it begins something, for those who know connections.
    pub(super) fn begins(&self) -> bool {
        matches!(self.way, Way::Out | Way::From)
    }

    /// The interface where it comes in, as far as that is known; an empty name where there is none.
    pub(super) fn comes_in(&self) -> Option<&str> {
        match self.way {
            Way::In | Way::From | Way::Back => Some(self.interface),
            Way::Out => Some(""),
            Way::To => None,
        }
    }

    /// The interface by which it leaves, likewise.
    pub(super) fn leaves(&self) -> Option<&str> {
        match self.way {
            Way::Out | Way::To => Some(self.interface),
            Way::In => Some(""),
            Way::From | Way::Back => None,
        }
    }
}

/// Whether a condition is true of the packet. The smaller of two is that of both together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holds {
    No,
    /// It depends on what only the packet or the kernel knows.
    Maybe,
    /// It is about something that is not known here.
    Unread,
    Yes,
}

impl Holds {
    pub(super) fn not(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Maybe => Self::Maybe,
            Self::Unread => Self::Unread,
            Self::Yes => Self::No,
        }
    }
}

impl From<bool> for Holds {
    fn from(is: bool) -> Self {
        if is { Self::Yes } else { Self::No }
    }
}

/// What a rule does with packets for which it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Next,
    Accept,
    Drop,
    Return,
    Jump(String),
    Goto(String),
    /// Something that is not known here.
    Unknown,
}

impl Then {
    /// What a target of iptables does that is not the name of a chain.
    pub(super) fn target(name: &str) -> Option<Self> {
        Some(match name {
            "ACCEPT" | "MASQUERADE" | "SNAT" | "DNAT" | "NETMAP" | "REDIRECT" => Self::Accept,
            "DROP" | "REJECT" => Self::Drop,
            "RETURN" => Self::Return,
            "LOG" | "NFLOG" | "TRACE" | "AUDIT" | "MARK" | "CONNMARK" | "SECMARK"
            | "CONNSECMARK" | "CT" | "NOTRACK" | "SET" | "CLASSIFY" | "DSCP" | "TOS" | "HL"
            | "TEE" | "TCPMSS" | "CHECKSUM" => Self::Next,
            _ => return None,
        })
    }
}

/// What a match of iptables, whose words are not known, makes of a rule.
pub(super) fn match_of_iptables(name: &str) -> Holds {
    match name {
        "comment" => Holds::Yes,
        // Addresses, routes, sockets, interfaces, marks, sizes, rates and times.
        "addrtype" | "iprange" | "set" | "mac" | "eui64" | "rt" | "hl" | "hbh" | "dst" | "frag"
        | "rpfilter" | "policy" | "realm" | "socket" | "owner" | "cgroup" | "physdev"
        | "devgroup" | "cpu" | "length" | "mark" | "connmark" | "pkttype" | "dscp" | "tos"
        | "ecn" | "limit" | "hashlimit" | "connlimit" | "connbytes" | "recent" | "quota"
        | "statistic" | "time" => Holds::Maybe,
        _ => Holds::Unread,
    }
}

#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub holds: Holds,
    pub then: Then,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Chain {
    /// The hook at which packets enter it, if it is one of those.
    pub hook: Option<String>,
    /// Whether it drops what no rule decides about.
    pub drops: bool,
    pub rules: Vec<Rule>,
}

/// Chains that know each other by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub name: String,
    pub chains: BTreeMap<String, Chain>,
}

/// What becomes of a packet. The smaller of two is what is better for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// It passes, or may do so.
    Passes,
    /// No rule has decided.
    Open,
    /// No packet like this one passes.
    Stops,
}

/// What rules that cannot be read are taken to do, whatever that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    LetPass,
    Stop,
}

impl Unread {
    fn of(self, one: Fate, other: Fate) -> Fate {
        match self {
            Self::LetPass => one.min(other),
            Self::Stop => one.max(other),
        }
    }
}

impl Table {
    /// The chains at these hooks that drop the packet.
    pub(super) fn stopping<'a>(&'a self, hooks: &[&str], unread: Unread) -> Vec<&'a str> {
        let at = |chain: &Chain| {
            let hook = chain.hook.as_deref();
            hook.is_some_and(|hook| hooks.contains(&hook))
        };
        let mut fates = BTreeMap::new();
        let mut stops = |name: &'a str, chain: &Chain| match self.fate(name, unread, 0, &mut fates)
        {
            Fate::Stops => true,
            Fate::Open => chain.drops,
            Fate::Passes => false,
        };
        let chains = self.chains.iter();
        let stopping = chains.filter(|(name, chain)| at(chain) && stops(name, chain));
        stopping.map(|(name, _)| name.as_str()).collect()
    }

    /// What becomes of the packet in a chain. `fates` has what is known of others.
    fn fate<'a>(
        &'a self,
        name: &'a str,
        unread: Unread,
        depth: usize,
        fates: &mut BTreeMap<&'a str, Fate>,
    ) -> Fate {
        let unknown = unread.of(Fate::Passes, Fate::Stops);
        let Some(chain) = self.chains.get(name).filter(|_| depth < DEEPEST) else {
            return unknown;
        };
        if let Some(known) = fates.get(name) {
            return *known;
        }
        // From the last rule on, where no other decides.
        let backwards = chain.rules.iter().rev();
        let fate = backwards.fold(Fate::Open, |rest, rule| {
            let mut of = |target: &'a str| self.fate(target, unread, depth + 1, fates);
            let taken = match &rule.then {
                Then::Next => rest,
                Then::Accept => Fate::Passes,
                Then::Drop => Fate::Stops,
                Then::Return => Fate::Open,
                Then::Unknown => unknown,
                Then::Goto(target) => of(target),
                Then::Jump(target) => match of(target) {
                    Fate::Open => rest,
                    decided => decided,
                },
            };
            match rule.holds {
                Holds::Yes => taken,
                Holds::No => rest,
                Holds::Maybe => taken.min(rest),
                Holds::Unread => unread.of(taken, rest),
            }
        });
        fates.insert(name, fate);
        fate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(drops: bool, rules: &[(Holds, Then)], called: &[(Holds, Then)]) -> Table {
        let chain = |hook: Option<&str>, drops, rules: &[(Holds, Then)]| Chain {
            hook: hook.map(str::to_owned),
            drops,
            rules: rules
                .iter()
                .map(|(holds, then)| Rule {
                    holds: *holds,
                    then: then.clone(),
                })
                .collect(),
        };
        let chains = [
            ("base".to_owned(), chain(Some("output"), drops, rules)),
            ("called".to_owned(), chain(None, false, called)),
        ];
        Table {
            name: "ip6 filter".to_owned(),
            chains: chains.into(),
        }
    }

    #[test]
    fn only_what_is_sure_stops_a_packet() {
        use Holds::{Maybe, No, Yes};
        let jump = || Then::Jump("called".to_owned());
        let goto = || Then::Goto("called".to_owned());
        for (number, (drops, rules, called, stops)) in [
            (false, vec![], vec![], false),
            (true, vec![], vec![], true),
            (false, vec![(Yes, Then::Drop)], vec![], true),
            (false, vec![(Maybe, Then::Drop)], vec![], false),
            (false, vec![(No, Then::Drop)], vec![], false),
            (true, vec![(Maybe, Then::Accept)], vec![], false),
            (true, vec![(No, Then::Accept)], vec![], true),
            (true, vec![(Yes, Then::Next)], vec![], true),
            (false, vec![(Yes, jump())], vec![(Yes, Then::Drop)], true),
            (false, vec![(Maybe, jump())], vec![(Yes, Then::Drop)], false),
            (true, vec![(Yes, jump())], vec![(Yes, Then::Return)], true),
            (
                true,
                vec![(Maybe, jump())],
                vec![(Yes, Then::Accept)],
                false,
            ),
            (true, vec![(Yes, jump())], vec![(Maybe, Then::Return)], true),
            (false, vec![(Yes, goto()), (Yes, Then::Drop)], vec![], false),
            (
                false,
                vec![(Maybe, goto()), (Yes, Then::Drop)],
                vec![(Yes, Then::Drop)],
                true,
            ),
        ]
        .into_iter()
        .enumerate()
        {
            let table = table(drops, &rules, &called);
            let expected: &[&str] = if stops { &["base"] } else { &[] };
            for unread in [Unread::LetPass, Unread::Stop] {
                assert_eq!(table.stopping(&["output"], unread), expected, "{number}");
                assert_eq!(table.stopping(&["input"], unread), [""; 0], "{number}");
            }
        }
    }

    /// Whatever each of the rules that cannot be read does, it is told apart from what is sure.
    #[test]
    fn rules_that_cannot_be_read_are_in_doubt_where_it_matters() {
        use Holds::{Maybe, Unread as Doubt, Yes};
        let jump = || Then::Jump("called".to_owned());
        let goto = || Then::Goto("called".to_owned());
        for (number, (drops, rules, called, doubt)) in [
            (false, vec![(Doubt, Then::Drop)], vec![], true),
            (false, vec![(Yes, Then::Unknown)], vec![], true),
            (true, vec![(Doubt, Then::Accept)], vec![], true),
            (
                true,
                vec![(Yes, jump())],
                vec![(Doubt, Then::Return), (Yes, Then::Accept)],
                true,
            ),
            (false, vec![(Doubt, jump())], vec![(Yes, Then::Drop)], true),
            (
                false,
                vec![(Doubt, goto()), (Yes, Then::Accept)],
                vec![(Yes, Then::Drop)],
                true,
            ),
            (
                false,
                vec![(Yes, Then::Jump("no chain".to_owned()))],
                vec![],
                true,
            ),
            // A chain that calls itself, which the kernel refuses.
            (
                false,
                vec![(Yes, Then::Jump("base".to_owned()))],
                vec![],
                true,
            ),
            // What is decided anyway is in no doubt.
            (
                true,
                vec![(Yes, Then::Accept), (Doubt, Then::Drop)],
                vec![],
                false,
            ),
            (false, vec![(Doubt, Then::Accept)], vec![], false),
            (
                false,
                vec![(Maybe, jump())],
                vec![(Doubt, Then::Drop)],
                false,
            ),
            (false, vec![(Doubt, Then::Next)], vec![], false),
        ]
        .into_iter()
        .enumerate()
        {
            let table = table(drops, &rules, &called);
            let expected: &[&str] = if doubt { &["base"] } else { &[] };
            assert_eq!(
                table.stopping(&["output"], Unread::Stop),
                expected,
                "{number}"
            );
            assert_eq!(
                table.stopping(&["output"], Unread::LetPass),
                [""; 0],
                "{number}"
            );
        }
    }
}
