//! Applies the map actions of the core.

use std::net::Ipv6Addr;

use anycast_common::{
    abi::maps::{Binding, BindingKey, CareOf, CareOfKey, Client, Flow, LocalAnycast, unattended},
    wire::checksum,
};

use super::{
    access::{octets, pair, remove, set},
    batch::changed,
    error::DataplaneError,
    maps::Maps,
};
use crate::core::{MapAction, Time};

impl Maps {
    /// Changes the maps as the core wants.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, for example because a map is full.
    pub fn apply(&mut self, action: &MapAction) -> Result<(), DataplaneError> {
        match *action {
            MapAction::SetLocalAnycast {
                anycast,
                report_clients,
            } => {
                let value = LocalAnycast {
                    report_clients: u32::from(report_clients),
                    account: self.held_account(anycast, Ipv6Addr::UNSPECIFIED),
                };
                self.hints.add_address(anycast)?;
                set(
                    "LOCAL_ANYCAST",
                    &mut self.local_anycast,
                    octets(anycast),
                    value,
                )?;
            }
            MapAction::QuietClient {
                client, anycast, ..
            }
            | MapAction::LeadClient {
                client, anycast, ..
            } => {
                let key = pair(client, anycast);
                let value = changed(self.client(&key), action);
                set("CLIENTS", &mut self.clients, key, value)?;
            }
            MapAction::SetBinding {
                client,
                anycast,
                care_of,
                expires,
            } => {
                let (key, value) = self.steering(client, anycast, care_of, expires)?;
                set("BINDINGS", &mut self.bindings, key, value)?;
            }
            MapAction::RemoveBinding { client, anycast } => {
                remove("BINDINGS", &mut self.bindings, &pair(client, anycast))?;
            }
            MapAction::SetCareOf {
                client,
                care_of,
                anycast,
                expires,
            } => {
                let (key, value) = self.way_back(client, care_of, anycast, expires)?;
                set("CARE_OF", &mut self.care_of, key, value)?;
            }
            MapAction::RemoveCareOf { client, care_of } => {
                let key = CareOfKey {
                    client: octets(client),
                    care_of: octets(care_of),
                };
                remove("CARE_OF", &mut self.care_of, &key)?;
            }
            MapAction::AdoptFlow { key, flow } => {
                // Before, packets to B are not looked at.
                self.hints.add_address(key.anycast.into())?;
                self.account(key.anycast.into(), flow.care_of.into());
                let delta = checksum::delta(&key.anycast, &flow.care_of);
                let asked_at = unattended::tick(flow.pinned_at);
                self.flows.adopt(
                    &key,
                    &Flow {
                        delta,
                        asked_at,
                        ..flow
                    },
                );
            }
            MapAction::OpenFlow { key, care_of } => {
                if self.flows.open(&key, octets(care_of)) {
                    self.hints.end_flow_cache()?;
                }
            }
            MapAction::RemoveFlow { key, flow } => {
                // The sweep's decision may be out of date: the flow may have begun anew, or may be answered again.
                let same =
                    |now: &Flow| (now.pinned_at, now.last_in) == (flow.pinned_at, flow.last_in);
                if self.flows.remove_if(&key, same) {
                    self.hints.end_flow_cache()?;
                }
            }
            MapAction::EndFlow { key, flow } => {
                let same =
                    |now: &Flow| (now.pinned_at, now.care_of) == (flow.pinned_at, flow.care_of);
                if self.flows.remove_if(&key, same) {
                    self.hints.end_flow_cache()?;
                }
            }
            MapAction::SetNodeKey(ref key) => self.node_keys.set(key)?,
            MapAction::RemoveNodeKey => self.node_keys.remove()?,
        }
        Ok(())
    }

    /// The entry that steers new flows of (A, B) to C. The programs look for it from now on.
    pub(super) fn steering(
        &mut self,
        client: Ipv6Addr,
        anycast: Ipv6Addr,
        care_of: Ipv6Addr,
        expires: Time,
    ) -> Result<(BindingKey, Binding), DataplaneError> {
        let value = Binding {
            care_of: octets(care_of),
            expires: expires.as_nanos(),
            delta: checksum::delta(&octets(anycast), &octets(care_of)),
            reserved: [0; 6],
        };
        self.hints.add_address(anycast)?;
        self.account(anycast, care_of);
        Ok((pair(client, anycast), value))
    }

    /// The entry by which answers from C to A come back as from B. The programs look for it from now on.
    pub(super) fn way_back(
        &mut self,
        client: Ipv6Addr,
        care_of: Ipv6Addr,
        anycast: Ipv6Addr,
        expires: Time,
    ) -> Result<(CareOfKey, CareOf), DataplaneError> {
        let key = CareOfKey {
            client: octets(client),
            care_of: octets(care_of),
        };
        let value = CareOf {
            anycast: octets(anycast),
            expires: expires.as_nanos(),
            delta: checksum::delta(&octets(care_of), &octets(anycast)),
            reserved: [0; 6],
        };
        self.hints.add_address(care_of)?;
        self.account(anycast, care_of);
        Ok((key, value))
    }

    /// The entry of a client. The programs note in it what became of the packets that they led to the care-of address.
    pub(super) fn client(&self, key: &BindingKey) -> Client {
        self.clients.get(key, 0).unwrap_or(Client::UNKNOWN)
    }
}
