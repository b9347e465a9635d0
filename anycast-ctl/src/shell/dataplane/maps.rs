//! The maps, typed.

use std::{borrow::Borrow, collections::BTreeSet, net::Ipv6Addr, sync::Arc};

use anycast_common::{
    abi::{
        counters::{Counter, short},
        maps::{
            Address, Binding, BindingKey, CareOf, CareOfKey, Client, Flow, FlowKey, LocalAnycast,
            LocalCareOf, POLICY_RULES, PolicyRule, Sender,
        },
    },
    wire::checksum,
};
use aya::util::nr_cpus;
use aya::{
    Ebpf, Pod,
    maps::{
        Array, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues,
        lpm_trie::{Key, LpmTrie},
    },
};
use ipnet::Ipv6Net;

use super::{
    DataplaneError, FlowReader,
    flow_table::FlowTable,
    flows::MemberFlows,
    hints::{Hints, Side},
    octets,
    policy::Table,
};
use crate::core::{MapAction, Time};

/// Maps that only a correspondent needs, as large as they are.
pub(super) const OF_CORRESPONDENT: &[&str] =
    &["BINDINGS", "CARE_OF", "FLOWS", "UNREACHABLE", "SENT"];
/// Maps that only a member needs.
pub(super) const OF_MEMBER: &[&str] =
    &["LOCAL_CARE_OF", "LOCAL_ANYCAST", "MEMBER_FLOWS", "CLIENTS"];

type Hash<K, V> = HashMap<MapData, K, V>;

/// Every map that the controller reads or writes.
pub struct Maps {
    counters: PerCpuArray<MapData, u64>,
    attended: Array<MapData, u64>,
    policy: Table,
    policy_hits: PerCpuArray<MapData, u64>,
    senders: Hash<Sender, u64>,
    client_prefixes: LpmTrie<MapData, Address, u32>,
    anycast_prefixes: LpmTrie<MapData, Address, u32>,
    bindings: Hash<BindingKey, Binding>,
    care_of: Hash<CareOfKey, CareOf>,
    flows: Arc<FlowTable>,
    local_care_of: Hash<Address, LocalCareOf>,
    local_anycast: Hash<Address, LocalAnycast>,
    member_flows: Arc<MemberFlows>,
    redirect_targets: Hash<u32, u32>,
    clients: Hash<BindingKey, Client>,
    hints: Hints,
}

impl Maps {
    pub(super) fn take(ebpf: &mut Ebpf, flows: FlowTable) -> Result<Self, DataplaneError> {
        let mut maps = Self {
            counters: take(ebpf, "COUNTERS")?,
            attended: take(ebpf, "ATTENDED")?,
            policy: Table::take(ebpf)?,
            policy_hits: take(ebpf, "POLICY_HITS")?,
            senders: take(ebpf, "SENDERS")?,
            client_prefixes: take(ebpf, "CLIENT_PREFIXES")?,
            anycast_prefixes: take(ebpf, "ANYCAST_PREFIXES")?,
            bindings: take(ebpf, "BINDINGS")?,
            care_of: take(ebpf, "CARE_OF")?,
            member_flows: member_flows(ebpf)?,
            flows: Arc::new(flows),
            local_care_of: take(ebpf, "LOCAL_CARE_OF")?,
            local_anycast: take(ebpf, "LOCAL_ANYCAST")?,
            redirect_targets: take(ebpf, "REDIRECT_TARGETS")?,
            clients: take(ebpf, "CLIENTS")?,
            hints: Hints::take(ebpf)?,
        };
        maps.hint_at_adopted()?;
        Ok(maps)
    }

    /// Sessions of an earlier run may be pinned already, before a program of ours is attached.
    fn hint_at_adopted(&mut self) -> Result<(), DataplaneError> {
        let pairs: Vec<_> = self.care_of().collect();
        for (pair, owner) in pairs {
            self.hints.add_address(pair.care_of.into())?;
            self.hints.add_address(owner.anycast.into())?;
        }
        Ok(())
    }

