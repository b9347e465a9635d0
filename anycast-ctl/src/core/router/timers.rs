//! The timers of a link, RFC 2710 section 7.

use std::time::Duration;

use serde::Serialize;

use crate::core::seconds::seconds;

/// Timers and counts of RFC 2710 section 7. All routers of a link must use the same ones.
///
/// Unsolicited Report Interval (7.10) belongs to hosts and is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Timers {
    /// Robustness Variable (7.1): one less than this many lost packets in a row do no harm.
    pub robustness: u8,
    /// Query Interval (7.2): between General Queries of the Querier.
    #[serde(serialize_with = "seconds")]
    pub query_interval: Duration,
    /// Query Response Interval (7.3): Maximum Response Delay of General Queries.
    #[serde(serialize_with = "seconds")]
    pub query_response_interval: Duration,
    /// Startup Query Interval (7.6): between the first General Queries.
    #[serde(serialize_with = "seconds")]
    pub startup_query_interval: Duration,
    /// Startup Query Count (7.7): how many they are.
    pub startup_query_count: u8,
    /// Last Listener Query Interval (7.8): between Address-Specific Queries.
    #[serde(serialize_with = "seconds")]
    pub last_listener_query_interval: Duration,
    /// Last Listener Query Count (7.9): how many of them stay unanswered before a member is gone.
    pub last_listener_query_count: u8,
}

impl Default for Timers {
    fn default() -> Self {
        Self::derived(2, Duration::from_secs(125), Duration::from_secs(10))
    }
}

impl Timers {
    /// Everything else derived or defaulted from these three, as section 7 has it.
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

    /// Multicast Listener Interval (7.4): how long a Report is good for.
    #[must_use]
    pub const fn multicast_listener_interval(&self) -> Duration {
        self.query_interval
            .saturating_mul(self.robustness as u32)
            .saturating_add(self.query_response_interval)
    }

    /// Other Querier Present Interval (7.5): how long a Query of another Querier is good for.
    #[must_use]
    pub const fn other_querier_present_interval(&self) -> Duration {
        present(
            self.robustness,
            self.query_interval,
            self.query_response_interval,
        )
    }

    /// What is left to a member when its check begins (section 6, "start timer*"): the time of
    /// [Last Listener Query Count] Queries that ask for an answer within `delay`.
    ///
    /// The draft has Queries ask for an answer at once, which would leave nothing at all to the
    /// members that a Non-Querier knows. Zero therefore counts as our own
    /// [Last Listener Query Interval].
    #[must_use]
    pub const fn last_listener_time(&self, delay: Duration) -> Duration {
        let delay = if delay.is_zero() {
            self.last_listener_query_interval
        } else {
            delay
        };
        delay.saturating_mul(self.last_listener_query_count as u32)
    }

    /// How long a polite Querier listens before its first General Query: one [Last Listener Query
    /// Interval] for its join to be heard, and the time in which an MLDv2 querier asks after its
    /// leave (RFC 3810 section 9.10).
    #[must_use]
    pub const fn listening_time(&self) -> Duration {
        self.last_listener_query_interval
            .saturating_add(self.last_listener_time(Duration::ZERO))
    }

    /// How long after its start a router has the answers to its first Queries, polite or not.
    #[must_use]
    pub const fn first_answers(&self) -> Duration {
        self.listening_time()
            .saturating_add(self.query_response_interval)
    }

    /// Whether the values can work together.
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
        } else if self.last_listener_time(Duration::ZERO) > self.multicast_listener_interval() {
            Err(TimersError::CheckTooLong {
                check: self.last_listener_time(Duration::ZERO),
                listener: self.multicast_listener_interval(),
            })
        } else {
            Ok(())
        }
    }
}

/// The formula of RFC 2710 section 7.5 and RFC 3810 section 9.5, for our values or another's.
pub(super) const fn present(robustness: u8, query: Duration, response: Duration) -> Duration {
    let half = Duration::from_nanos_u128(response.as_nanos() / 2);
    query.saturating_mul(robustness as u32).saturating_add(half)
}

/// Timers that contradict RFC 2710 or each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimersError {
    /// 7.1: MUST NOT be zero.
    #[error("the robustness variable must not be zero (RFC 2710 section 7.1)")]
    Robustness,
    /// 3.4, 7.3: it would ask every node of the link to answer at once.
    #[error("the query response interval is below one millisecond (RFC 2710 sections 3.4, 7.3)")]
    NoResponseInterval,
    /// 3.4: the field has 16 bits of milliseconds.
    #[error("the query response interval {0:?} is above 65.535 s (RFC 2710 section 3.4)")]
    ResponseIntervalTooLong(Duration),
    /// 7.3: must be less than the Query Interval.
    #[error(
        "the query response interval {response:?} is not less than the query interval {query:?} \
         (RFC 2710 section 7.3)"
    )]
    ResponseInterval {
        /// Query Response Interval.
        response: Duration,
        /// Query Interval.
        query: Duration,
    },
    /// 7.6: no time between the first Queries.
    #[error("the startup query interval is zero (RFC 2710 section 7.6)")]
    StartupInterval,
    /// 4: the first Queries are "spaced closely together".
    #[error(
        "the startup query interval {startup:?} is longer than the query interval {query:?} \
         (RFC 2710 sections 4, 7.6)"
    )]
    StartupIntervalTooLong {
        /// Startup Query Interval.
        startup: Duration,
        /// Query Interval.
        query: Duration,
    },
    /// 7.7: a Querier starts with a Query.
    #[error("the startup query count is zero (RFC 2710 section 7.7)")]
    StartupCount,
    /// 7.8: no time for an answer.
    #[error("the last listener query interval is below one millisecond (RFC 2710 section 7.8)")]
    LastListenerInterval,
    /// 7.9: nobody would be asked.
    #[error("the last listener query count is zero (RFC 2710 section 7.9)")]
    LastListenerCount,
    /// 7.4, 7.8, 7.9: members would be gone before their check ends.
    #[error(
        "the last listener queries take {check:?}, longer than the multicast listener interval \
         {listener:?} (RFC 2710 sections 7.4, 7.8, 7.9)"
    )]
    CheckTooLong {
        /// Last Listener Query Count times Last Listener Query Interval.
        check: Duration,
        /// Multicast Listener Interval.
        listener: Duration,
    },
}
