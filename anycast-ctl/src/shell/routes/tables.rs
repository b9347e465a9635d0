//! Reads and writes those parts of the kernel's routing tables that contain routes of ours.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use nix::libc;

use crate::{
    model::route::{RouteSettings, Style},
    shell::{
        netlink::{
            NetlinkError, nexthop,
            requests::{Batch, Requests},
            routes,
        },
        reconcile::{Change, Known},
    },
};

/// Reads and writes the kernel's routes and next-hop objects.
#[derive(Debug)]
pub(super) struct Tables {
    requests: Requests,
}

impl Tables {
    /// Sends its requests by this socket.
    pub(super) fn new(requests: Requests) -> Self {
        Self { requests }
    }

    /// Port number by which notifications name this process as the cause of a change.
    pub(super) fn port(&self) -> u32 {
        self.requests.port()
    }

    /// Reads our routes and the next-hop objects that they need.
    pub(super) fn read(&mut self, settings: RouteSettings) -> Result<Known, NetlinkError> {
        let RouteSettings { place, style, .. } = settings;
        let query = RouteNetlinkMessage::GetRoute(routes::query(place.protocol));
        let read = |octets: &[u8]| routes::ours(octets, place.protocol);
        // Objects are read after the routes. So an object that a route needs is found, since it exists as long as the
        // route.
        let routes = self.requests.dump(&query, read)?;
        let objects = self
            .requests
            .dump(&nexthop::Message::query(), nexthop::read);
        let objects = match objects {
            // A kernel that does not support next-hop objects has none.
            Err(error) if error.errno() == Some(libc::EOPNOTSUPP) => Vec::new(),
            objects => objects?,
        };
        Ok(Known::new(place, style, routes, objects))
    }

    /// Lets the kernel execute all changes, and gives those that failed.
    pub(super) fn perform(
        &mut self,
        settings: RouteSettings,
        mut changes: Vec<Change>,
    ) -> Vec<(Change, NetlinkError)> {
        let mut batch = Batch::default();
        changes.retain(|change| push(settings, &mut batch, change));
        let results = self.requests.perform(batch);
        let failed = |(change, result): (Change, Result<(), NetlinkError>)| {
            let error = result.err()?;
            let gone = match change {
                Change::RemoveRoute(_) => error.errno() == Some(libc::ESRCH),
                Change::RemoveObject { .. } => error.errno() == Some(libc::ENOENT),
                _ => false,
            };
            (!gone).then_some((change, error))
        };
        changes
            .into_iter()
            .zip(results)
            .filter_map(failed)
            .collect()
    }
}

/// Writes a change as a netlink message. False where there is nothing to write.
fn push(settings: RouteSettings, batch: &mut Batch, change: &Change) -> bool {
    let RouteSettings { place, style, .. } = settings;
    const NEW: u16 = NLM_F_CREATE | NLM_F_EXCL;
    const REPLACE: u16 = NLM_F_CREATE | NLM_F_REPLACE;
    let protocol = place.protocol;
    match (change, style) {
        (Change::MakeHop { id, hop }, _) => {
            batch.push(nexthop::Message::hop(protocol, *id, *hop), NEW);
        }
        (Change::MakeGroup { id, members }, Style::Resilient(settings)) => {
            let group = nexthop::Message::group(protocol, *id, members, settings);
            batch.push(group, NEW);
        }
        (Change::SetGroup { id, members }, Style::Resilient(settings)) => {
            let group = nexthop::Message::group(protocol, *id, members, settings);
            batch.push(group, REPLACE);
        }
        (Change::MakeGroup { .. } | Change::SetGroup { .. }, Style::Plain) => return false,
        (Change::Add { anycast, way } | Change::Replace { anycast, way }, _) => {
            let Some(message) = routes::message(place, *anycast, way) else {
                return false;
            };
            let flags = match change {
                Change::Add { .. } => NEW,
                _ => REPLACE,
            };
            batch.push(RouteNetlinkMessage::NewRoute(message), flags);
        }
        (Change::RemoveRoute(key), _) => {
            let message = routes::removal(protocol, key);
            batch.push(RouteNetlinkMessage::DelRoute(message), 0);
        }
        (Change::RemoveObject { id }, _) => batch.push(nexthop::Message::removal(*id), 0),
    }
    true
}
