//! What `explain` tells: of a Report on a link, and of a client and an anycast address.

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use super::{
    flows::{Binding, Flow, Handshake},
    refusals::MobilityRefusal,
};
use crate::model::mac::Mac;

/// What happens to a Report on a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Explanation {
    /// Name of the link.
    pub interface: String,
    /// The Ethernet source that was compared.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub mac: Option<Mac>,
    /// Whether the Report is accepted now.
    pub allow: bool,
    /// The reason, in a sentence.
    pub verdict: String,
    /// The rules that were compared. The last one decides, if the list of its reasons is empty.
    pub steps: Vec<Step>,
    /// Whether the source is a member already. Caps then do not apply to it.
    pub member: bool,
    /// Number of members of the group, and the cap.
    pub members_per_group: (usize, Option<u32>),
    /// Number of groups of the member on the link, and the cap.
    pub groups_per_member: (usize, Option<u32>),
}

/// A rule that was compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Step {
    /// Number of the rule.
    pub rule: usize,
    /// Reasons why the rule does not match. The list is empty when it matches.
    pub because: Vec<String>,
}

/// What this machine knows of a client and an anycast address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ClientExplained {
    /// The client, A.
    pub client: Ipv6Addr,
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
    /// What each role of this machine says.
    pub roles: Vec<RoleExplained>,
    /// Where this machine sends packets to A, to B and to each care-of address that plays a part.
    pub ways: Vec<WayExplained>,
    /// Bindings of a correspondent for the pair.
    pub bindings: Vec<Binding>,
    /// What a member knows of the pair.
    pub handshakes: Vec<Handshake>,
    /// Flows of the pair, at most a thousand.
    pub flows: Vec<Flow>,
    /// Mobility messages to the client, from the anycast address or a care-of address of it, that were refused lately.
    pub refusals: Vec<MobilityRefusal>,
    /// Limits on bindings that a new one for this pair would meet.
    pub limits: Vec<LimitExplained>,
}

/// What a role says about a client and an anycast address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RoleExplained {
    /// Name of the role.
    pub role: String,
    /// Kind of the answer, for programs, such as `bound` or `client_not_covered`.
    pub code: String,
    /// The answer, in a sentence or two.
    pub message: String,
}

/// Where a machine sends packets to an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WayExplained {
    /// The destination.
    pub to: Ipv6Addr,
    /// Name of the interface. `None` where there is no route.
    pub interface: Option<String>,
    /// The next hop. `None` where the address is on the link, or there is no route.
    pub next_hop: Option<Ipv6Addr>,
    /// MTU in octets: that of the route or of what was learnt about the path, where there is one, else of the
    /// interface.
    pub mtu: Option<u32>,
    /// Link-layer address of the next hop, or of the destination where it is on the link, as far as it is known.
    pub neighbour: Option<String>,
    /// State of its neighbour cache entry (RFC 4861 section 7.3.2), such as `reachable`, `incomplete` or `failed`.
    /// `None` where there is none, as before the first packet.
    pub neighbour_state: Option<String>,
}

/// How far one of the limits on bindings is used up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LimitExplained {
    /// Its name in `[correspondent]`.
    pub limit: String,
    /// The member, by its care-of address, where the limit is for each.
    pub care_of: Option<Ipv6Addr>,
    /// How many bindings there are.
    pub used: usize,
    /// How many there may be.
    pub most: usize,
}
