//! Formats what a machine knows of a client and an anycast address.

use super::{
    show::counted,
    show_flows, show_policy,
    table::{Table, wrapped},
};
use crate::shell::api::view;

pub(super) fn explained(explained: &view::ClientExplained) -> String {
    let mut text = String::new();
    for role in &explained.roles {
        text += &wrapped(&format!("{}: {}", role.role, role.message), 0);
    }
    let mut ways = Table::new(&["PACKETS TO", "GO BY", "NEXT HOP", "NEIGHBOUR", "MTU"]);
    for way in &explained.ways {
        let hop = way.next_hop.map(|hop| hop.to_string());
        ways.row([
            way.to.to_string(),
            way.interface.clone().unwrap_or_else(|| "NO ROUTE".into()),
            hop.unwrap_or_default(),
            way.neighbour_state.clone().unwrap_or_default(),
            way.mtu.map(|mtu| mtu.to_string()).unwrap_or_default(),
        ]);
    }
    text += &format!("\n{}", ways.render("no ways"));
    let flows = &explained.flows;
    let of = |state: &str| {
        let flows = flows.iter();
        flows
            .filter(|flow| flow.state.as_deref() == Some(state))
            .count()
    };
    text += &format!(
        "\n{}: {} open, {} on trial, {} bound; {} by care-of addresses of this machine\n",
        counted(flows.len(), "flow"),
        of("open"),
        of("trial"),
        of("bound"),
        flows.iter().filter(|flow| flow.state.is_none()).count(),
    );
    if !explained.limits.is_empty() {
        let mut limits = Table::new(&["LIMIT", "MEMBER", "USED", "MOST"]);
        for limit in &explained.limits {
            let member = limit.care_of.map(|care_of| care_of.to_string());
            limits.row([
                limit.limit.clone(),
                member.unwrap_or_default(),
                limit.used.to_string(),
                limit.most.to_string(),
            ]);
        }
        text += &format!("\n{}", limits.render(""));
    }
    if !explained.bindings.is_empty() {
        text += &format!("\n{}", show_flows::bindings(&explained.bindings));
    }
    if !explained.handshakes.is_empty() {
        text += &format!("\n{}", show_flows::handshakes(&explained.handshakes, None));
    }
    if !explained.refusals.is_empty() {
        text += &format!("\n{}", show_policy::mobility(&explained.refusals));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_not_shown() {
        let address = "2001:db8::1".parse().expect("an address");
        let text = explained(&view::ClientExplained {
            client: address,
            anycast: address,
            roles: vec![view::RoleExplained {
                role: "correspondent".to_owned(),
                code: "not_bound".to_owned(),
                message: "not bound".to_owned(),
            }],
            ways: vec![view::WayExplained {
                to: address,
                interface: None,
                next_hop: None,
                mtu: None,
                neighbour: None,
                neighbour_state: None,
            }],
            bindings: Vec::new(),
            handshakes: Vec::new(),
            flows: Vec::new(),
            refusals: Vec::new(),
            limits: Vec::new(),
        });
        assert_eq!(
            text,
            "correspondent: not bound\n\n\
             PACKETS TO   GO BY     NEXT HOP  NEIGHBOUR  MTU\n2001:db8::1  NO ROUTE  -         -          -\n\n\
             0 flows: 0 open, 0 on trial, 0 bound; 0 by care-of addresses of this machine\n"
        );
    }
}
