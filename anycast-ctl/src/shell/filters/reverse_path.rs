//! Rules that drop a packet when the route to its source leads by another interface than the one where it came in
//! (strict reverse path forwarding, RFC 3704 section 2.2).
//!
//! What an anycast address sends comes from each of its members, while its route leads to some of them: a router gets
//! Home Test Inits from members to which it sends nothing, and a gateway gets from every member with which sessions are
//! bound what its programs have given back the anycast address as its source.

use super::{
    chain::{Packet, Table, Unread},
    stopping::{By, Filter, stopping},
};
use crate::{config::Config, model::policy::Decision, shell::finding::Finding};

/// Prefixes of the anycast addresses of a router and a gateway.
pub(super) fn addresses(config: &Config) -> Vec<String> {
    let policy = config
        .router_role()
        .map_or(&[][..], |router| &router.policy);
    let allowed = policy.iter().map(|rule| rule.get_ref());
    let allowed = allowed.filter(|rule| rule.action == Decision::Allow);
    let allowed = allowed.map(|rule| &rule.anycast);
    let gateway = config.correspondent_role();
    let gateway = gateway.map_or(&[][..], |gateway| &gateway.allow);
    let mut prefixes: Vec<String> = allowed
        .chain(gateway)
        .map(|prefix| prefix.get_ref().0.to_string())
        .collect();
    prefixes.sort();
    prefixes.dedup();
    prefixes
}

/// What is told of the chains that stop packets which come astray, and no others.
pub(super) fn judged(
    ways: &[By<'_>],
    addresses: &[String],
    filter: Filter,
    read: &dyn Fn(&Packet<'_>) -> Vec<Table>,
) -> Vec<Finding> {
    let anyhow = stopping(ways, false, read, Unread::LetPass);
    let mut stopping = stopping(ways, true, read, Unread::LetPass);
    stopping.retain(|chain| !anyhow.contains(chain));
    let found = |(table, chain): &(String, String)| {
        let message = format!(
            "table {table} drops in its chain {chain} what comes in by another interface than the route to its source \
             leads to (a reverse path filter): sessions with members to which the route of their anycast address does \
             not lead stand still, or are not bound"
        );
        Finding::new(
            "reverse_path",
            message,
            remedy(filter, table, chain, addresses),
        )
    };
    stopping.iter().map(found).collect()
}

/// What has such a chain let anycast addresses pass.
fn remedy(filter: Filter, table: &str, chain: &str, addresses: &[String]) -> String {
    if table.ends_with(" firewalld") {
        return "IPv6_rpfilter=no in /etc/firewalld/firewalld.conf, or loose where firewalld knows \
                that, and systemctl restart firewalld"
            .to_owned();
    }
    let each = |prefix: &String| match filter {
        Filter::Nft => format!("nft insert rule {table} {chain} ip6 saddr {prefix} accept"),
        Filter::Legacy => {
            format!("ip6tables-legacy -t {table} -I {chain} -s {prefix} -j ACCEPT")
        }
    };
    match addresses {
        [] => "let the anycast addresses of members pass before it".to_owned(),
        known => known.iter().map(each).collect::<Vec<_>>().join("; "),
    }
}
