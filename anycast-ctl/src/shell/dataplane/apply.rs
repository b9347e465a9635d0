//! Applies the map actions of the core.

use std::{borrow::Borrow, net::Ipv6Addr, time::Instant};

use anycast_common::abi::maps::{BindingKey, Client, LocalAnycast, whose};

use super::{
    access::{octets, set},
    batch::Tables,
    clients::client_of,
    entry::is_entry,
    error::DataplaneError,
    maps::Maps,
};
use crate::core::MapAction;

/// So many changes are worth another thread.
const MANY: usize = 256;

impl Maps {
    /// Changes the maps as the core wants.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, for example because a map is full.
    pub fn apply(&mut self, action: &MapAction) -> Result<(), DataplaneError> {
        self.pending.wait();
        match *action {
            MapAction::SetLocalAnycast {
                anycast,
                report_clients,
            } => {
                let value = LocalAnycast {
                    report_clients: u32::from(report_clients),
                    account: self.held_account(anycast, Ipv6Addr::UNSPECIFIED),
                };
                self.hints.add_address(anycast, whose::LOCAL)?;
                set(
                    "LOCAL_ANYCAST",
                    &mut self.local_anycast,
                    octets(anycast),
                    value,
                )?;
            }
            MapAction::QuietClient { .. } | MapAction::LeadClient { .. } => {
                let mut result = Ok(());
                self.write_clients(std::slice::from_ref(action), &mut |_, error| {
                    result = Err(error);
                });
                result?;
            }
            MapAction::SetBinding { .. }
            | MapAction::RemoveBinding { .. }
            | MapAction::SetCareOf { .. }
            | MapAction::RemoveCareOf { .. }
            | MapAction::AdoptFlow { .. } => {
                let mut result = Ok(());
                self.write(&[action], &mut |_, error| result = Err(error));
                result?;
            }
            MapAction::OpenFlow { .. }
            | MapAction::RemoveFlow { .. }
            | MapAction::EndFlow { .. } => self.end_flows(std::slice::from_ref(action))?,
            MapAction::SetNodeKey(ref key) => self.node_keys.set(key)?,
            MapAction::RemoveNodeKey => self.node_keys.remove()?,
        }
        Ok(())
    }

    /// Changes the maps as [`Maps::apply`] does, by few system calls where it can. An action that fails stops no other
    /// one.
    pub fn apply_all(
        &mut self,
        actions: &[MapAction],
        mut failed: impl FnMut(&MapAction, DataplaneError),
    ) {
        self.settle(&mut failed);
        let is_of_client = |action: &MapAction| client_of(action).is_some();
        let go_together = |a: &MapAction, b: &MapAction| {
            is_entry(a) && is_entry(b)
                || is_of_client(a) && is_of_client(b)
                || is_end(a) && is_end(b)
        };
        for actions in actions.chunk_by(go_together) {
            match actions {
                [action, ..] if is_entry(action) => {
                    let actions: Vec<_> = actions.iter().collect();
                    self.write(&actions, &mut failed);
                }
                [action, ..] if is_of_client(action) => self.write_clients(actions, &mut failed),
                [action, ..] if is_end(action) => {
                    // It is the cache that cannot be ended, of which one error is enough.
                    if let Err(error) = self.end_flows(actions) {
                        failed(action, error);
                    }
                }
                alone => {
                    for action in alone {
                        if let Err(error) = self.apply(action) {
                            failed(action, error);
                        }
                    }
                }
            }
        }
    }

    /// The same while the caller goes on, if these are many, and changes of bindings and flows alone. [`Maps::settle`]
    /// and whoever changes anything else wait for them.
    pub fn apply_later(
        &mut self,
        mut actions: Vec<MapAction>,
        mut failed: impl FnMut(&MapAction, DataplaneError),
    ) {
        if actions.len() < MANY || !actions.iter().all(is_entry) {
            return self.apply_all(&actions, failed);
        }
        self.tell(&mut failed);
        self.announce(&mut actions, &mut failed);
        let tables = Tables {
            care_of: &mut self.care_of,
            bindings: &mut self.bindings,
            flows: &self.flows,
        };
        if let Err(actions) = self.writer.write(actions, &tables, &self.pending) {
            self.apply_all(&actions, failed);
        }
    }