    /// Makes the maps say what the core wants.
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
                    reserved: 0,
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
                client,
                anycast,
                until,
            } => {
                let value = Client {
                    quiet_until: until.as_nanos(),
                };
                set("CLIENTS", &mut self.clients, pair(client, anycast), value)?;
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
                self.hints.add_address(anycast)?;
                set("BINDINGS", &mut self.bindings, pair(client, anycast), value)?;
            }
            MapAction::RemoveBinding { client, anycast } => {
                remove("BINDINGS", &mut self.bindings, &pair(client, anycast))?;
            }
            MapAction::SetCareOf {
                client,
                care_of,
                anycast,
            } => {
                let key = CareOfKey {
                    client: octets(client),
                    care_of: octets(care_of),
                };
                let value = CareOf {
                    anycast: octets(anycast),
                    delta: checksum::delta(&octets(care_of), &octets(anycast)),
                    reserved: [0; 6],
                };
                self.hints.add_address(care_of)?;
                set("CARE_OF", &mut self.care_of, key, value)?;
            }
            MapAction::RemoveCareOf { client, care_of } => {
                let key = CareOfKey {
                    client: octets(client),
                    care_of: octets(care_of),
                };
                remove("CARE_OF", &mut self.care_of, &key)?;
            }
            MapAction::RemoveFlow { key, flow } => {
                // The sweep's answer is late: the flow may have begun anew, or be answered again.
                let same =
                    |now: &Flow| (now.pinned_at, now.last_in) == (flow.pinned_at, flow.last_in);
                if self.flows.remove_if(&key, same) {
                    self.hints.end_flow_cache()?;
                }
            }
        }
        Ok(())
    }

    /// Replaces the router's policy, all of it at once.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::TooManyRules`], or what the kernel refuses.
    pub fn set_policy(&mut self, rules: &[PolicyRule]) -> Result<(), DataplaneError> {
        self.policy.set(rules)
    }

    /// What each rule of the router's policy decided, by its number; what no rule matched is last.
    ///
    /// # Errors
    ///
    /// When the map cannot be read.
    pub fn policy_hits(&self) -> Result<Vec<u64>, DataplaneError> {
        (0..POLICY_RULES)
            .map(|id| {
                let hits = self
                    .policy_hits
                    .get(&id, 0)
                    .map_err(failed("POLICY_HITS"))?;
                Ok(hits.iter().sum())
            })
            .collect()
    }

    /// Senders of Reports whose rate is known.
    #[must_use]
    pub fn senders(&self) -> usize {
        self.senders.keys().count()
    }

    /// Begins to count from 0 for the rules of these numbers.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn reset_policy_hits(
        &mut self,
        ids: impl IntoIterator<Item = u32>,
    ) -> Result<(), DataplaneError> {
        const MAP: &str = "POLICY_HITS";
        let cpus = nr_cpus().map_err(|(_, error)| DataplaneError::Events(error))?;
        for id in ids {
            let zero = PerCpuValues::try_from(vec![0; cpus])?;
            self.policy_hits.set(id, zero, 0).map_err(failed(MAP))?;
        }
        Ok(())
    }

    /// Replaces the prefixes of the clients that a correspondent answers for.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn set_client_prefixes(&mut self, prefixes: &[Ipv6Net]) -> Result<(), DataplaneError> {
        self.hints.set_scope(Side::Client, None)?;
        set_prefixes("CLIENT_PREFIXES", &mut self.client_prefixes, prefixes)?;
        self.hints.set_scope(Side::Client, Some(prefixes))
    }

    /// Replaces the prefixes of the anycast addresses whose members may send messages to clients
    /// that sent them a packet; none stands for all.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn set_anycast_prefixes(&mut self, prefixes: &[Ipv6Net]) -> Result<(), DataplaneError> {
        let all = [Ipv6Net::default()];
        let prefixes = if prefixes.is_empty() { &all } else { prefixes };
        self.hints.set_scope(Side::Anycast, None)?;
        set_prefixes("ANYCAST_PREFIXES", &mut self.anycast_prefixes, prefixes)?;
        self.hints.set_scope(Side::Anycast, Some(prefixes))
    }

    /// Says that a controller lives: it judges pins, and the programs leave that to it.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn attend(&mut self, now: Time) -> Result<(), DataplaneError> {
        const MAP: &str = "ATTENDED";
        self.attended.set(0, now.as_nanos(), 0).map_err(failed(MAP))
    }

    /// Replaces the devices to which rewritten packets may be redirected; to others the kernel
    /// forwards them.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn set_redirect_targets(&mut self, targets: &BTreeSet<u32>) -> Result<(), DataplaneError> {
        const MAP: &str = "REDIRECT_TARGETS";
        let old: Vec<u32> = self
            .redirect_targets
            .keys()
            .collect::<Result<_, _>>()
            .map_err(failed(MAP))?;
        for gone in old.iter().filter(|old| !targets.contains(old)) {
            remove(MAP, &mut self.redirect_targets, gone)?;
        }
        for target in targets.iter().filter(|target| !old.contains(target)) {
            set(MAP, &mut self.redirect_targets, target, 1)?;
        }
        self.hints.end_flow_cache()
    }

    /// Dedicates the unicast address `care_of` of this member to `anycast`, whose new clients are not
    /// reported yet.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn set_local(
        &mut self,
        care_of: Ipv6Addr,
        anycast: Ipv6Addr,
    ) -> Result<(), DataplaneError> {
        let quiet = MapAction::SetLocalAnycast {
            anycast,
            report_clients: false,
        };
        self.apply(&quiet)?;
        self.set_local_care_of(care_of, anycast)
    }

    /// Dedicates the unicast address `care_of` of this member to `anycast`.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn set_local_care_of(
        &mut self,
        care_of: Ipv6Addr,
        anycast: Ipv6Addr,
    ) -> Result<(), DataplaneError> {
        let value = LocalCareOf {
            anycast: octets(anycast),
            delta: checksum::delta(&octets(care_of), &octets(anycast)),
            reserved: [0; 6],
        };
        self.hints.add_address(care_of)?;
        set(
            "LOCAL_CARE_OF",
            &mut self.local_care_of,
            octets(care_of),
            value,
        )
    }

    /// What reads all flows.
    #[must_use]
    pub fn flow_reader(&self) -> FlowReader {
        FlowReader::new(&self.flows, &self.member_flows)
    }

    /// The pairs (A, C) as the data plane has them.
    pub fn care_of(&self) -> impl Iterator<Item = (CareOfKey, CareOf)> + '_ {
        self.care_of.iter().filter_map(Result::ok)
    }

    /// Pins a flow, for tests that need one of another age.
    pub fn set_flow(&mut self, key: &FlowKey, flow: &Flow) {
        self.flows.set(key, flow);
    }

    /// Forgets a pinned flow; its packets go by plain anycast or a live binding again.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn remove_flow(&mut self, key: &FlowKey) -> Result<(), DataplaneError> {
        self.flows.remove(key);
        self.hints.end_flow_cache()
    }

    /// Has the next packet of every pinned flow ask the FIB, after a route, a neighbour or an interface
    /// changed. Should the news be lost, the programs ask by themselves within
    /// [`FLOW_CACHE_LIFE`](anycast_common::abi::maps::FLOW_CACHE_LIFE).
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn next_hops_changed(&mut self) -> Result<(), DataplaneError> {
        self.hints.next_hops_changed()
    }

    /// Every counter with its name, summed over the CPUs.
    ///
    /// # Errors
    ///
    /// When the map cannot be read.
    pub fn counters(&self) -> Result<Vec<(&'static str, u64)>, DataplaneError> {
        Counter::ALL
            .iter()
            .map(|counter| {
                let mut sum = 0;
                for index in [&[*counter as u32], short::parts(*counter)].concat() {
                    let values = self.counters.get(&index, 0);
                    sum += values.map_err(failed("COUNTERS"))?.iter().sum::<u64>();
                }
                Ok((counter.name(), sum))
            })
            .collect()
    }
}

