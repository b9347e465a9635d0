//! Every map, in one place. Keys and values are in `anycast_common::abi::maps`.
//!
//! Maps are declared with BTF, so that aya, libbpf and bpftool load the same object.

use anycast_common::abi::{
    counters::Counter,
    event,
    flow_table::{self, Secret, Set},
    maps::{
        self, ACCOUNTS as MOST_ACCOUNTS, Account, Address, Binding, BindingKey, CachedFlow,
        CachedWay, CareOf, CareOfKey, Client, Example, FlowKey, Fragment, FragmentKey,
        LocalAnycast, LocalCareOf, MemberFlow, NewSenders, NodeKey, POLICY_RULES, Refused, Sender,
        SharedHop, Station, Traffic,
    },
    policy::{GENERATIONS, Policy},
};
use aya_ebpf::{
    Global,
    bindings::BPF_F_MMAPABLE,
    btf_maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf},
    macros::btf_map,
};

use crate::{question::Question, quoted::Quote, reply::Answer};

/// 1 refuses MLD messages without Router Alert; set before the object is loaded.
#[unsafe(no_mangle)]
pub(crate) static REQUIRE_ROUTER_ALERT: Global<u8> = Global::new(1);

/// Key of the hash by which buckets are found.
#[unsafe(no_mangle)]
pub(crate) static HASH_KEY: Global<[u64; 2]> = Global::new([0; 2]);

/// Key of the hash by which flows are found, and the number of sets of the table.
#[unsafe(no_mangle)]
pub(crate) static FLOW_SECRET: Global<Secret> = Global::new([0; 5]);
#[unsafe(no_mangle)]
pub(crate) static FLOW_SETS: Global<u32> = Global::new(flow_table::sets(maps::FLOWS));

/// For how many jiffies what is cached holds; for who loads the object without saying, a fourth of a second
/// where a second has 100 of them, and less elsewhere.
#[unsafe(no_mangle)]
pub(crate) static CACHE_JIFFIES: Global<u64> = Global::new(25);

#[btf_map]
pub(crate) static COUNTERS: PerCpuArray<u64, { Counter::ALL.len() }> = PerCpuArray::new();

/// Correspondent and member: which [`TRAFFIC`] is of a pair of an anycast and a care-of address.
#[btf_map]
pub(crate) static ACCOUNTS: HashMap<Account, u32, { MOST_ACCOUNTS as usize }> = HashMap::new();

/// Correspondent and member: packets and octets by such pairs.
#[btf_map]
pub(crate) static TRAFFIC: PerCpuArray<Traffic, { MOST_ACCOUNTS as usize }> = PerCpuArray::new();

/// Packets for the controller.
#[btf_map]
pub(crate) static EVENTS: RingBuf<(), { event::RING }> = RingBuf::new();

/// Router: the policy that applies and the one that it is replaced by.
#[btf_map]
pub(crate) static POLICY: Array<Policy, { GENERATIONS as usize }> = Array::new();

/// Router: what each rule decided, by its number.
#[btf_map]
pub(crate) static POLICY_HITS: PerCpuArray<u64, { POLICY_RULES as usize }> = PerCpuArray::new();

/// Router: what the policy refused of late, by hash.
#[btf_map]
pub(crate) static REFUSED: PerCpuArray<Refused, { maps::REFUSED as usize }> = PerCpuArray::new();

/// Router: when the token bucket of a sender that the policy allows is full again.
#[btf_map]
pub(crate) static SENDERS: LruHashMap<Sender, u64, 65_536> = LruHashMap::new();

/// Router: when the token bucket of senders that are not in `SENDERS` is full again.
#[btf_map]
pub(crate) static NEW_SENDERS_FULL: LruHashMap<NewSenders, u64, 4096> = LruHashMap::new();

/// Router: token buckets of each reason for examples of refusals.
#[btf_map]
pub(crate) static EXAMPLES: PerCpuArray<Example, { Counter::ALL.len() }> = PerCpuArray::new();

/// Correspondent: prefixes of the clients that it answers for.
#[btf_map]
pub(crate) static CLIENT_PREFIXES: LpmTrie<Address, u32, { maps::CLIENT_PREFIXES as usize }> =
    LpmTrie::new();

/// Correspondent: prefixes of what its clients may be bound for.
#[btf_map]
pub(crate) static ANYCAST_PREFIXES: LpmTrie<Address, u32, { maps::ANYCAST_PREFIXES as usize }> =
    LpmTrie::new();

/// Correspondent: in which tick clients last sent a packet to an anycast address, by hash.
#[btf_map]
pub(crate) static SENT: Array<u32, { 2 * maps::SENT_ROW as usize }> = Array::new();

/// Correspondent and member: when token buckets are full again, by hash.
#[btf_map]
pub(crate) static BUCKETS: Array<u64, { 2 * maps::BUCKETS_ROW as usize }> = Array::new();

