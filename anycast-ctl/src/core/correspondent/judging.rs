//! The flows that are being judged, and what has ended elsewhere of them.

use std::{collections::HashMap, net::Ipv6Addr, sync::Arc, time::Duration};

use anycast_common::{
    abi::maps::{Flow, FlowKey},
    wire::ipv6,
};

use super::selection::Selection;
use crate::core::{
    MapAction, Time,
    fleet::Due,
    flows::{Sweeping, Use},
    hash::{Map, Set},
};

/// A flow that began elsewhere is known so much later here, and seems to have begun then.
const HEARD_LATER: Duration = Duration::from_secs(1);

/// Flows that are being judged.
#[derive(Debug)]
pub(super) struct Judging {
    /// When their reading began.
    pub(super) began: Time,
    pub(super) flows: Arc<Vec<(FlowKey, Flow)>>,
    /// What has ended elsewhere.
    pub(super) elsewhere: EndedElsewhere,
    /// Whether answers that pass another gateway may have been missed.
    pub(super) may_miss: bool,
    /// Flows that have ended.
    pub(super) over: Set<FlowKey>,
    pub(super) stage: Stage,
    /// The flow at which the stage goes on.
    pub(super) next: usize,
}

/// What is done with the flows, one after the other.
#[derive(Debug)]
pub(super) enum Stage {
    /// Those that have ended elsewhere end here.
    Elsewhere,
    Sweep(Box<Sweeping>),
    /// The other gateways are told of those that go on.
    Tell {
        in_use: Map<(Ipv6Addr, Ipv6Addr), Use>,
        due: Due,
    },
}

impl Judging {
    /// When the next part is due: always.
    pub(super) const fn due(&self) -> Time {
        self.began
    }

    /// Goes on with the first flow.
    pub(super) fn turn(&mut self, stage: Stage) {
        (self.stage, self.next) = (stage, 0);
    }
}

/// What has ended elsewhere, and when.
#[derive(Debug, Default)]
pub(super) struct EndedElsewhere {
    pub(super) flushed: Vec<(Time, Selection)>,
    pub(super) failed: HashMap<[u8; 16], Time>,
}

impl EndedElsewhere {
    pub(super) fn is_empty(&self) -> bool {
        self.flushed.is_empty() && self.failed.is_empty()
    }

    /// How a flow ends that has ended elsewhere. `None`: it goes on.
    pub(super) fn end(&self, key: &FlowKey, flow: &Flow) -> Option<MapAction> {
        let (client, anycast) = (key.client.into(), key.anycast.into());
        let mut flushed = self.flushed.iter();
        let flushed = flushed.any(|(at, which)| {
            which.holds(client, anycast, flow.care_of.into()) && began_before(*at, flow)
        });
        let (key, flow) = (*key, *flow);
        if flushed {
            // Also one that goes on meanwhile, which a member that has failed does not have.
            return Some(MapAction::EndFlow { key, flow });
        }
        let at = self.failed.get(&flow.care_of)?;
        let failed = began_before(*at, &flow) && !waits(&key, &flow);
        failed.then_some(MapAction::RemoveFlow { key, flow })
    }
}

/// Whether a connection has nothing to wait for. It may be the other gateway that has lost its way to the member, and
/// elsewhere the connection would be reset; if the member is gone, the next segment finds that out here.
fn waits(key: &FlowKey, flow: &Flow) -> bool {
    key.protocol == ipv6::NEXT_HEADER_TCP && flow.answered != 0 && flow.last_in >= flow.last_out
}

/// Whether a flow is of before an end, and not of a binding that was made since.
fn began_before(at: Time, flow: &Flow) -> bool {
    Time::from_nanos(flow.pinned_at) <= at + HEARD_LATER
}