pub(super) fn take<T>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, DataplaneError>
where
    T: TryFrom<Map, Error = MapError>,
{
    let map = ebpf.take_map(name).ok_or(DataplaneError::Missing(name))?;
    T::try_from(map).map_err(failed(name))
}

fn member_flows(ebpf: &Ebpf) -> Result<Arc<MemberFlows>, DataplaneError> {
    const MAP: &str = "MEMBER_FLOWS";
    match ebpf.map(MAP) {
        Some(Map::LruHashMap(data)) => Ok(Arc::new(MemberFlows::new(data).map_err(failed(MAP))?)),
        _ => Err(DataplaneError::Missing(MAP)),
    }
}

pub(super) fn failed(map: &'static str) -> impl Fn(MapError) -> DataplaneError {
    move |error| DataplaneError::Map { map, error }
}

fn set_prefixes(
    name: &'static str,
    map: &mut LpmTrie<MapData, Address, u32>,
    prefixes: &[Ipv6Net],
) -> Result<(), DataplaneError> {
    let wanted: Vec<_> = prefixes
        .iter()
        .map(|prefix| Key::new(u32::from(prefix.prefix_len()), octets(prefix.network())))
        .collect();
    let old: Vec<_> = map.keys().collect::<Result<_, _>>().map_err(failed(name))?;
    for key in &wanted {
        map.insert(key, 1, 0).map_err(failed(name))?;
    }
    let same = |a: &Key<Address>, b: &Key<Address>| {
        a.prefix_len() == b.prefix_len() && a.data() == b.data()
    };
    for key in old
        .iter()
        .filter(|old| !wanted.iter().any(|new| same(old, new)))
    {
        map.remove(key).map_err(failed(name))?;
    }
    Ok(())
}

fn set<K: Pod, V: Pod>(
    name: &'static str,
    map: &mut Hash<K, V>,
    key: impl Borrow<K>,
    value: V,
) -> Result<(), DataplaneError> {
    map.insert(key, value, 0).map_err(failed(name))
}

/// Removing what is not there is no error: actions are idempotent.
fn remove<K: Pod, V: Pod>(
    name: &'static str,
    map: &mut Hash<K, V>,
    key: &K,
) -> Result<(), DataplaneError> {
    match map.remove(key) {
        Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error))
            if error.io_error.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(())
        }
        Err(error) => Err(failed(name)(error)),
    }
}

fn pair(client: Ipv6Addr, anycast: Ipv6Addr) -> BindingKey {
    BindingKey {
        client: octets(client),
        anycast: octets(anycast),
    }
}
