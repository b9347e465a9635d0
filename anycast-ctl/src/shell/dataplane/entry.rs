//! What changes of the maps of bindings and flows come to: keys and values.

use std::net::Ipv6Addr;

use anycast_common::{
    abi::maps::{Binding, BindingKey, CareOf, CareOfKey, Flow, FlowKey, unattended},
    wire::checksum,
};

use super::access::{octets, pair};
use crate::core::MapAction;

/// A change of one entry, which needs nothing else than its map.
pub(super) enum Entry {
    /// Answers from C to A come back as from B.
    CareOf((CareOfKey, CareOf)),
    /// New flows of (A, B) go to C.
    Binding((BindingKey, Binding)),
    /// There is no such pair (A, C).
    NoCareOf(CareOfKey),
    /// New flows of (A, B) go by plain anycast.
    NoBinding(BindingKey),
    /// What another gateway knows of a flow is taken over.
    Flow(FlowKey, Flow),
}

impl Entry {
    /// That of an action. `None` for one that changes anything else.
    pub(super) fn of(action: &MapAction) -> Option<Self> {
        Some(match *action {
            MapAction::SetCareOf {
                client,
                care_of,
                anycast,
                expires,
            } => {
                let value = CareOf {
                    anycast: octets(anycast),
                    expires: expires.as_nanos(),
                    delta: checksum::delta(&octets(care_of), &octets(anycast)),
                    reserved: [0; 6],
                };
                Self::CareOf((back(client, care_of), value))
            }
            MapAction::SetBinding {
                client,
                anycast,
                care_of,
                expires,
            } => {
                let value = Binding {
                    care_of: octets(care_of),
                    expires: expires.as_nanos(),
                    delta: checksum::delta(&octets(anycast), &octets(care_of)),
                    reserved: [0; 6],
                };
                Self::Binding((pair(client, anycast), value))
            }
            MapAction::RemoveCareOf { client, care_of } => Self::NoCareOf(back(client, care_of)),
            MapAction::RemoveBinding { client, anycast } => Self::NoBinding(pair(client, anycast)),
            MapAction::AdoptFlow { key, flow } => {
                let delta = checksum::delta(&key.anycast, &flow.care_of);
                let asked_at = unattended::tick(flow.pinned_at);
                let flow = Flow {
                    delta,
                    asked_at,
                    ..flow
                };
                Self::Flow(key, flow)
            }
            MapAction::SetLocalAnycast { .. }
            | MapAction::QuietClient { .. }
            | MapAction::LeadClient { .. }
            | MapAction::OpenFlow { .. }
            | MapAction::RemoveFlow { .. }
            | MapAction::EndFlow { .. }
            | MapAction::SetNodeKey(_)
            | MapAction::RemoveNodeKey => return None,
        })
    }
}

/// Whether an action is a change of one [`Entry`].
pub(super) const fn is_entry(action: &MapAction) -> bool {
    matches!(
        action,
        MapAction::SetCareOf { .. }
            | MapAction::SetBinding { .. }
            | MapAction::RemoveCareOf { .. }
            | MapAction::RemoveBinding { .. }
            | MapAction::AdoptFlow { .. }
    )
}

fn back(client: Ipv6Addr, care_of: Ipv6Addr) -> CareOfKey {
    CareOfKey {
        client: octets(client),
        care_of: octets(care_of),
    }
}
