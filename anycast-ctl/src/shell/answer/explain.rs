//! Answers why a client is bound or not, and where its packets go, as far as this machine knows.

use std::net::Ipv6Addr;

use super::{
    clients::{bindings_of, handshakes_of},
    common::Answered,
    flows,
    groups::served,
    refusals::mobility,
};
use crate::{
    core::{
        Time,
        correspondent::{Correspondent, Selection},
        router::{Filter, Router},
    },
    shell::{
        api::{Answer, view},
        clock,
        engine::Engine,
        flows::Seen,
        netlink::requests::Requests,
        perform::Performer,
        plane::Plane,
        way,
    },
};

/// A refusal that is older says nothing of now: who is to be bound asks again within 45 s.
const LATELY: f64 = 120.0;

pub(super) fn explain(
    core: &Engine,
    plane: &Plane,
    performer: &Performer,
    seen: &Seen,
    client: Ipv6Addr,
    anycast: Ipv6Addr,
) -> Answered {
    let now = clock::now();
    let controller = core.controller();
    let which = Selection {
        client: Some(client),
        anycast: Some(anycast),
        care_of: None,
    };
    let bindings = controller.correspondent();
    let bindings = bindings.map(|role| bindings_of(role, now, &which));
    let handshakes = controller.member();
    let handshakes = handshakes.map(|role| handshakes_of(role, now, client, anycast));
    let mut explained = view::ClientExplained {
        client,
        anycast,
        roles: Vec::new(),
        ways: Vec::new(),
        bindings: bindings.unwrap_or_default(),
        handshakes: handshakes.unwrap_or_default(),
        flows: flows::of(seen, now, client, anycast),
        refusals: Vec::new(),
        limits: Vec::new(),
    };
    if let Some(role) = controller.correspondent() {
        let mut care_of = care_of(&explained);
        care_of.extend(role.left_alone(now, client, anycast));
        // What comes from an address that is known to nobody may be about another service.
        let refusals = mobility(performer, now).filter(|refusal| {
            let source = refusal.source;
            refusal.client == client && (source == anycast || care_of.contains(&source))
        });
        explained.refusals = refusals.collect();
        let limits = role.limits(client, &self::care_of(&explained)).into_iter();
        explained.limits = limits.map(limit).collect();
    }
    if let Some(router) = controller.router() {
        explained.roles.push(of_router(router, now, anycast));
    }
    if controller.member().is_some() {
        let groups = served(core, seen);
        let group = groups.iter().find(|group| group.anycast == anycast);
        explained.roles.push(of_member(group, &explained));
    }
    if let Some(correspondent) = controller.correspondent() {
        let bare = plane.interfaces().into_iter().filter(|interface| {
            let ours = interface.roles.iter().any(|role| role == "correspondent");
            ours && interface.program.is_none()
        });
        let bare: Vec<_> = bare.map(|interface| interface.name).collect();
        let role = of_correspondent(correspondent, now, &explained, &bare);
        explained.roles.push(role);
    }
    explained.ways = ways(&explained);
    Ok(Answer::ClientExplained(Box::new(explained)))
}

fn says(role: &str, code: &str, message: String) -> view::RoleExplained {
    view::RoleExplained {
        role: role.to_owned(),
        code: code.to_owned(),
        message,
    }
}

fn limit(
    (limit, care_of, used, most): (&str, Option<Ipv6Addr>, usize, usize),
) -> view::LimitExplained {
    view::LimitExplained {
        limit: limit.to_owned(),
        care_of,
        used,
        most,
    }
}

fn of_router(router: &Router, now: Time, anycast: Ipv6Addr) -> view::RoleExplained {
    let filter = Filter {
        group: Some(anycast),
        member: None,
    };
    let (members, _) = router.members_page(now, filter, None, super::common::PAGE);
    let members: Vec<_> = members
        .iter()
        .map(|row| (row.member.address, row.interface.as_str()))
        .collect();
    let hops = router.next_hops(anycast).into_iter();
    let hops: Vec<_> = hops.map(|(hop, interface)| (hop.via, interface)).collect();
    let (code, message) = members_and_hops(anycast, &members, &hops);
    says("router", code, message)
}

