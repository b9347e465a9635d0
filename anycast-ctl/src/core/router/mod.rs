//! The first-hop router of members: draft-haberman-ipngwg-host-anycast section 4 over RFC 2710.
//!
//! Hosts report the anycast addresses that they serve. The router keeps the members of each address per link, sends
//! Queries from time to time, and has a route for each address that has a member. A message is handled by
//! [`Router::mld`], then by `membership` (policy and `member` diagram), then by `routes`. Timers are handled by
//! [`Router::poll`], which calls `links` (`querier` diagram), `queries` and `membership`.
//!
//! # Choices
//!
//! The drafts and RFC 2710 leave these questions open:
//!
//! - **Members are remembered one by one.** RFC 2710 needs to know only whether any host listens, but a unicast route
//!   has to lead to a particular host. So a Done starts a check of its sender alone, and a Report refreshes its sender
//!   alone.
//! - **The election is among MLDv1 Queries**, General and Specific. RFC 2710 would count an MLDv2
//!   Query too (it is at least 24 octets long), but its winner has to answer for anycast Dones and
//!   keep anycast groups alive, and RFC 3810 has no Query for a unicast address. An MLDv2 Query
//!   therefore shows only that another router asks *all hosts*, so that this router need not do so.
//! - **A refresh by Address-Specific Queries** sends each of them [Last Listener Query Count] times, since a
//!   Non-Querier that hears the first one gives members only as much time as that many Queries take.
//! - **Address-Specific Queries for one address are at least [Last Listener Query Interval] apart**, also when several
//!   members leave at once. Every member answers each Query, so a stream of forged Dones must not set their rate.
//! - **Fast leave** still sends Queries (draft section 4.3), after it has removed the member: other routers learn
//!   from them, and a victim of a forged Done answers them and so joins again.
//! - **A member that the kernel cannot reach** is removed long before its timer expires. Queries for its groups follow
//!   as after a fast leave. So a member that is alive, and whose neighbour entry somebody deleted by hand, is without a
//!   route only for a moment.
//! - **A Non-Querier asks itself** before it takes a member for gone: a Query that it heard may be a forgery that no
//!   member heard, or its sender one who never asks. Only Queries of the Querier count.
//! - **A link that is down for a moment** keeps its members and routes. All are asked when it is back.
//! - **Caps apply to joins.** A host that is a member already stays one when a cap is lowered.

mod adopted;
mod announcements;
mod discovery;
mod explain;
mod group;
mod hold;
mod key;
mod link;
mod links;
mod listening;
mod member;
mod membership;
mod page;
mod policy;
mod probe;
mod querier;
mod queries;
mod reconfigure;
mod role;
mod roster;
mod routes;
mod schedule;
mod settings;
#[cfg(test)]
mod tests;
mod timers;
mod view;

pub use explain::{Explanation, Mismatch, Step, Verdict};
pub use page::{Cursor, Filter, GroupSummary, MemberRow};
pub use policy::{Cap, Decision, MAX_RULES, Numbered, Policy, PolicyError, Position, Rule};
pub use role::{GRACE, Router};
pub use settings::{GeneralQueries, LinkSettings, NextHopChoice, Settings};
pub use timers::{Timers, TimersError};
pub use view::{GroupState, GroupView, LinkRole, LinkView, MemberView, Queries, Reason};

use key::{GroupKey, LinkId, Timer};
