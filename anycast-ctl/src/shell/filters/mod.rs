//! The packet filter of this machine: rules that drop what the protocol needs, and rules that XDP by-passes.

mod chain;
mod legacy;
mod nft;
mod reverse_path;
mod stopping;

use std::process::{Command, Stdio};

use anycast_common::abi::roles::{CORRESPONDENT, MEMBER, ROUTER};

use self::{
    chain::{Packet, Table, Unread, Way},
    stopping::{By, Filter, stopping},
};
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

/// Chains that drop the messages of the Mobility Header which this machine's roles exchange or forward, or that may do
/// so by a rule that cannot be read, and those that drop what an anycast address sends by another interface than that
/// of its route. A rule about what only a packet has is taken to let it pass. Nothing to who may not read the rules,
/// which takes CAP_NET_ADMIN.
///
/// Messages for clients are taken by a gateway's programs before netfilter, so that it forwards none, and answers leave
/// by it. A member receives answers, which belong to connections that conntrack knows by then, and begins all
/// exchanges. A router forwards both between its links, each of which has members of its own, and the rest of the
/// network.
pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let interfaces = settings::interfaces(config);
    let of = |roles: u8| -> Vec<&str> {
        let with = interfaces.iter();
        let with = with.filter(|(_, wanted)| wanted.roles & roles != 0);
        with.map(|(name, _)| name.as_str()).collect()
    };
    let each = |way| of(ROUTER).into_iter().map(move |name| (way, vec![name]));
    let mut ways = vec![
        (Way::In, of(MEMBER)),
        (Way::Out, of(MEMBER | CORRESPONDENT)),
    ];
    ways.extend([Way::From, Way::To].into_iter().flat_map(each));
    if ways.iter().all(|(_, names)| names.is_empty()) {
        return Vec::new();
    }
    let mut astray: Vec<By<'_>> = each(Way::From).collect();
    let gateway = config.correspondent_role();
    if gateway.is_some_and(|gateway| !gateway.is_client()) {
        // Rules at some of them may be about clients' addresses, which belong to one side.
        astray.push((Way::Back, of(CORRESPONDENT)));
    }
    let addresses = reverse_path::addresses(config);
    let judged = |filter: Filter, read: &dyn Fn(&Packet<'_>) -> Vec<Table>| {
        let mut findings = judged(&ways, filter, read);
        findings.extend(reverse_path::judged(&astray, &addresses, filter, read));
        findings
    };
    let mut findings = Vec::new();
    if let Some(rules) = say("nft", &["--json", "--numeric", "list", "ruleset"])
        && let Ok(rules) = serde_json::from_str(&rules)
    {
        // What iptables-nft has made of its rules says less than what it makes of them again.
        let saved = nft::has_words_of_iptables(&rules)
            .then(|| saved(["ip6tables-nft-save", "ip6tables-save"], true))
            .flatten();
        findings.extend(judged(Filter::Nft, &|packet| {
            let mut tables = nft::tables(&rules, packet);
            for mut table in saved.iter().flat_map(|saved| legacy::tables(saved, packet)) {
                table.name = format!("ip6 {}", table.name);
                let same = tables.iter_mut().find(|it| it.name == table.name);
                if let Some(same) = same {
                    same.chains.extend(table.chains);
                }
            }
            tables
        }));
    }
    let is_there = std::fs::read_to_string("/proc/net/ip6_tables_names");
    if is_there.is_ok_and(|names| !names.is_empty())
        && let Some(rules) = saved(["ip6tables-legacy-save", "ip6tables-save"], false)
    {
        let read = |packet: &Packet<'_>| legacy::tables(&rules, packet);
        findings.extend(judged(Filter::Legacy, &read));
    }
    findings
}

/// Rules of iptables-nft, or of what was before it, by the first of these programs that is for those.
fn saved(programs: [&str; 2], nft: bool) -> Option<String> {
    let mut those = programs.iter().filter(|program| {
        let version = say(program, &["-V"]).unwrap_or_default();
        is_of_nft(program, &version) == nft
    });
    those.find_map(|program| say(program, &[]))
}

/// Whether this program, of this version, has the rules of iptables-nft. What it saves does not say so before 1.8.8,
/// and versions before 1.8.0, which do not say it either, have none.
fn is_of_nft(program: &str, version: &str) -> bool {
    program.contains("-nft-") || version.contains("(nf_tables)")
}

/// What is told of the chains that stop, or may stop, the messages of one way at all interfaces of that way.
fn judged(
    ways: &[By<'_>],
    filter: Filter,
    read: &dyn Fn(&Packet<'_>) -> Vec<Table>,
) -> Vec<Finding> {
    let sure = stopping(ways, false, read, Unread::LetPass);
    let mut doubtful = stopping(ways, false, read, Unread::Stop);
    doubtful.retain(|chain| !sure.contains(chain));
    let stops = |(table, chain): &(String, String)| {
        let message = format!(
            "table {table} drops the Mobility Header (protocol 135) in its chain {chain}, so that no session is bound"
        );
        Finding::new("protocol_135", message, filter.remedy(table, chain))
    };
    let may_stop = |(table, chain): &(String, String)| {
        let message = format!(
            "table {table} has a rule that cannot be read here, by which its chain {chain} may drop the Mobility \
             Header (protocol 135)"
        );
        let remedy = format!(
            "look at it yourself ({}), or let the messages pass before it: {}",
            filter.shows(table, chain),
            filter.remedy(table, chain)
        );
        Finding::new("protocol_135_unread", message, remedy)
    };
    let sure = sure.iter().map(stops);
    sure.chain(doubtful.iter().map(may_stop)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_iptables_nft_are_told_by_name_and_version() {
        for (program, version, nft) in [
            (
                "ip6tables-save",
                "ip6tables-save v1.8.4 (nf_tables)\n",
                true,
            ),
            (
                "ip6tables-save",
                "ip6tables-save v1.8.9 (nf_tables)\n",
                true,
            ),
            ("ip6tables-save", "ip6tables-save v1.8.7 (legacy)\n", false),
            ("ip6tables-save", "", false),
            ("ip6tables-nft-save", "", true),
            (
                "ip6tables-legacy-save",
                "ip6tables-save v1.8.9 (legacy)\n",
                false,
            ),
        ] {
            assert_eq!(is_of_nft(program, version), nft, "{program} {version}");
        }
    }
}