/// Correspondent and member: when the buckets for all of a kind are full again.
#[btf_map]
pub(crate) static WHOLE: PerCpuArray<u64, { maps::whole::ALL as usize }> = PerCpuArray::new();

/// Correspondent: cached results for bound flows, by CPU and hash. The controller makes it as large as the CPUs are
/// many; an array per CPU would cost another access to memory.
#[btf_map]
pub(crate) static FLOW_CACHE: Array<CachedFlow, { maps::FLOW_CACHE as usize }, ALIGNED> =
    Array::new();

/// Correspondent: what becomes of the packets of flows in `FLOW_CACHE` and by which next hop they go, by CPU and hash.
#[btf_map]
pub(crate) static WAYS: Array<CachedWay, { maps::WAYS as usize }, ALIGNED> = Array::new();

/// Correspondent: next hops that new flows share, by hash.
#[btf_map]
pub(crate) static SHARED_HOPS: PerCpuArray<SharedHop, { maps::SHARED_HOPS as usize }> =
    PerCpuArray::new();

/// An array of which user space may map the pages begins with a page, and so every entry of 64 octets is one
/// line of a processor's cache.
const ALIGNED: usize = BPF_F_MMAPABLE as usize;

/// Correspondent: (A, B) -> C, while the binding lives.
#[btf_map]
pub(crate) static BINDINGS: HashMap<BindingKey, Binding, { maps::BINDINGS as usize }> =
    HashMap::new();

/// Correspondent: (A, C) -> B, while a binding or a bound flow uses it.
#[btf_map]
pub(crate) static CARE_OF: HashMap<CareOfKey, CareOf, { maps::BINDINGS as usize }> = HashMap::new();

/// Correspondent: the flows that are remembered, see [`flow_table`].
#[btf_map]
pub(crate) static FLOWS: Array<Set, { flow_table::entries(maps::FLOWS) as usize }, ALIGNED> =
    Array::new();

/// Correspondent: when a controller last said that it lives.
#[btf_map]
pub(crate) static ATTENDED: Array<u64, 1> = Array::new();

/// Correspondent: when the controller was last told that a care-of address cannot be reached.
#[btf_map]
pub(crate) static UNREACHABLE: LruHashMap<Address, u64, { maps::UNREACHABLE as usize }> =
    LruHashMap::new();

/// Correspondent: the node key with which Test Inits are answered, and the one by which it is replaced.
#[btf_map]
pub(crate) static NODE_KEYS: Array<NodeKey, { NodeKey::ENTRIES as usize }> = Array::new();

/// Correspondent: the answer to a Test Init.
#[btf_map]
pub(crate) static ANSWER: PerCpuArray<Answer, 1> = PerCpuArray::new();

/// Correspondent: the packet that is looked at.
#[btf_map]
pub(crate) static QUESTION: PerCpuArray<Question, 1> = PerCpuArray::new();

/// What the ICMPv6 error quotes that is looked at.
#[btf_map]
pub(crate) static QUOTE: PerCpuArray<Quote, 1> = PerCpuArray::new();

/// Correspondent: where an ICMPv6 error is summed.
#[btf_map]
pub(crate) static SCRATCH: PerCpuArray<[u64; 256], 1> = PerCpuArray::new();

/// Devices that take frames which XDP redirects to them, by index.
#[btf_map]
pub(crate) static REDIRECT_TARGETS: HashMap<u32, u32, 4096> = HashMap::new();

/// Ethernet addresses whose frames this host takes, by interface.
#[btf_map]
pub(crate) static STATIONS: HashMap<Station, u32, { maps::STATIONS as usize }> = HashMap::new();

/// What became of the first fragments of packets.
#[btf_map]
pub(crate) static FRAGMENTS: LruHashMap<FragmentKey, Fragment, { maps::FRAGMENTS as usize }> =
    LruHashMap::new();

/// Member: C -> B.
#[btf_map]
pub(crate) static LOCAL_CARE_OF: HashMap<Address, LocalCareOf, { maps::LOCAL_GROUPS as usize }> =
    HashMap::new();

/// Member: the anycast addresses that it serves.
#[btf_map]
pub(crate) static LOCAL_ANYCAST: HashMap<Address, LocalAnycast, { maps::LOCAL_GROUPS as usize }> =
    HashMap::new();

/// Member: flows that last came by a care-of address.
#[btf_map]
pub(crate) static MEMBER_FLOWS: LruHashMap<FlowKey, MemberFlow, { maps::FLOWS as usize }> =
    LruHashMap::new();

/// Member: clients that the controller knows.
#[btf_map]
pub(crate) static CLIENTS: LruHashMap<BindingKey, Client, { maps::CLIENTS as usize }> =
    LruHashMap::new();