    /// Waits until all changes are made. Tells what has failed.
    pub fn settle(&mut self, mut failed: impl FnMut(&MapAction, DataplaneError)) {
        self.pending.wait();
        self.tell(&mut failed);
    }

    /// Tells what has failed meanwhile, and ends what is cached of flows that were turned.
    fn tell(&mut self, failed: &mut impl FnMut(&MapAction, DataplaneError)) {
        for (action, error) in self.pending.failed() {
            failed(&action, error);
        }
        if self.pending.turned()
            && let Err(error) = self.hints.end_flow_cache()
        {
            tracing::warn!(%error, "flows of other gateways may go the old way for a moment");
        }
    }

    /// Makes changes of entries.
    fn write(
        &mut self,
        actions: &[&MapAction],
        failed: &mut impl FnMut(&MapAction, DataplaneError),
    ) {
        let mut announced = actions.to_vec();
        self.announce(&mut announced, failed);
        let mut tables = Tables {
            care_of: &mut self.care_of,
            bindings: &mut self.bindings,
            flows: &self.flows,
        };
        let turned = tables.write(&announced, &mut *failed);
        // A client's packets must not pass for as long as an entry holds when another gateway has bound their flow.
        if turned && let (Err(error), Some(action)) = (self.hints.end_flow_cache(), actions.first())
        {
            failed(action, error);
        }
    }

    /// Has the programs look closely at packets with the addresses of these entries, which they do not look for
    /// otherwise, and count them. Takes out the actions of which that fails.
    pub(super) fn announce<T: Borrow<MapAction>>(
        &mut self,
        actions: &mut Vec<T>,
        failed: &mut impl FnMut(&MapAction, DataplaneError),
    ) {
        let (now, mut last) = (Instant::now(), None);
        actions.retain(|action| {
            let action: &MapAction = action.borrow();
            let (pair, is_care_of) = match *action {
                MapAction::SetBinding {
                    anycast, care_of, ..
                } => ((anycast, care_of), false),
                MapAction::SetCareOf {
                    anycast, care_of, ..
                } => ((anycast, care_of), true),
                MapAction::AdoptFlow { key, flow } => {
                    ((key.anycast.into(), flow.care_of.into()), false)
                }
                _ => return true,
            };
            // A member's packets may bind flows, of which the client's have to be looked at.
            let mut added = self.hints.add_address(pair.0, whose::ANYCAST);
            if is_care_of {
                added = added.and_then(|()| self.hints.add_address(pair.1, whose::CARE_OF));
            }
            if let Err(error) = added {
                failed(action, error);
                return false;
            }
            // Most are of the same pair as the one before.
            if last != Some(pair) {
                self.account_at(pair.0, pair.1, now);
                last = Some(pair);
            }
            true
        });
    }

    /// Ends what the table says of these flows, and with it what is cached, once for all of them.
    fn end_flows(&mut self, actions: &[MapAction]) -> Result<(), DataplaneError> {
        let mut ended = false;
        for action in actions {
            ended |= match *action {
                MapAction::OpenFlow { key, care_of } => self.flows.open(&key, octets(care_of)),
                // The sweep's decision may be out of date: the flow may have begun anew, or may be answered again.
                MapAction::RemoveFlow { key, flow } => self.flows.remove_if(&key, |now| {
                    (now.pinned_at, now.last_in) == (flow.pinned_at, flow.last_in)
                }),
                MapAction::EndFlow { key, flow } => self.flows.remove_if(&key, |now| {
                    (now.pinned_at, now.care_of) == (flow.pinned_at, flow.care_of)
                }),
                _ => false,
            };
        }
        if ended {
            self.hints.end_flow_cache()?;
        }
        Ok(())
    }

    /// The entry of a client. The programs note in it what became of the packets that they led to the care-of address.
    pub(super) fn client(&self, key: &BindingKey) -> Client {
        self.clients.get(key, 0).unwrap_or(Client::UNKNOWN)
    }
}

/// Whether an action ends what the table says of a flow.
const fn is_end(action: &MapAction) -> bool {
    matches!(
        action,
        MapAction::OpenFlow { .. } | MapAction::RemoveFlow { .. } | MapAction::EndFlow { .. }
    )
}
