//! How often handshakes start: per client, per /64 and whole.

use std::net::Ipv6Addr;

use crate::core::{
    Time,
    member::HandshakeSettings,
    rate::{Bucket, Buckets, Rate, prefix64},
};

/// Of so many handshakes one may be with a client that came to nothing before: who is new comes first.
const AGAIN: u32 = 4;

/// The three limits, and that of further tries.
#[derive(Debug)]
pub(super) struct Limiter {
    clients: Buckets<Ipv6Addr>,
    prefixes: Buckets<u64>,
    whole: Bucket,
    again: Bucket,
}

impl Limiter {
    pub(super) fn new(settings: &HandshakeSettings) -> Self {
        Self {
            clients: Buckets::new(settings.per_client, settings.max_clients),
            prefixes: Buckets::new(settings.per_prefix, settings.max_clients),
            whole: Bucket::new(settings.whole),
            again: Bucket::new(Rate {
                every: settings.whole.every * AGAIN,
                burst: (settings.whole.burst / AGAIN).max(1),
            }),
        }
    }

    /// Whether one more client that came to nothing may be tried again.
    pub(super) fn tries_again(&mut self, now: Time) -> bool {
        self.again.take(now)
    }

    /// Whether a handshake with `client` may start. A refusal by one limit takes nothing from the
    /// others: who floods from one prefix does not use up what the rest of the world has.
    pub(super) fn start(&mut self, now: Time, client: Ipv6Addr) -> bool {
        let prefix = prefix64(client);
        self.clients.holds(now, client)
            && self.prefixes.holds(now, prefix)
            && self.whole.take(now)
            && self.prefixes.take(now, prefix)
            && self.clients.take(now, client)
    }
}
