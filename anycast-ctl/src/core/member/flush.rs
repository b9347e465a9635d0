//! The command `flush` at a member.

use std::net::Ipv6Addr;

use super::{HandshakeFilter, Member, handshake::Peer};
use crate::core::{Actions, Time};

impl Member {
    /// Forgets what is known of clients, so that their next packets start handshakes again. With `care_of`, only
    /// clients of that group are forgotten. Gives their number. Bindings that they have stay until they expire.
    pub fn flush(
        &mut self,
        now: Time,
        which: HandshakeFilter,
        care_of: Option<Ipv6Addr>,
        actions: &mut Actions,
    ) -> usize {
        let HandshakeFilter { client, anycast } = which;
        let wanted = self.groups.iter().filter(|(ours, group)| {
            anycast.is_none_or(|anycast| anycast == **ours)
                && care_of.is_none_or(|care_of| group.settings.care_of == Some(care_of))
        });
        let wanted: Vec<Ipv6Addr> = wanted.map(|(anycast, _)| *anycast).collect();
        // The data plane may remember a client that this table has forgotten.
        let peers: Vec<Peer> = match client {
            Some(client) => wanted
                .iter()
                .filter_map(|b| self.peer(client, *b))
                .collect(),
            None => Vec::new(),
        };
        let (handshakes, mut cx) = self.handshakes_mut(now, actions);
        for peer in peers {
            peer.quiet(now, &mut cx);
        }
        handshakes.forget(client, &wanted, &mut cx)
    }
}
