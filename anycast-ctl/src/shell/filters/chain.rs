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
}

/// A message of the Mobility Header, as rules see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    /// Where it comes in, or leaves.
    pub interface: &'a str,
    pub way: Way,
}

impl Packet<'_> {
    /// The hooks of netfilter that it meets.
    pub(super) fn hooks(&self) -> [&'static str; 2] {
        match self.way {
            Way::In => ["prerouting", "input"],
            Way::Out => ["output", "postrouting"],
        }
    }
}

/// Whether a condition is true of the packet. The smaller of two is that of both together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holds {
    No,
    /// It depends on what only the packet or the kernel knows.
    Maybe,
    Yes,
}

impl Holds {
    pub(super) fn not(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Maybe => Self::Maybe,
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It passes, or may do so.
    Passes,
    /// No packet like this one passes.
    Stops,
    /// No rule has decided.
    Open,
}

impl Table {
    /// The chains at these hooks that surely drop the packet.
    pub(super) fn stopping(&self, hooks: &[&str]) -> Vec<&str> {
        let at = |chain: &Chain| {
            let hook = chain.hook.as_deref();
            hook.is_some_and(|hook| hooks.contains(&hook))
        };
        let stops = |name: &str, chain: &Chain| match self.fate(name, 0) {
            Fate::Stops => true,
            Fate::Open => chain.drops,
            Fate::Passes => false,
        };
        let chains = self.chains.iter();
        let stopping = chains.filter(|(name, chain)| at(chain) && stops(name, chain));
        stopping.map(|(name, _)| name.as_str()).collect()
    }

    fn fate(&self, name: &str, depth: usize) -> Fate {
        let Some(chain) = self.chains.get(name).filter(|_| depth < DEEPEST) else {
            return Fate::Passes;
        };
        for rule in chain.rules.iter().filter(|rule| rule.holds != Holds::No) {
            let is_sure = rule.holds == Holds::Yes;
            match &rule.then {
                Then::Next => {}
                Then::Accept | Then::Unknown => return Fate::Passes,
                Then::Drop if is_sure => return Fate::Stops,
                Then::Drop => {}
                Then::Return if is_sure => return Fate::Open,
                // What comes then is decided elsewhere.
                Then::Return => return Fate::Passes,
                Then::Jump(target) => match self.fate(target, depth + 1) {
                    Fate::Passes => return Fate::Passes,
                    Fate::Stops if is_sure => return Fate::Stops,
                    Fate::Stops | Fate::Open => {}
                },
                Then::Goto(target) => match self.fate(target, depth + 1) {
                    fate if is_sure => return fate,
                    Fate::Stops => {}
                    Fate::Passes | Fate::Open => return Fate::Passes,
                },
            }
        }
        Fate::Open
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
            (true, vec![(Yes, Then::Unknown)], vec![], false),
            (false, vec![(Yes, jump())], vec![(Yes, Then::Drop)], true),
            (false, vec![(Maybe, jump())], vec![(Yes, Then::Drop)], false),
            (true, vec![(Yes, jump())], vec![(Yes, Then::Return)], true),
            (
                true,
                vec![(Maybe, jump())],
                vec![(Yes, Then::Accept)],
                false,
            ),
            (
                true,
                vec![(Yes, jump())],
                vec![(Maybe, Then::Return)],
                false,
            ),
            (false, vec![(Yes, goto()), (Yes, Then::Drop)], vec![], false),
            (
                false,
                vec![(Maybe, goto()), (Yes, Then::Drop)],
                vec![(Yes, Then::Drop)],
                true,
            ),
            // A chain that calls itself, which the kernel refuses.
            (
                true,
                vec![(Yes, Then::Jump("base".to_owned()))],
                vec![],
                false,
            ),
        ]
        .into_iter()
        .enumerate()
        {
            let table = table(drops, &rules, &called);
            let expected: &[&str] = if stops { &["base"] } else { &[] };
            assert_eq!(table.stopping(&["output"]), expected, "{number}");
            assert_eq!(table.stopping(&["input"]), [""; 0], "{number}");
        }
    }
}
