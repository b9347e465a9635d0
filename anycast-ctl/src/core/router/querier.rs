//! Who asks on a link: the first diagram of RFC 2710 section 6.

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
/// The RFC leaves Initial at once and never comes back. Here a link may go down, or lose its link-local address, and
/// that address may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The link is down or has no link-local address: no Query can be sent, nor be compared with.
    Initial,
    /// This router asks.
    Querier,
    /// Another one does, because its address is lower.
    NonQuerier {
        /// The lowest address that asked within the last Other Querier Present Interval.
        querier: Ipv6Addr,
        /// When it last did.
        heard: Time,
    },
}

/// What happens to a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The link is up and has a link-local address.
    Started,
    /// It is no longer so.
    Stopped,
    /// The link-local address is another one now.
    Renumbered {
        /// That one.
        own: Ipv6Addr,
    },
    /// "query timer expired".
    QueryTimer,
    /// "query received from a router with a lower IP address".
    LowerQuery {
        /// That address.
        source: Ipv6Addr,
        /// Other Querier Present Interval has passed since the present Querier's last Query.
        stale: bool,
        /// When it came.
        now: Time,
    },
    /// "other querier present timer expired".
    OtherQuerierTimer,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// The event is not significant in the state.
    Nothing,
    /// Send a General Query, start the initial general query timer.
    StartUp,
    /// Send a General Query, start the general query timer.
    Ask,
    /// Start the other querier present timer.
    Listen,
    /// Stop every timer of the role.
    Stop,
}

impl Role {
    /// The transition of the diagram.
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

            // Any lower address than ours keeps us quiet. The one to show is the lowest: after an
            // election others may have checks to finish, which go on despite its result.
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
