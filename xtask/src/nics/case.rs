//! What is tried on cards, and what came of it.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// The Ethernet address of a card.
pub(super) fn mac(number: u8) -> String {
    format!("52:54:00:00:00:{number:02x}")
}

/// What stands on the cards, by lines of `ip` (or of another word that begins them) in which `DEV` is a card, `NEW`
/// what stands on it, `NEAR` the end's number, 1 or 2, `FAR` the other, `LINK` that of the link, `PEER` the Ethernet
/// address of the other end's card, and `KEY` the other end's public key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stack {
    pub name: &'static str,
    /// For a machine, once.
    pub machine: &'static [&'static str],
    /// For each card.
    pub lines: &'static [&'static str],
    /// Programs are attached to what stands on the card, and not to the card.
    pub above: bool,
    /// On which cards: 0 is the gateway's, 1 and 2 are the router's, 3 is the member's.
    pub ends: &'static [usize],
    /// What the gateway's configuration names in place of its uplink.
    pub uplink: Option<&'static str>,
    /// The routing table of machines with such cards.
    pub table: Option<u32>,
    /// The gateway says this, and binds nobody.
    pub unbound: Option<&'static str>,
    /// What a Report comes with that is for a VLAN, and not for the card.
    pub tag: Option<u16>,
}

impl Stack {
    /// The routing table of the machine with this card.
    pub(super) fn table_of(&self, end: usize) -> u32 {
        let table = self.table.filter(|_| self.ends.contains(&end));
        table.unwrap_or(MAIN)
    }
}

/// The main routing table.
const MAIN: u32 = 254;
/// The link between the routers alone: on the other one a router needs Ethernet.
const FIRST_LINK: &[usize] = &[0, 1];
/// The cards of the router in the middle.
const ROUTER: &[usize] = &[1, 2];

const PLAIN: Stack = Stack {
    name: "card",
    machine: &[],
    lines: &[],
    above: false,
    ends: &[0, 1, 2, 3],
    uplink: None,
    table: None,
    unbound: None,
    tag: None,
};

/// A card by itself, and frames of a VLAN that nobody has.
const CARD: Stack = Stack {
    tag: Some(100),
    ..PLAIN
};

/// The same, where the card has been told to leave tags where they are.
const CARD_WITH_TAGS: Stack = Stack {
    name: "card, rxvlan off",
    lines: &["rxvlan DEV off"],
    ..CARD
};

/// The same, where the card merges packets, which forwarding had turned off. Nobody sends more than a packet at once,
/// since what is merged cannot be forwarded. The driver tells the card when the link comes up.
const CARD_WITH_LRO: Stack = Stack {
    name: "card, lro on",
    lines: &[
        "tso DEV off",
        "lro DEV on",
        "link set DEV down",
        "link set DEV up",
    ],
    ..PLAIN
};

const CARD_WITH_VLAN: Stack = Stack {
    name: "card with a VLAN on it",
    lines: &[
        "link add link DEV name NEW type vlan id 7",
        "link set NEW up",
    ],
    tag: Some(7),
    ..PLAIN
};

const STACKS: [Stack; 14] = [
    Stack {
        name: "VLAN",
        lines: CARD_WITH_VLAN.lines,
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
        name: "card in a router's VRF",
        machine: &["link add red type vrf table 100", "link set red up"],
        lines: &["link set DEV master red"],
        ends: ROUTER,
        table: Some(100),
        ..PLAIN
    },
    Stack {
        name: "card in a gateway's VRF",
        machine: &[
            "link add red type vrf table 100",
            "link set red up",
            "link set clients0 master red",
        ],
        lines: &["link set DEV master red"],
        ends: &[0],
        table: Some(100),
        unbound: Some("is in a VRF"),
        ..PLAIN
    },
    Stack {
        name: "VRF",
        machine: &["link add red type vrf table 100", "link set red up"],
        ends: &[0],
        uplink: Some("red"),
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
        ends: FIRST_LINK,
        ..PLAIN
    },
    Stack {
        name: "GRE",
        lines: &[
            "address add 192.0.2.NEAR/24 dev DEV",
            "link add NEW type gre local 192.0.2.NEAR remote 192.0.2.FAR ttl 64",
            "link set NEW up",
        ],
        above: true,
        ends: FIRST_LINK,
        ..PLAIN
    },
    Stack {
        name: "ip6gre",
        lines: &[
            "address add 2001:db8:66::NEAR/64 dev DEV nodad",
            "link add NEW type ip6gre local 2001:db8:66::NEAR remote 2001:db8:66::FAR",
            "link set NEW up",
        ],
        above: true,
        ends: FIRST_LINK,
        ..PLAIN
    },
    Stack {
        name: "ip6tnl",
        lines: &[
            "address add 2001:db8:66::NEAR/64 dev DEV nodad",
            "link add NEW type ip6tnl mode ip6ip6 local 2001:db8:66::NEAR remote 2001:db8:66::FAR",
            "link set NEW up",
        ],
        above: true,
        ends: FIRST_LINK,
        ..PLAIN
    },
    Stack {
        name: "WireGuard",
        lines: &[
            "address add 192.0.2.NEAR/24 dev DEV",
            "link add NEW type wireguard",
            "wg set NEW listen-port 51820 private-key /tmp/wgNEAR peer KEY allowed-ips ::/0 \
             endpoint 192.0.2.FAR:51820",
            "link set NEW up",
        ],
        above: true,
        ends: FIRST_LINK,
        ..PLAIN
    },
    // A session without discovery, which both ends know.
    Stack {
        name: "PPPoE",
        lines: &[
            "pppd plugin PLUGIN nic-DEV pppoe-sess LINK:PEER ifname NEW noauth noip +ipv6 \
             ipv6 ::66:NEAR,::66:FAR nodetach nodefaultroute noaccomp nopcomp noccp lcp-echo-interval 0",
        ],
        above: true,
        ends: FIRST_LINK,
        ..PLAIN
    },
    Stack {
        name: "VXLAN",
        lines: &[
            "address add 10.0.LINK.NEAR/24 dev DEV",
            "link add NEW type vxlan id LINK local 10.0.LINK.NEAR remote 10.0.LINK.FAR dstport 4789",
            "link set NEW up",
        ],
        above: true,
        ..PLAIN
    },
];

