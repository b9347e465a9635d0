//! The Querier election on a link: the first diagram of RFC 2710 section 6.

use std::net::Ipv6Addr;

use crate::core::Time;

/// Role of this router on a link: the first diagram of RFC 2710 section 6.
///
/// ```text
///   ┌─────────┐ Started (General Query, start initial timer)  ┌─────────┐──┐ QueryTimer
///   │ Initial ├──────────────────────────────────────────────►│ Querier │  │ (General Query,
///   └─────────┘                                               └─────────┘◄─┘ start timer)
///      ▲   ▲          Stopped (stop timers)                    │ │     ▲
///      │   └───────────────────────────────────────────────────┘ │     │ OtherQuerierTimer
///      │                        LowerQuery (start other querier  │     │ (General Query,
///      │ Stopped                present timer)                   ▼     │ start timer)
///      │ (stop timers)                                        ┌────────┴───┐──┐ LowerQuery
///      └──────────────────────────────────────────────────────┤ NonQuerier │  │ (start other querier
///                                                             └────────────┘◄─┘ present timer)
/// ```
///
/// | Event | Initial | Querier | NonQuerier |
/// |---|---|---|---|
/// | Started | Querier: StartUp | stays | stays |
/// | Stopped | stays | Initial: Stop | Initial: Stop |
/// | Renumbered | stays | stays | Querier: Ask, if the new address is lower than the Querier's; else stays |
/// | QueryTimer | stays | stays: Ask | stays |
/// | LowerQuery | stays | NonQuerier: Listen | stays: Listen |
/// | OtherQuerierTimer | stays | stays | Querier: Ask |
///
/// The RFC leaves Initial at once and never comes back. Here a link may go down, or lose its link-local address,
/// and that address may change. A link that is down for a moment keeps its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The link is down, for longer than its members are held, or has no link-local address. This router can neither
    /// send Queries nor compare its address with that of other routers.
    Initial,
    /// This router sends the Queries.
    Querier,
    /// Another router sends the Queries, because its address is lower.
    NonQuerier {
        /// The lowest address from which a Query came within the last Other Querier Present Interval.
        querier: Ipv6Addr,
        /// Time of the last Query from that address.
        heard: Time,
    },
}

/// Something that can change the role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The link is up and has a link-local address.
    Started,
    /// The link went down or lost its link-local address.
    Stopped,
    /// The link-local address has changed.
    Renumbered {
        /// The new link-local address.
        own: Ipv6Addr,
    },
    /// The RFC's "query timer expired".
    QueryTimer,
    /// The RFC's "query received from a router with a lower IP address".
    LowerQuery {
        /// Address of that router.
        source: Ipv6Addr,
        /// Whether the Other Querier Present Interval has passed since the last Query of the present Querier.
        stale: bool,
        /// Time at which the Query arrived.
        now: Time,
    },
    /// The RFC's "other querier present timer expired".
    OtherQuerierTimer,
}

/// What the router does as a result of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Do nothing, since the event has no meaning in this state.
    Nothing,
    /// Send a General Query and start the initial general query timer.
    StartUp,
    /// Send a General Query and start the general query timer.
    Ask,
    /// Start the other querier present timer.
    Listen,
    /// Stop all timers of the role.
    Stop,
}

impl Role {
    /// The transition of the diagram for an event: the next role and what to do.
    pub(super) fn step(self, event: Event) -> (Self, Effect) {
        use {Effect as E, Event as Ev, Role as R};
        match (self, event) {
            (R::Initial, Ev::Started) => (R::Querier, E::StartUp),
            (
                R::Initial,
                Ev::Stopped
                | Ev::Renumbered { .. }
                | Ev::QueryTimer
                | Ev::LowerQuery { .. }
                | Ev::OtherQuerierTimer,
            ) => (R::Initial, E::Nothing),

            (R::Querier, Ev::QueryTimer) => (R::Querier, E::Ask),
            (R::Querier, Ev::LowerQuery { source, now, .. }) => (
                R::NonQuerier {
                    querier: source,
                    heard: now,
                },
                E::Listen,
            ),
            (R::Querier, Ev::Stopped) => (R::Initial, E::Stop),
            (R::Querier, Ev::Started | Ev::Renumbered { .. } | Ev::OtherQuerierTimer) => {
                (R::Querier, E::Nothing)
            }

            // Any address lower than ours keeps this router a Non-Querier. The lowest of them is shown as the Querier:
            // after an election, the other routers may still send the Queries of checks that they have to finish.
            (R::NonQuerier { querier, heard }, Ev::LowerQuery { source, stale, now }) => {
                let (querier, heard) = if source <= querier || stale {
                    (source, now)
                } else {
                    (querier, heard)
                };
                (R::NonQuerier { querier, heard }, E::Listen)
            }
            (R::NonQuerier { .. }, Ev::OtherQuerierTimer) => (R::Querier, E::Ask),
            (R::NonQuerier { querier, .. }, Ev::Renumbered { own }) if own < querier => {
                (R::Querier, E::Ask)
            }
            (R::NonQuerier { .. }, Ev::Stopped) => (R::Initial, E::Stop),
            (R::NonQuerier { .. }, Ev::Started | Ev::Renumbered { .. } | Ev::QueryTimer) => {
                (self, E::Nothing)
            }
        }
    }
}
