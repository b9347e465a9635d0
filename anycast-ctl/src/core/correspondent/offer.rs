//! The node key of the data plane, whose programs answer most Test Inits.
//!
//! They have the nonce with which this correspondent makes tokens itself, and until the same time, so nothing changes
//! for anybody by who answers. When they have none that is fresh, the Test Init comes here, and its answer is followed
//! by the nonce that it was made with.

use super::keys::Keys;
use crate::core::{Action, Actions, MapAction, Time};

/// A nonce that the programs have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Offered {
    index: u16,
    until: Time,
}

/// What the programs make tokens of, if they have anything.
#[derive(Debug, Default)]
pub(super) struct Offer(Option<Offered>);

impl Offer {
    /// Gives the programs the nonce of new tokens, or takes one away that is no longer used for them.
    pub(super) fn make(&mut self, keys: &Keys, now: Time, actions: &mut Actions) {
        let fresh = keys.fresh(now);
        let wanted = fresh.map(|generation| Offered {
            index: generation.index(),
            until: generation.until(),
        });
        if self.0 == wanted {
            return;
        }
        self.0 = wanted;
        let action = fresh.map_or(MapAction::RemoveNodeKey, |generation| {
            MapAction::SetNodeKey(generation.node_key())
        });
        actions.push(Action::Map(action));
    }

    /// Renews what the programs have, or takes it away when it is no longer used. When they have nothing, it stays so
    /// until somebody asks.
    pub(super) fn renew(&mut self, keys: &Keys, now: Time, actions: &mut Actions) {
        if self.0.is_some() {
            self.make(keys, now, actions);
        }
    }

    /// Takes the nonce away, because this correspondent ends.
    pub(super) fn withdraw(&mut self, actions: &mut Actions) {
        if self.0.take().is_some() {
            actions.push(Action::Map(MapAction::RemoveNodeKey));
        }
    }
}
