//! The timers of a link (RFC 2710 section 7).

use std::time::Duration;

use serde::Serialize;

use crate::core::seconds::seconds;

/// Timers and counts of RFC 2710 section 7. All routers of a link must use the same values.
///
/// Unsolicited Report Interval (section 7.10) belongs to hosts and is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Timers {
    /// Robustness Variable (section 7.1). Memberships survive the loss of up to one less than this number of packets in
    /// a row.
    pub robustness: u8,
    /// Query Interval (section 7.2): time between two General Queries of the Querier.
    #[serde(serialize_with = "seconds")]
    #[cfg_attr(test, schemars(with = "f64"))]
    pub query_interval: Duration,
    /// Query Response Interval (section 7.3): Maximum Response Delay of General Queries.
    #[serde(serialize_with = "seconds")]
    #[cfg_attr(test, schemars(with = "f64"))]
    pub query_response_interval: Duration,
    /// Startup Query Interval (section 7.6): time between the first General Queries.
    #[serde(serialize_with = "seconds")]
    #[cfg_attr(test, schemars(with = "f64"))]
    pub startup_query_interval: Duration,
    /// Startup Query Count (section 7.7): number of the first General Queries.
    pub startup_query_count: u8,
    /// Last Listener Query Interval (section 7.8): time between Address-Specific Queries.
    #[serde(serialize_with = "seconds")]
    #[cfg_attr(test, schemars(with = "f64"))]
    pub last_listener_query_interval: Duration,
    /// Last Listener Query Count (section 7.9): number of Address-Specific Queries without an answer after which a
    /// member is gone.
    pub last_listener_query_count: u8,
}

impl Default for Timers {
    fn default() -> Self {
        Self::derived(2, Duration::from_secs(125), Duration::from_secs(10))
    }
}

impl Timers {
    /// Derives all other values from these three, or takes the default that section 7 gives.
    #[must_use]
    pub fn derived(
        robustness: u8,
        query_interval: Duration,
        query_response_interval: Duration,
    ) -> Self {
        Self {
            robustness,
            query_interval,
            query_response_interval,
            startup_query_interval: query_interval / 4,
            startup_query_count: robustness,
            last_listener_query_interval: Duration::from_secs(1),
            last_listener_query_count: robustness,
        }
    }

    /// Multicast Listener Interval (section 7.4): how long a Report is valid.
    #[must_use]
    pub const fn multicast_listener_interval(&self) -> Duration {
        self.query_interval
            .saturating_mul(self.robustness as u32)
            .saturating_add(self.query_response_interval)
    }

    /// Other Querier Present Interval (section 7.5): how long a Query of another Querier is valid.
    #[must_use]
    pub const fn other_querier_present_interval(&self) -> Duration {
        present(
            self.robustness,
            self.query_interval,
            self.query_response_interval,
        )
    }

    /// Time that is left to a member when its check begins (section 6, "start timer*"): the time of [Last Listener
    /// Query Count] Queries. The draft lets them ask for an answer at once, and a member has until the next one to give
    /// it.
    #[must_use]
    pub const fn last_listener_time(&self) -> Duration {
        self.last_listener_query_interval
            .saturating_mul(self.last_listener_query_count as u32)
    }

    /// How long a Querier with [`Polite`](super::GeneralQueries::Polite) queries listens before its first General
    /// Query: one [Last Listener Query Interval] until switches and other routers have noticed its join, and the time
    /// in which an MLDv2 querier asks after its leave (RFC 3810 section 9.10).
    #[must_use]
    pub const fn listening_time(&self) -> Duration {
        self.last_listener_query_interval
            .saturating_add(self.last_listener_time())
    }

    /// Time from the start of a router until the answers to its first Queries have arrived, whether it listened first
    /// or not.
    #[must_use]
    pub const fn first_answers(&self) -> Duration {
        self.listening_time()
            .saturating_add(self.query_response_interval)
    }

