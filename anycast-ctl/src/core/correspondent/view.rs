//! What the controller shows of its bindings.

use std::{net::Ipv6Addr, time::Duration};

use serde::{Serialize, Serializer};

/// A binding that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BindingView {
    /// The client, A.
    pub client: Ipv6Addr,
    /// The anycast address, B.
    pub anycast: Ipv6Addr,
    /// The member's unicast address, C.
    pub care_of: Ipv6Addr,
    /// Sequence number of the last Binding Update.
    pub sequence: u16,
    /// Time until it ends, in seconds.
    #[serde(serialize_with = "seconds")]
    pub remaining: Duration,
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}