/// What a router does with packets to an address that has these members, by a route with these next hops.
fn members_and_hops(
    anycast: Ipv6Addr,
    members: &[(Ipv6Addr, &str)],
    hops: &[(Option<Ipv6Addr>, &str)],
) -> (&'static str, String) {
    if members.is_empty() {
        let message = format!(
            "no member of {anycast} is behind this router: packets take whatever other route there is \
             (`refusals` and `policy explain MEMBER {anycast}` say who was refused, and why)"
        );
        return ("no_member", message);
    }
    let named = |(address, interface): &(Ipv6Addr, &str)| format!("{address} on {interface}");
    let list = |those: &[(Ipv6Addr, &str)]| those.iter().map(named).collect::<Vec<_>>().join(", ");
    if hops.is_empty() {
        let message = format!(
            "{anycast} has members, {}, and no route yet (`status` shows the links, the log what the kernel refused)",
            list(members)
        );
        return ("members", message);
    }
    let go = hops.iter().map(|(via, interface)| match via {
        Some(via) => named(&(*via, interface)),
        None => format!("{interface}, where Neighbor Discovery finds a member"),
    });
    let go = go.collect::<Vec<_>>().join(", ");
    let is_hop = |member: &(Ipv6Addr, &str)| hops.contains(&(Some(member.0), member.1));
    let others: Vec<_> = members.iter().copied().filter(|it| !is_hop(it)).collect();
    let mut message = format!("packets to {anycast} go to {go}");
    if hops.iter().all(|(via, _)| via.is_none()) {
        message += &format!("; members are {}", list(&others));
    } else if !others.is_empty() {
        message += &format!("; also members, and no next hops, are {}", list(&others));
    }
    ("members", message)
}

fn of_member(
    group: Option<&view::MemberGroup>,
    explained: &view::ClientExplained,
) -> view::RoleExplained {
    let view::ClientExplained {
        client, anycast, ..
    } = explained;
    let says = |code: &str, message: String| says("member", code, message);
    let Some(group) = group else {
        let message = format!("{anycast} is no group of this machine");
        return says("not_a_group", message);
    };
    let Some(care_of) = group.care_of else {
        let message = format!("{anycast} has no care_of here, so clients are never bound");
        return says("no_care_of", message);
    };
    if let Some(known) = explained.handshakes.first() {
        let message = handshake(known, care_of);
        return says(&known.state, message);
    }
    if !group.joined {
        let message = format!(
            "this machine is not a member of {anycast} now, so it starts no handshakes; sessions that are pinned here go on"
        );
        return says("not_joined", message);
    }
    let message = format!(
        "no packet of {client} to {anycast} has come here lately: another member has it, or it does not arrive"
    );
    says("client_unknown", message)
}

fn handshake(known: &view::Handshake, care_of: Ipv6Addr) -> String {
    let heard = known.last_answer.as_ref().map(|heard| {
        let name = heard.status_name.as_ref().map(|name| format!(" ({name})"));
        let status = heard.status.map(|status| format!(" with status {status}"));
        let (status, name) = (status.unwrap_or_default(), name.unwrap_or_default());
        format!(
            "; its last answer was a {}{status}{name}",
            heard.message.replace('_', " ")
        )
    });
    let heard = heard.unwrap_or_default();
    let next = known.next_seconds;
    match (known.state.as_str(), known.left_alone.as_deref()) {
        ("bound", _) => format!("bound to {care_of} for {next:.0} s more, or until renewed{heard}"),
        (_, Some("not_capable")) => format!(
            "left alone for {next:.0} s: the client knows no binding, so no gateway with this role is before it{heard}"
        ),
        (_, Some("no_answer")) => format!(
            "left alone for {next:.0} s: nobody answered the handshake. Where a gateway is before the client, a \
             firewall may drop protocol 135 (Mobility Header) or the way back{heard}"
        ),
        (_, Some(why)) => format!("left alone for {next:.0} s: {why}{heard}"),
        ("resting", None) => {
            format!("known and not bound; the next packet starts a handshake{heard}")
        }
        (state, None) => {
            let waits = known.waiting_for.join(" and ").replace('_', " ");
            format!("a handshake is under way ({state}), which waits for: {waits}{heard}")
        }
    }
}

