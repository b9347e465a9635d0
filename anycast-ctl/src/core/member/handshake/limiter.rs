//! How often handshakes start: for each client, for each /64, and in total.

use std::net::Ipv6Addr;

use crate::core::{
    Time,
    member::HandshakeSettings,
    rate::{Bucket, Buckets, Rate, prefix64},
};

/// One of this number of handshakes may be with a client whose handshakes failed before. New clients come first.
const AGAIN: u32 = 4;

/// The three limits, and the limit of further attempts.
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
            again: Bucket::new(again(settings)),
        }
    }

    /// Other limits from now on.
    pub(super) fn set(&mut self, settings: &HandshakeSettings) {
        self.clients.set(settings.per_client, settings.max_clients);
        self.prefixes.set(settings.per_prefix, settings.max_clients);
        self.whole.set(settings.whole);
        self.again.set(again(settings));
    }

    /// Whether one more client whose handshakes failed may be tried again.
    pub(super) fn tries_again(&mut self, now: Time) -> bool {
        self.again.take(now)
    }

    /// Whether a handshake with `client` may start. A refusal by one limit takes nothing from the others, so that a
    /// flood from one prefix does not use up what the other clients have.
    pub(super) fn start(&mut self, now: Time, client: Ipv6Addr) -> bool {
        let prefix = prefix64(client);
        self.clients.holds(now, client)
            && self.prefixes.holds(now, prefix)
            && self.whole.take(now)
            && self.prefixes.take(now, prefix)
            && self.clients.take(now, client)
    }
}

fn again(settings: &HandshakeSettings) -> Rate {
    Rate {
        every: settings.whole.every * AGAIN,
        burst: (settings.whole.burst / AGAIN).max(1),
    }
}
