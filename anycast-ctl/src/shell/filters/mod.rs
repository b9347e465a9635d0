//! The packet filter of this machine: rules that drop what the protocol needs, and rules that XDP by-passes.

mod chain;
mod legacy;
mod nft;

use std::process::{Command, Stdio};

use anycast_common::abi::roles::{CORRESPONDENT, MEMBER};

use self::chain::{Packet, Table, Way};
use super::{finding::Finding, surroundings};
use crate::config::{Config, settings};

/// Interfaces where XDP forwards packets of bound flows past the rules that there are.
pub(super) fn by_passed(config: &Config) -> Vec<Finding> {
    let on = |name| {
        let message = format!(
            "XDP forwards packets of bound flows past the packet filter of this machine on {name}"
        );
        let remedy = "forward = \"kernel\" in [correspondent], where rules are to hold for them";
        Finding::new("netfilter", message, remedy)
    };
    surroundings::by_passing(config)
        .into_iter()
        .map(on)
        .collect()
}

/// Chains that drop the messages of the Mobility Header which this machine's roles exchange. Only what is sure is told:
/// a rule that may let one pass is taken to do so. Nothing to who may not read the rules, which takes CAP_NET_ADMIN.
///
/// Messages for clients are taken by programs before netfilter, and answers leave by it. A member receives answers,
/// which belong to connections that conntrack knows by then, and begins all exchanges.
pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let interfaces = settings::interfaces(config);
    let of = |roles: u8| -> Vec<&str> {
        let with = interfaces.iter();
        let with = with.filter(|(_, wanted)| wanted.roles & roles != 0);
        with.map(|(name, _)| name.as_str()).collect()
    };
    let ways = [
        (Way::In, of(MEMBER)),
        (Way::Out, of(MEMBER | CORRESPONDENT)),
    ];
    if ways.iter().all(|(_, names)| names.is_empty()) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    if let Some(rules) = say("nft", &["--json", "--numeric", "list", "ruleset"])
        && let Ok(rules) = serde_json::from_str(&rules)
    {
        let read = |packet: &Packet<'_>| nft::tables(&rules, packet);
        findings.extend(stopping(&ways, read).into_iter().map(|(table, chain)| {
            let remedy = format!("nft insert rule {table} {chain} meta l4proto 135 accept");
            dropping(&table, &chain, remedy)
        }));
    }
    let is_there = std::fs::read_to_string("/proc/net/ip6_tables_names");
    if is_there.is_ok_and(|names| !names.is_empty())
        && let Some(rules) =
            say("ip6tables-legacy-save", &[]).or_else(|| say("ip6tables-save", &[]))
    {
        let read = |packet: &Packet<'_>| legacy::tables(&rules, packet);
        findings.extend(stopping(&ways, read).into_iter().map(|(table, chain)| {
            let remedy = format!("ip6tables-legacy -t {table} -I {chain} -p 135 -j ACCEPT");
            dropping(&table, &chain, remedy)
        }));
    }
    findings
}

fn dropping(table: &str, chain: &str, remedy: String) -> Finding {
    let message = format!(
        "table {table} drops the Mobility Header (protocol 135) in its chain {chain}, so that no session is bound"
    );
    Finding::new("protocol_135", message, remedy)
}

/// Table and name of each chain that drops the messages of one way at all interfaces of that way.
fn stopping(
    ways: &[(Way, Vec<&str>)],
    read: impl Fn(&Packet<'_>) -> Vec<Table>,
) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (way, names) in ways {
        let at = |interface: &&str| -> Vec<(String, String)> {
            let way = *way;
            let packet = Packet { interface, way };
            let tables = read(&packet);
            let stopping = tables.iter().flat_map(|table| {
                let chains = table.stopping(&packet.hooks()).into_iter();
                chains.map(|chain| (table.name.clone(), chain.to_owned()))
            });
            stopping.collect()
        };
        let mut all = names.iter().map(at);
        let mut here = all.next().unwrap_or_default();
        for other in all {
            here.retain(|chain| other.contains(chain));
        }
        found.extend(here);
    }
    found
}

/// What a program of the system says, also where its directory is in nobody's `PATH`.
fn say(program: &str, arguments: &[&str]) -> Option<String> {
    let run = |program: &str| {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        command.output().ok()
    };
    let output = run(program).or_else(|| run(&format!("/usr/sbin/{program}")))?;
    let text = output.status.success().then_some(output.stdout)?;
    String::from_utf8(text).ok()
}
