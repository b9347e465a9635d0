//! Whether routes have to be plain multipath because zebra (FRR) reads them.

use std::time::{Duration, Instant};

use crate::{
    model::route::{RouteSettings, Style},
    shell::{netlink::NexthopNews, routing_daemons},
};

/// Time between two looks for zebra.
const PERIOD: Duration = Duration::from_secs(30);
/// The protocol of what zebra adds (`RTPROT_ZEBRA`).
const ZEBRA: u8 = 11;

/// Looks for zebra, whether it was there before this daemon or comes later.
#[derive(Debug)]
pub(super) struct Zebra {
    /// Time of the next look.
    look: Instant,
}

impl Zebra {
    /// The first look is due now.
    pub(super) fn new() -> Self {
        Self {
            look: Instant::now(),
        }
    }

    /// Handles a notification about a next-hop object. Gives whether there is reason to look at once.
    pub(super) fn notified(&mut self, settings: &RouteSettings, news: &NexthopNews) -> bool {
        if news.object.protocol != ZEBRA {
            return false;
        }
        // It makes objects when it starts.
        self.look = self.look.min(Instant::now());
        matters(settings)
    }

    /// Uses plain multipath where zebra reads the routes.
    pub(super) fn look(&mut self, settings: &mut RouteSettings) {
        let now = Instant::now();
        if !matters(settings) || now < self.look {
            return;
        }
        self.look = now + PERIOD;
        if routing_daemons::has_zebra() {
            tracing::warn!(target: "anycast::router",
                "zebra (FRR) runs here, and does not follow resilient next-hop groups of others: plain multipath from \
                 now on, where a member that comes or goes moves flows of others (resilient = \"always\" keeps the \
                 groups, and zebra does not see these routes)");
            settings.style = Style::Plain;
        }
    }
}

/// Whether zebra would change anything.
fn matters(settings: &RouteSettings) -> bool {
    settings.plain_beside_zebra && settings.style != Style::Plain
}
