//! The maps, with the types of their keys and values.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
    sync::Arc,
};

use anycast_common::{
    abi::maps::{
        Address, Binding, BindingKey, CareOf, CareOfKey, Client, Flow, FlowKey, LocalAnycast,
        LocalCareOf, POLICY_RULES, PolicyRule, Sender, redirect, whose,
    },
    wire::checksum,
};
use aya::util::nr_cpus;
use aya::{
    Ebpf,
    maps::{Array, Map, MapData, PerCpuArray, PerCpuValues, lpm_trie::LpmTrie},
};
use ipnet::Ipv6Net;

use super::{
    access::{Hash, failed, octets, remove, set, set_prefixes, take},
    error::DataplaneError,
    flow_table::FlowTable,
    flows::{FlowReader, MemberFlows},
    hints::{Hints, Side},
    limits::Rates,
    next_hops::NextHops,
    node_key::NodeKeys,
    policy::Table,
    stations::Stations,
    traffic::Accounts,
    writer::{Pending, Writer},
};
use crate::{
    core::{MapAction, Time},
    model::limits::Limits,
};

/// Every map that the controller reads or writes.
pub struct Maps {
    pub(super) counters: PerCpuArray<MapData, u64>,
    pub(super) attended: Array<MapData, u64>,
    pub(super) policy: Table,
    pub(super) policy_hits: PerCpuArray<MapData, u64>,
    pub(super) senders: Hash<Sender, u64>,
    pub(super) client_prefixes: LpmTrie<MapData, Address, u32>,
    pub(super) anycast_prefixes: LpmTrie<MapData, Address, u32>,
    pub(super) bindings: Hash<BindingKey, Binding>,
    pub(super) care_of: Hash<CareOfKey, CareOf>,
    pub(super) flows: Arc<FlowTable>,
    pub(super) local_care_of: Hash<Address, LocalCareOf>,
    pub(super) local_anycast: Hash<Address, LocalAnycast>,
    pub(super) member_flows: Arc<MemberFlows>,
    pub(super) redirect_targets: Hash<u32, u32>,
    pub(super) clients: Hash<BindingKey, Client>,
    pub(super) stations: Stations,
    pub(super) next_hops: NextHops,
    pub(super) hints: Hints,
    pub(super) node_keys: NodeKeys,
    pub(super) accounts: Accounts,
    pub(super) pending: Arc<Pending>,
    pub(super) writer: Writer,
    rates: Rates,
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
            stations: Stations::take(ebpf)?,
            next_hops: NextHops::take(ebpf)?,
            hints: Hints::take(ebpf)?,
            node_keys: NodeKeys::take(ebpf)?,
            accounts: Accounts::take(ebpf)?,
            pending: Arc::default(),
            writer: Writer::default(),
            rates: Rates::take(ebpf)?,
        };
        maps.hint_at_adopted()?;
        Ok(maps)
    }

    /// Adds hints for sessions of an earlier run, which may be pinned before this run attaches a program.
    fn hint_at_adopted(&mut self) -> Result<(), DataplaneError> {
        let pairs: Vec<_> = self.care_of().collect();
        for (pair, owner) in pairs {
            self.hints
                .add_address(pair.care_of.into(), whose::CARE_OF)?;
            self.hints
                .add_address(owner.anycast.into(), whose::ANYCAST)?;
            self.account(owner.anycast.into(), pair.care_of.into());
        }
        Ok(())
    }

    /// Replaces all rules of the router's policy at once.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::TooManyRules`], or an error of the kernel.
    pub fn set_policy(&mut self, rules: &[PolicyRule]) -> Result<(), DataplaneError> {
        self.policy.set(rules)
    }

    /// Number of decisions of each rule of the router's policy, by the rule's number. The last number counts packets
    /// that no rule matched.
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

    /// Replaces the rates of what the programs pass to the controller.
    ///
    /// # Errors
    ///
    /// An error of the kernel.
    pub fn set_limits(&mut self, limits: &Limits) -> Result<(), DataplaneError> {
        self.rates.set(limits)
    }

    /// Number of senders of Reports whose rate is being limited.
    #[must_use]
    pub fn senders(&self) -> usize {
        self.senders.keys().count()
    }

    /// Sets the decision counts of the rules with these numbers to zero.
    ///
    /// # Errors
    ///
    /// An error of the kernel.
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
    /// An error of the kernel.
    pub fn set_client_prefixes(&mut self, prefixes: &[Ipv6Net]) -> Result<(), DataplaneError> {
        self.hints.set_scope(Side::Client, None)?;
        set_prefixes("CLIENT_PREFIXES", &mut self.client_prefixes, prefixes)?;
        self.hints.set_scope(Side::Client, Some(prefixes))
    }

    /// Replaces the prefixes of the anycast addresses whose members may send messages to clients that sent them a
    /// packet. An empty list stands for all addresses.
    ///
    /// # Errors
    ///
    /// An error of the kernel.
    pub fn set_anycast_prefixes(&mut self, prefixes: &[Ipv6Net]) -> Result<(), DataplaneError> {
        let all = [Ipv6Net::default()];
        let prefixes = if prefixes.is_empty() { &all } else { prefixes };
        self.hints.set_scope(Side::Anycast, None)?;
        set_prefixes("ANYCAST_PREFIXES", &mut self.anycast_prefixes, prefixes)?;
        self.hints.set_scope(Side::Anycast, Some(prefixes))
    }

    /// Tells the programs that a controller is alive and judges the pins, so that the programs do not end them.
    ///
    /// # Errors
    ///
    /// An error of the kernel.
    pub fn attend(&mut self, now: Time) -> Result<(), DataplaneError> {
        const MAP: &str = "ATTENDED";
        self.attended.set(0, now.as_nanos(), 0).map_err(failed(MAP))
    }

    /// Replaces the list of devices to which the programs may redirect packets that they have rewritten. Packets for
    /// other devices are left to the kernel's forwarding.
    ///
    /// # Errors
    ///
    /// An error of the kernel.
    pub fn set_redirect_targets(
        &mut self,
        targets: &BTreeSet<u32>,
        whole: &BTreeSet<u32>,
    ) -> Result<(), DataplaneError> {
        const MAP: &str = "REDIRECT_TARGETS";
        let old: BTreeMap<u32, u32> = self
            .redirect_targets
            .iter()
            .collect::<Result<_, _>>()
            .map_err(failed(MAP))?;
        for gone in old.keys().filter(|old| !targets.contains(old)) {
            remove(MAP, &mut self.redirect_targets, gone)?;
        }
        for target in targets {
            let takes = match whole.contains(target) {
                true => redirect::WHOLE,
                false => redirect::ONE_BUFFER,
            };
            if old.get(target) != Some(&takes) {
                set(MAP, &mut self.redirect_targets, target, takes)?;
            }
        }
        self.hints.end_flow_cache()
    }

    /// Dedicates the unicast address `care_of` of this member to `anycast`. Its new clients are not reported yet.
    ///
    /// # Errors
    ///
    /// An error of the kernel.
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
    /// An error of the kernel.
    pub fn set_local_care_of(
        &mut self,
        care_of: Ipv6Addr,
        anycast: Ipv6Addr,
    ) -> Result<(), DataplaneError> {
        let value = LocalCareOf {
            anycast: octets(anycast),
            account: self.held_account(anycast, care_of),
            delta: checksum::delta(&octets(care_of), &octets(anycast)),
            reserved: [0; 2],
        };
        self.hints.add_address(care_of, whose::LOCAL)?;
        set(
            "LOCAL_CARE_OF",
            &mut self.local_care_of,
            octets(care_of),
            value,
        )
    }

    /// Ends what [`Maps::set_local`] said of `care_of`, if it is given, and that this host serves `anycast`.
    ///
    /// # Errors
    ///
    /// An error of the kernel.
    pub fn remove_local(
        &mut self,
        care_of: Option<Ipv6Addr>,
        anycast: Option<Ipv6Addr>,
    ) -> Result<(), DataplaneError> {
        if let Some(care_of) = care_of {
            remove("LOCAL_CARE_OF", &mut self.local_care_of, &octets(care_of))?;
            self.accounts.release(|(_, its)| *its == care_of);
        }
        if let Some(anycast) = anycast {
            remove("LOCAL_ANYCAST", &mut self.local_anycast, &octets(anycast))?;
            let plain = (anycast, Ipv6Addr::UNSPECIFIED);
            self.accounts.release(|pair| *pair == plain);
        }
        Ok(())
    }

    /// Replaces the Ethernet addresses whose frames the programs process, by interface index. On an interface that is
    /// not listed, all frames are processed. `own` gives the address to which most frames of an interface are sent.
    ///
    /// # Errors
    ///
    /// An error of the kernel.
    pub fn set_stations(
        &mut self,
        stations: &BTreeMap<u32, BTreeSet<[u8; 6]>>,
        own: impl Fn(u32) -> Option<[u8; 6]>,
    ) -> Result<(), DataplaneError> {
        self.stations.set(stations, own)
    }

    /// A reader for all flows, which another thread can use.
    #[must_use]
    pub fn flow_reader(&self) -> FlowReader {
        FlowReader::new(&self.flows, &self.member_flows, &self.pending)
    }

    /// The pairs of client's address A and care-of address C in the data plane.
    pub fn care_of(&self) -> impl Iterator<Item = (CareOfKey, CareOf)> + '_ {
        self.care_of.iter().filter_map(Result::ok)
    }

    /// Pins a flow. For tests that need a flow of another age.
    pub fn set_flow(&mut self, key: &FlowKey, flow: &Flow) {
        self.flows.set(key, flow);
    }

    /// Removes the pin of a flow. Its packets then take the anycast route or follow a live binding.
    ///
    /// # Errors
    ///
    /// An error of the kernel.
    pub fn remove_flow(&mut self, key: &FlowKey) -> Result<(), DataplaneError> {
        self.pending.wait();
        self.flows.remove(key);
        self.hints.end_flow_cache()
    }

    /// Tells the programs that a route, a neighbour or an interface has changed, so that the next packet of every
    /// pinned flow asks the FIB again. If this call is lost, the programs ask by themselves within
    /// [`FLOW_CACHE_LIFE`](anycast_common::abi::maps::FLOW_CACHE_LIFE).
    ///
    /// # Errors
    ///
    /// An error of the kernel.
    pub fn next_hops_changed(&mut self) -> Result<(), DataplaneError> {
        self.hints.next_hops_changed()
    }

    /// Until then nothing but the destination and the interface of a packet decides its next hop, and flows to one
    /// member may share it. `None`: it may be otherwise. Before [`next_hops_changed`](Self::next_hops_changed), which
    /// ends what is shared.
    ///
    /// # Errors
    ///
    /// An error of the kernel.
    pub fn vouch_for_routes(&mut self, until: Option<Time>) -> Result<(), DataplaneError> {
        self.hints.vouch_for_routes(until.map_or(0, Time::as_nanos))
    }

    /// Interfaces and addresses of the next hops to which XDP sent frames within the last seconds: of the first 1024 of
    /// them, about. An address may be nobody's.
    ///
    /// # Errors
    ///
    /// When the map cannot be read.
    pub fn next_hops_in_use(&self, now: Time) -> Result<BTreeSet<(u32, Ipv6Addr)>, DataplaneError> {
        self.next_hops.in_use(now)
    }
}

fn member_flows(ebpf: &Ebpf) -> Result<Arc<MemberFlows>, DataplaneError> {
    const MAP: &str = "MEMBER_FLOWS";
    match ebpf.map(MAP) {
        Some(Map::LruHashMap(data)) => Ok(Arc::new(MemberFlows::new(data).map_err(failed(MAP))?)),
        _ => Err(DataplaneError::Missing(MAP)),
    }
}
