//! What is tried on cards, and what came of it.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// The Ethernet address of a card.
pub(super) fn mac(number: u8) -> String {
    format!("52:54:00:00:00:{number:02x}")
}

/// What stands on the cards, by lines of `ip` in which `DEV` is a card, `NEW` what stands on it, `NEAR` the end's
/// number, 1 or 2, and `FAR` the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stack {
    pub name: &'static str,
    pub lines: &'static [&'static str],
    /// Programs are attached to what stands on the card, and not to the card.
    pub above: bool,
    /// Only the link between the routers is like this: on the other one a router needs Ethernet.
    pub first_only: bool,
}

const PLAIN: Stack = Stack {
    name: "card",
    lines: &[],
    above: false,
    first_only: false,
};

const STACKS: [Stack; 9] = [
    Stack {
        name: "card with a VLAN on it",
        lines: &[
            "link add link DEV name NEW type vlan id 7",
            "link set NEW up",
        ],
        ..PLAIN
    },
    Stack {
        name: "VLAN",
        lines: &[
            "link add link DEV name NEW type vlan id 7",
            "link set NEW up",
        ],
        above: true,
        ..PLAIN
    },
    Stack {
        name: "bond",
        lines: &[
            "link add NEW type bond mode active-backup miimon 100",
            "link set DEV down",
            "link set DEV master NEW",
            "link set NEW up",
        ],
        above: true,
        ..PLAIN
    },
    Stack {
        name: "bridge",
        lines: &[
            "link add NEW type bridge mcast_snooping 0",
            "link set DEV master NEW",
            "link set NEW up",
        ],
        above: true,
        ..PLAIN
    },
    Stack {
        name: "macvlan",
        lines: &[
            "link add link DEV name NEW type macvlan mode bridge",
            "link set NEW up",
        ],
        above: true,
        ..PLAIN
    },
    Stack {
        name: "sit",
        lines: &[
            "address add 192.0.2.NEAR/24 dev DEV",
            "link add NEW type sit local 192.0.2.NEAR remote 192.0.2.FAR ttl 64",
            "link set NEW up",
        ],
        above: true,
        first_only: true,
    },
    Stack {
        name: "ip6gre",
        lines: &[
            "address add 2001:db8:66::NEAR/64 dev DEV nodad",
            "link add NEW type ip6gre local 2001:db8:66::NEAR remote 2001:db8:66::FAR",
            "link set NEW up",
        ],
        above: true,
        first_only: true,
    },
    Stack {
        name: "ip6tnl",
        lines: &[
            "address add 2001:db8:66::NEAR/64 dev DEV nodad",
            "link add NEW type ip6tnl mode ip6ip6 local 2001:db8:66::NEAR remote 2001:db8:66::FAR",
            "link set NEW up",
        ],
        above: true,
        first_only: true,
    },
    Stack {
        name: "VXLAN",
        lines: &[
            "address add 192.0.2.NEAR/24 dev DEV",
            "link add NEW type vxlan id 7 local 192.0.2.NEAR remote 192.0.2.FAR dstport 4789",
            "link set NEW up",
        ],
        above: true,
        ..PLAIN
    },
];

/// One thing that is tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub stack: Stack,
    pub mode: &'static str,
    pub mtu: u32,
}

/// All of them.
pub(super) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for mtu in [1500, 9000] {
        for mode in ["native", "auto", "tcx"] {
            let stack = PLAIN;
            cases.push(Case { stack, mode, mtu });
        }
    }
    cases.push(Case {
        stack: PLAIN,
        mode: "generic",
        mtu: 1500,
    });
    for stack in STACKS {
        for mode in ["native", "auto"] {
            let mtu = 1500;
            cases.push(Case { stack, mode, mtu });
        }
    }
    cases
}

/// What came of a case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Row {
    pub card: String,
    pub stack: String,
    pub mtu: u32,
    pub mode: String,
    /// The mode that the uplink of the gateway got, and why.
    pub got: Option<(String, String)>,
    /// What happened, in words.
    pub result: String,
    /// Sessions were carried, or it was refused in words.
    pub is_right: bool,
    pub seconds: f64,
}

/// A table in Markdown.
pub(super) fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| card | device | MTU | mode | attached | result |\n|---|---|---:|---|---|---|\n",
    );
    for row in rows {
        let got = match &row.got {
            Some((mode, reason)) if row.mode == "auto" => format!("{mode} ({reason})"),
            Some((mode, _)) => mode.clone(),
            None => "-".to_owned(),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | `{}` | {} | {} |",
            row.card,
            row.stack,
            row.mtu,
            row.mode,
            got.replace('|', "/"),
            row.result.replace('|', "/"),
        );
    }
    text
}