fn of_correspondent(
    role: &Correspondent,
    now: Time,
    explained: &view::ClientExplained,
    bare: &[String],
) -> view::RoleExplained {
    let view::ClientExplained {
        client, anycast, ..
    } = explained;
    let says = |code: &str, message: String| says("correspondent", code, message);
    if !role.covers(*client) {
        let message =
            format!("{client} is in none of `client_prefixes`: nobody answers for it here");
        return says("client_not_covered", message);
    }
    if !role.allows(*anycast) {
        let message = format!("{anycast} is in none of `allow`: nobody is bound for it here");
        return says("anycast_not_allowed", message);
    }
    let unseen = format!(
        "no program is attached to {}, so nothing is seen there (`status` says why)",
        bare.join(", ")
    );
    if let Some(binding) = explained.bindings.iter().find(|binding| binding.steers) {
        let mut message = format!(
            "bound: new flows go to {} for {:.0} s more, or until renewed",
            binding.care_of, binding.remaining_seconds
        );
        if !bare.is_empty() {
            message += &format!("; {unseen}");
        }
        return says("bound", message);
    }
    if !bare.is_empty() {
        return says("not_attached", unseen);
    }
    let alone = role.left_alone(now, *client, *anycast);
    if !alone.is_empty() {
        let names: Vec<_> = alone.iter().map(Ipv6Addr::to_string).collect();
        let message = format!(
            "not bound to {}: flows that went there were not answered by this way lately, so that they are left alone",
            names.join(", ")
        );
        return says("trial_failed", message);
    }
    let latest = explained.refusals.first();
    if let Some(refusal) = latest.filter(|refusal| refusal.last_seconds < LATELY) {
        let message = format!(
            "not bound: a message of {} was refused {:.0} s ago, {}",
            refusal.source, refusal.last_seconds, refusal.reason
        );
        return says("refused", message);
    }
    let message = "not bound: no member has asked for it in the last seconds. Flows go by plain anycast; a member asks \
                   when it gets a packet of the client, unless `explain` there says why not";
    says("not_bound", message.to_owned())
}

/// The care-of addresses of bindings and flows, in order.
fn care_of(explained: &view::ClientExplained) -> Vec<Ipv6Addr> {
    let bound = explained.bindings.iter().map(|binding| binding.care_of);
    let flows = explained.flows.iter().filter_map(|flow| flow.care_of);
    let mut care_of: Vec<_> = bound.chain(flows).collect();
    care_of.sort_unstable();
    care_of.dedup();
    care_of
}

/// The ways to A, to B and to each care-of address of a binding or a flow.
fn ways(explained: &view::ClientExplained) -> Vec<view::WayExplained> {
    let all = [explained.client, explained.anycast]
        .into_iter()
        .chain(care_of(explained));
    let mut kernel = Requests::open().ok();
    all.map(|to| {
        let way = kernel.as_mut().and_then(|kernel| way::to(kernel, to));
        let neighbour = way.as_ref().and_then(|way| way.neighbour.as_ref());
        view::WayExplained {
            to,
            interface: way.as_ref().map(|way| way.interface.clone()),
            next_hop: way.as_ref().and_then(|way| way.next_hop),
            mtu: way.as_ref().and_then(|way| way.mtu),
            neighbour: neighbour.and_then(|(_, at)| at.as_deref().map(hex)),
            neighbour_state: neighbour.map(|(state, _)| format!("{state:?}").to_lowercase()),
        }
    })
    .collect()
}

/// A link-layer address, of whatever length it is.
fn hex(octets: &[u8]) -> String {
    let octets = octets.iter().map(|octet| format!("{octet:02x}"));
    octets.collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_names_the_next_hops_and_the_other_members() {
        let [b, one, two] = ["2001:db8:a::53", "fe80::1", "fe80::2"]
            .map(|address| address.parse::<Ipv6Addr>().expect("an address"));
        let said = |members: &[(Ipv6Addr, &str)], hops: &[(Option<Ipv6Addr>, &str)]| {
            let (code, message) = members_and_hops(b, members, hops);
            (code, message.replace(&format!("packets to {b} go to "), ""))
        };
        let both = [(one, "lan"), (two, "lan")];
        assert_eq!(said(&[], &[]).0, "no_member");
        let all = [(Some(one), "lan"), (Some(two), "lan")];
        assert_eq!(said(&both, &all).1, "fe80::1 on lan, fe80::2 on lan");
        assert_eq!(
            said(&both, &all[..1]).1,
            "fe80::1 on lan; also members, and no next hops, are fe80::2 on lan"
        );
        assert_eq!(
            said(&both, &[(None, "lan")]).1,
            "lan, where Neighbor Discovery finds a member; members are fe80::1 on lan, fe80::2 on lan"
        );
        let (code, message) = said(&both, &[]);
        assert_eq!(code, "members");
        assert!(message.contains("no route yet"), "{message}");
    }
}
