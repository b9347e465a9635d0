//! How handshakes of a member end.

use anycast_common::wire::mobility::status;
use serde::Serialize;

/// How a handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(into = "Outcome")]
pub enum HandshakeOutcome {
    /// The client's correspondent acknowledged the Binding Update.
    Bound,
    /// The client did not answer. The member leaves it alone for a while.
    NoAnswer,
    /// The client does not support the Mobility Header.
    NotCapable,
    /// The correspondent refused the Binding Update with this status (RFC 6275 section 6.1.8).
    Refused(u8),
    /// This host left the group.
    Left,
}

impl HandshakeOutcome {
    /// The name that the monitor and `handshakes` show.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bound => "bound",
            Self::NoAnswer => "no_answer",
            Self::NotCapable => "not_capable",
            Self::Refused(_) => "refused",
            Self::Left => "left",
        }
    }
}

/// The fields that a [`HandshakeOutcome`] has in an event.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Outcome {
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_name: Option<&'static str>,
}

impl From<HandshakeOutcome> for Outcome {
    fn from(outcome: HandshakeOutcome) -> Self {
        let refused = match outcome {
            HandshakeOutcome::Refused(status) => Some(status),
            _ => None,
        };
        Self {
            outcome: outcome.name(),
            status: refused,
            status_name: refused.map(status::name),
        }
    }
}
