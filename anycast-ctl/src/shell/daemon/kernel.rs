//! What the kernel tells: its notifications, Neighbor Solicitations for the core, and what is read again in case that
//! notifications were lost.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{
    super::{
        ShellError,
        neighbors::Solicited,
        netlink::{KernelChange, KernelEvent},
        plain_routes::WARRANT,
    },
    parts::Parts,
};
use crate::core::controller::Input;

/// How often the daemon reads again what notifications should have told it, in case some were lost.
pub(super) const RESYNC: Duration = Duration::from_secs(30);

impl Parts {
    /// Handles a notification of the kernel. Gives whether something could not be read and has to be read again soon.
    pub(super) fn kernel(&mut self, event: KernelEvent) -> bool {
        if self.plain_routes.notified(&event) {
            self.plane.vouch_for_routes(Duration::ZERO);
        }
        // Whatever has changed, the next hop of a pinned flow may be a different one now.
        if self.is_news(&event) {
            self.plane.next_hops_changed();
        }
        match event {
            KernelEvent::Change(change) => {
                if let KernelChange::Link { ifindex, .. } = change
                    && self.plane.links().name(ifindex).is_some()
                    && let Some(routes) = self.performer.routes_mut()
                {
                    routes.link_changed();
                }
                self.plane.links_mut().apply(change);
                self.addresses.notified();
                self.tell_links();
            }
            KernelEvent::Route(news) => {
                if let Some(routes) = self.performer.routes_mut() {
                    routes.notified(&news);
                }
            }
            KernelEvent::Nexthop(news) => {
                if let Some(routes) = self.performer.routes_mut() {
                    routes.nexthop_notified(&news);
                }
            }
            KernelEvent::NeighbourFailed { ifindex, address } => {
                self.core
                    .handle(Input::NeighbourFailed { ifindex, address });
            }
            KernelEvent::Neighbour { .. } | KernelEvent::Rule => {}
            KernelEvent::Lost => {
                tracing::warn!("notifications of the kernel were lost: reading everything again");
                if let Some(routes) = self.performer.routes_mut() {
                    routes.resync();
                }
                return self.resync();
            }
        }
        false
    }

    /// Whether a next hop may be another one now. The probes of next hops lead to notifications that say nothing new.
    fn is_news(&mut self, event: &KernelEvent) -> bool {
        let (hop, mac) = match *event {
            KernelEvent::Neighbour {
                ifindex,
                address,
                mac,
            } => ((ifindex, address), mac),
            KernelEvent::NeighbourFailed { ifindex, address } => ((ifindex, address), None),
            _ => return true,
        };
        let next_hops = self.next_hops.as_mut();
        next_hops.is_none_or(|next_hops| next_hops.learn(hop, mac))
    }

    /// Has the next hops probed that XDP sends to.
    pub(super) fn look_at_next_hops(&mut self) {
        let Some(next_hops) = &mut self.next_hops else {
            return;
        };
        let in_use = self.plane.next_hops_in_use();
        if next_hops.look(&in_use, Instant::now()) {
            self.plane.next_hops_changed();
        }
        if self.plain_routes.look(Instant::now()) {
            self.plane.vouch_for_routes(WARRANT);
        }
    }

    /// Reads the interfaces again, and tries again what failed before. Gives whether they could not be read.
    pub(super) fn resync(&mut self) -> bool {
        self.plane.attend();
        let read = self.netlink.links();
        let failed = read.is_err();
        match read {
            Ok(dump) => self.plane.links_mut().replace(dump),
            Err(error) => tracing::warn!(%error, "cannot read the interfaces: trying again"),
        }
        self.performer.groups().retry();
        self.flows.forget(RESYNC);
        self.addresses.try_duplicates();
        self.tell_links();
        self.plane.attach_missing(self.performer.groups());
        failed
    }

    fn tell_links(&mut self) {
        self.links_changed(false)
            .unwrap_or_else(|error| self.plane.complain(&error));
    }

    /// Has the core answer a Neighbor Solicitation, where it is for an address of the member.
    pub(super) fn solicited(&mut self, solicited: io::Result<Solicited>) {
        let Some(solicited) = self.read(solicited) else {
            return;
        };
        let ifindex = solicited.ifindex;
        let member = self.core.controller().member();
        let packet = solicited.packet();
        // Most Solicitations are for addresses that the kernel itself answers for.
        if !member.is_some_and(|member| member.owns(ifindex, &packet)) {
            return;
        }
        let Some(mac) = self.plane.links().mac(ifindex) else {
            return;
        };
        self.core.handle(Input::Solicited {
            ifindex,
            mac,
            packet,
        });
    }

    /// Has the core answer a Multicast Router Solicitation.
    pub(super) fn router_solicited(&mut self, solicited: io::Result<Solicited>) {
        if let Some(solicited) = self.read(solicited) {
            let (ifindex, packet) = (solicited.ifindex, solicited.packet());
            self.core.handle(Input::RouterSolicited { ifindex, packet });
        }
    }

    fn read(&mut self, solicited: io::Result<Solicited>) -> Option<Solicited> {
        let what = "cannot read Solicitations";
        solicited
            .map_err(|error| self.plane.complain(&ShellError::Io { what, error }))
            .ok()
    }
}