    /// Checks that the values are consistent.
    pub fn validate(&self) -> Result<(), TimersError> {
        let longest = Duration::from_millis(u64::from(u16::MAX));
        if self.robustness == 0 {
            Err(TimersError::Robustness)
        } else if self.query_response_interval < Duration::from_millis(1) {
            Err(TimersError::NoResponseInterval)
        } else if self.query_response_interval > longest {
            Err(TimersError::ResponseIntervalTooLong(
                self.query_response_interval,
            ))
        } else if self.query_response_interval >= self.query_interval {
            Err(TimersError::ResponseInterval {
                response: self.query_response_interval,
                query: self.query_interval,
            })
        } else if self.startup_query_interval.is_zero() {
            Err(TimersError::StartupInterval)
        } else if self.startup_query_interval > self.query_interval {
            Err(TimersError::StartupIntervalTooLong {
                startup: self.startup_query_interval,
                query: self.query_interval,
            })
        } else if self.startup_query_count == 0 {
            Err(TimersError::StartupCount)
        } else if self.last_listener_query_interval < Duration::from_millis(1) {
            Err(TimersError::LastListenerInterval)
        } else if self.last_listener_query_count == 0 {
            Err(TimersError::LastListenerCount)
        } else if self.last_listener_time() > self.multicast_listener_interval() {
            Err(TimersError::CheckTooLong {
                check: self.last_listener_time(),
                listener: self.multicast_listener_interval(),
            })
        } else {
            Ok(())
        }
    }
}

/// The formula of RFC 2710 section 7.5 and RFC 3810 section 9.5, for the values of this router or of another.
pub(super) const fn present(robustness: u8, query: Duration, response: Duration) -> Duration {
    let half = Duration::from_nanos_u128(response.as_nanos() / 2);
    query.saturating_mul(robustness as u32).saturating_add(half)
}

/// Why timers contradict RFC 2710 or each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimersError {
    /// Section 7.1: the Robustness Variable MUST NOT be zero.
    #[error("the robustness variable must not be zero (RFC 2710 section 7.1)")]
    Robustness,
    /// Sections 3.4 and 7.3: every node of the link would answer at once.
    #[error("the query response interval is below one millisecond (RFC 2710 sections 3.4, 7.3)")]
    NoResponseInterval,
    /// Section 3.4: the field has 16 bits and counts milliseconds.
    #[error("the query response interval {0:?} is above 65.535 s (RFC 2710 section 3.4)")]
    ResponseIntervalTooLong(Duration),
    /// Section 7.3: the Query Response Interval must be less than the Query Interval.
    #[error(
        "the query response interval {response:?} is not less than the query interval {query:?} \
         (RFC 2710 section 7.3)"
    )]
    ResponseInterval {
        /// The Query Response Interval.
        response: Duration,
        /// The Query Interval.
        query: Duration,
    },
    /// Section 7.6: there would be no time between the first Queries.
    #[error("the startup query interval is zero (RFC 2710 section 7.6)")]
    StartupInterval,
    /// Section 4: the first Queries are "spaced closely together".
    #[error(
        "the startup query interval {startup:?} is longer than the query interval {query:?} \
         (RFC 2710 sections 4, 7.6)"
    )]
    StartupIntervalTooLong {
        /// The Startup Query Interval.
        startup: Duration,
        /// The Query Interval.
        query: Duration,
    },
    /// Section 7.7: a Querier has to start with a Query.
    #[error("the startup query count is zero (RFC 2710 section 7.7)")]
    StartupCount,
    /// Section 7.8: members would have no time to answer.
    #[error("the last listener query interval is below one millisecond (RFC 2710 section 7.8)")]
    LastListenerInterval,
    /// Section 7.9: no Query would be sent.
    #[error("the last listener query count is zero (RFC 2710 section 7.9)")]
    LastListenerCount,
    /// Sections 7.4, 7.8 and 7.9: members would be gone before their check ends.
    #[error(
        "the last listener queries take {check:?}, longer than the multicast listener interval \
         {listener:?} (RFC 2710 sections 7.4, 7.8, 7.9)"
    )]
    CheckTooLong {
        /// Last Listener Query Count times Last Listener Query Interval.
        check: Duration,
        /// The Multicast Listener Interval.
        listener: Duration,
    },
}