/// In place of a mode: no daemon runs. What a card does by itself, against which the other modes are seen.
pub(super) const WITHOUT: &str = "none";

/// One thing that is tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub stack: Stack,
    pub mode: &'static str,
    pub mtu: u32,
    /// What happens after a session was bound.
    pub later: Option<Later>,
    /// Without daemons, too, no packets pass that are as large as the MTU.
    pub stalls: bool,
}

/// What comes to a card while daemons run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Later {
    /// A VLAN device to the router's card, and one to the gateway's veth.
    Vlan,
    /// The router's card is told to take tags off.
    TagsOff,
    /// All links get this MTU.
    Mtu(u32),
}

/// The largest MTU that is tried. Where a card passes less of it, nothing of ours is tried with more.
pub(super) const LARGEST: u32 = 9000;

/// What is tried on a card by itself, which takes VLAN tags off as it is, or does not, and whose packets are as large
/// as this at most.
pub(super) fn of_card(takes_tags_off: bool, largest: u32) -> Vec<Case> {
    let case = |stack, mode, mtu| Case {
        stack,
        mode,
        mtu,
        later: None,
        stalls: false,
    };
    let mut cases = Vec::new();
    for mtu in [1500, largest] {
        let modes = [WITHOUT, "native", "auto", "tcx"];
        cases.extend(modes.map(|mode| case(CARD, mode, mtu)));
    }
    if largest < LARGEST {
        cases.push(Case {
            stalls: true,
            ..case(CARD, WITHOUT, LARGEST)
        });
        let modes = [WITHOUT, "auto", "tcx"];
        cases.extend(modes.map(|mode| case(CARD_WITH_LRO, mode, LARGEST)));
    }
    cases.push(case(CARD, "generic", 1500));
    let modes = ["native", "auto", "tcx", "generic"];
    cases.extend(modes.map(|mode| case(CARD_WITH_VLAN, mode, 1500)));
    cases.push(Case {
        later: Some(Later::Vlan),
        ..case(PLAIN, "auto", 1500)
    });
    for (mtu, later) in [(1500, largest), (largest, 1500)] {
        let native = takes_tags_off.then_some((CARD_WITH_TAGS, "generic"));
        let own = native.unwrap_or((PLAIN, "native"));
        let modes = [(PLAIN, WITHOUT), (PLAIN, "auto"), (PLAIN, "tcx"), own];
        cases.extend(modes.map(|(stack, mode)| Case {
            later: Some(Later::Mtu(later)),
            ..case(stack, mode, mtu)
        }));
    }
    if takes_tags_off {
        let modes = ["native", "auto", "generic"];
        cases.extend(modes.map(|mode| case(CARD_WITH_TAGS, mode, 1500)));
        cases.push(case(CARD_WITH_TAGS, "native", LARGEST));
        if largest < LARGEST {
            cases.push(case(CARD_WITH_TAGS, "native", largest));
        }
        cases.extend(["native", "generic"].map(|mode| Case {
            later: Some(Later::TagsOff),
            ..case(CARD_WITH_TAGS, mode, 1500)
        }));
    }
    cases
}

/// What is tried of devices that stand on cards.
pub(super) fn of_stacks() -> Vec<Case> {
    let mut cases = Vec::new();
    for stack in STACKS {
        for mode in [WITHOUT, "native", "auto"] {
            cases.push(Case {
                stack,
                mode,
                mtu: 1500,
                later: None,
                stalls: false,
            });
        }
    }
    cases
}

impl Case {
    pub(super) fn device(&self) -> String {
        let later = match self.later {
            None => String::new(),
            Some(Later::Vlan) => ", a VLAN comes later".to_owned(),
            Some(Later::TagsOff) => " and later on".to_owned(),
            Some(Later::Mtu(mtu)) => format!(", later MTU {mtu}"),
        };
        format!("{}{later}", self.stack.name)
    }
}

/// What came of a case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Row {
    pub card: String,
    pub stack: String,
    pub mtu: u32,
    pub mode: String,
    /// Offloads on the way in that the card of the router has on.
    pub offloads: String,
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
        "| card | offloads | device | MTU | mode | attached | result |\n|---|---|---|---:|---|---|---|\n",
    );
    for row in rows {
        let got = match &row.got {
            Some((mode, reason)) if row.mode == "auto" => format!("{mode} ({reason})"),
            Some((mode, _)) => mode.clone(),
            None => "-".to_owned(),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | `{}` | {} | {} |",
            row.card,
            row.offloads,
            row.stack,
            row.mtu,
            row.mode,
            got.replace('|', "/"),
            row.result.replace('|', "/"),
        );
    }
    text
}
