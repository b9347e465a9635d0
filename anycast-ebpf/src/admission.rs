//! What may ask for the controller's time: messages to clients, and the first packets of clients.
//!
//! What the controller could not bear is refused here, by the narrowest limit that it exceeds, and
//! that takes nothing from the wider ones: a flood hurts those whom it names, and no others.

use anycast_common::abi::{
    counters::Counter,
    event::RING,
    maps::{FlowKey, Rate, rates, whole},
};
use aya_ebpf::{
    bindings::BPF_RB_AVAIL_DATA, btf_maps::lpm_trie::Key, helpers::generated::bpf_ringbuf_query,
};

use crate::{
    context::{Context, Packet},
    count::count_index,
    hints,
    limit::{holds, now, settle, spend},
    maps::{ANYCAST_PREFIXES, CLIENT_PREFIXES, EVENTS, WHOLE},
    rates::given,
    sketch::{Bucket, note_sent, sent_lately, words},
};

const HOME_TEST_INIT: u8 = 1;
const CARE_OF_TEST_INIT: u8 = 2;
const BINDING_UPDATE: u8 = 5;
/// Kinds of keys in the sketch, beside the number of a whole bucket.
const CLIENT: u64 = 1 << 8;
const PREFIX: u64 = 2 << 8;
/// A client, and the /64 of care-of addresses.
const CARE_OF: u64 = 4 << 8;
const UNREACHABLE: u64 = 5 << 8;
/// A client, and Care-of Test Inits from anywhere.
const CARE_OF_TO_CLIENT: u64 = 6 << 8;
/// So many /64s may send Care-of Test Inits to one client at their full rate.
const PREFIXES: u64 = 20;
/// Not the number of a counter.
const ADMITTED: u32 = u32::MAX;

const ERRORS: Rate = per_second(1000);
/// Errors of routers about one care-of address.
const UNREACHABLES: Rate = Rate {
    every: 100_000_000,
    depth: 2_000_000_000,
};
/// MLD Queries of all queriers on all links together.
const QUERIES: Rate = per_second(500);

/// A rate of `count` a second, of which all may come at once.
const fn per_second(count: u64) -> Rate {
    Rate {
        every: 1_000_000_000 / count,
        depth: 1_000_000_000,
    }
}

/// Why messages of one kind are refused.
struct Reasons {
    client: Counter,
    prefix: Counter,
    solicited: Counter,
    unsolicited: Counter,
}

const TEST_INITS: Reasons = Reasons {
    client: Counter::TestInitClientLimited,
    prefix: Counter::TestInitPrefixLimited,
    solicited: Counter::TestInitLimited,
    unsolicited: Counter::TestInitUnsolicited,
};
const UPDATES: Reasons = Reasons {
    client: Counter::UpdateClientLimited,
    prefix: Counter::UpdatePrefixLimited,
    solicited: Counter::UpdateLimited,
    unsolicited: Counter::UpdateUnsolicited,
};

/// Whether a mobility message for a client may go to the controller; if not, that is counted.
///
/// A member sends to clients that have just sent to it through this gateway. Messages to other clients answer nothing
/// that was seen here. They share a bucket of their own: a forger does not know which clients are active, so forged
/// messages use up that bucket and leave the others alone.
#[inline(always)]
pub(crate) fn message<C: Context>(packet: &Packet<'_, C>, mh_type: u8) -> bool {
    // SAFETY: both are there.
    admitted(unsafe { message_refused(&packet.source, &packet.destination, u32::from(mh_type)) })
}

/// The counter of its refusal. A global function, which the verifier follows once.
///
/// # Safety
///
/// Both must be there.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn message_refused(
    source: *const [u8; 16],
    client: *const [u8; 16],
    mh_type: u32,
) -> u32 {
    if source.is_null() || client.is_null() {
        return ADMITTED;
    }
    // SAFETY: by the caller.
    let (source, client) = unsafe { (&*source, &*client) };
    let mh_type = mh_type as u8;
    // Both types come from B. If clients may not be bound to this B, the message takes no token from any bucket.
    if matches!(mh_type, HOME_TEST_INIT | BINDING_UPDATE) && !is_allowed(source) {
        return Counter::MobilityNotAllowed as u32;
    }
    let update = u64::from(mh_type == BINDING_UPDATE);
    let reasons = if update == 0 { TEST_INITS } else { UPDATES };
    let client = words(client);
    let (kind, rate, beyond) = if sent_lately(client) {
        let kind = update | u64::from(whole::SOLICITED);
        let rate = given::<{ rates::MESSAGES_SOLICITED }>();
        (kind, rate, reasons.solicited)
    } else {
        let rate = given::<{ rates::MESSAGES_UNSOLICITED }>();
        (update, rate, reasons.unsolicited)
    };
    let Some(whole) = Whole::of(kind as u32, rate) else {
        return ADMITTED;
    };
    let now = now();
    if !whole.holds(now) {
        return beyond as u32;
    }
    let to_client = given::<{ rates::MESSAGES_TO_CLIENT }>();
    // Anybody may send from some care-of address. So each /64 has a bucket, and a flood from one /64 leaves the
    // buckets of others alone.
    let (tag, whose) = if mh_type == CARE_OF_TEST_INIT {
        let [prefix, _] = words(source);
        (
            CARE_OF,
            [client[0] ^ prefix.rotate_left(32), client[1] ^ prefix],
        )
    } else {
        (CLIENT, client)
    };
    let Some(narrow) = Bucket::of(tag | kind, whose) else {
        return ADMITTED;
    };
    // A sender who owns many /64s could otherwise use up the bucket of all clients by messages to a single active one.
    let from_anybody = Rate {
        every: to_client.every / PREFIXES,
        depth: to_client.depth,
    };
    let Some(client) = Bucket::of(CARE_OF_TO_CLIENT | kind, client) else {
        return ADMITTED;
    };
    let from_many = tag == CARE_OF;
    if !narrow.holds(now, to_client) || (from_many && !client.holds(now, from_anybody)) {
        return reasons.client as u32;
    }
    let from_prefix = given::<{ rates::MESSAGES_FROM_PREFIX }>();
    let Some(prefix) = Bucket::of(PREFIX | kind, [words(source)[0], 0]) else {
        return ADMITTED;
    };
    if !prefix.holds(now, from_prefix) {
        return reasons.prefix as u32;
    }
    whole.spend(now);
    narrow.spend(now, to_client);
    if from_many {
        client.spend(now, from_anybody);
    }
    prefix.spend(now, from_prefix);
    ADMITTED
}

/// Whether a Test Init that the programs cannot answer may go to the controller; if not, that is counted. Binding
/// Updates are the last messages of a handshake, and the ring keeps half of its room for them.
#[inline(always)]
pub(crate) fn test_init() -> bool {
    admitted(if ring_is_busy() {
        Counter::TestInitRingBusy as u32
    } else {
        ADMITTED
    })
}

/// Whether a new client of this member may be reported; if not, that is counted.
#[inline(always)]
pub(crate) fn new_client<C: Context>(packet: &Packet<'_, C>) -> bool {
    // SAFETY: it is there.
    admitted(unsafe { new_client_refused(&packet.source) })
}

/// The counter of the refusal. A global function, which the verifier follows once.
///
/// # Safety
///
/// The client must be there.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn new_client_refused(client: *const [u8; 16]) -> u32 {
    if client.is_null() {
        return ADMITTED;
    }
    // SAFETY: by the caller.
    let client = unsafe { &*client };
    if ring_is_busy() {
        return Counter::MemberRingBusy as u32;
    }
    let Some(whole) = Whole::of(whole::NEW_CLIENTS, given::<{ rates::NEW_CLIENTS }>()) else {
        return ADMITTED;
    };
    let now = now();
    if !whole.holds(now) {
        return Counter::MemberNewClientLimited as u32;
    }
    let of_prefix = given::<{ rates::NEW_CLIENTS_OF_PREFIX }>();
    let tag = PREFIX | u64::from(whole::NEW_CLIENTS);
    let Some(prefix) = Bucket::of(tag, [words(client)[0], 0]) else {
        return ADMITTED;
    };
    if !prefix.holds(now, of_prefix) {
        return Counter::MemberNewClientPrefixLimited as u32;
    }
    whole.spend(now);
    prefix.spend(now, of_prefix);
    ADMITTED
}

/// Whether an answer to a member may go to its controller; if not, that is counted.
#[inline(always)]
pub(crate) fn answer() -> bool {
    admitted(beyond(
        whole::ANSWERS,
        given::<{ rates::ANSWERS }>(),
        Counter::MemberAnswerLimited as u32,
    ))
}

/// Whether an ICMPv6 error about a member's messages may go to its controller; if not, that is counted.
#[inline(always)]
pub(crate) fn error() -> bool {
    admitted(beyond(
        whole::ERRORS,
        ERRORS,
        Counter::MemberErrorLimited as u32,
    ))
}

/// Whether an ICMPv6 error which says that a care-of address cannot be reached may be believed; if not, that is
/// counted. The rate is low: errors about a few sessions are enough to show that the address is gone, and a forger
/// shortens the wait of only so many.
#[inline(always)]
pub(crate) fn unreachable(care_of: &[u8; 16]) -> bool {
    // SAFETY: it is there.
    admitted(unsafe { unreachable_refused(care_of) })
}

/// The counter of the refusal. A global function, which the verifier follows once.
///
/// # Safety
///
/// The address must be there.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn unreachable_refused(care_of: *const [u8; 16]) -> u32 {
    if care_of.is_null() {
        return ADMITTED;
    }
    // SAFETY: by the caller.
    let care_of = unsafe { &*care_of };
    let now = now();
    let Some(bucket) = Bucket::of(UNREACHABLE, words(care_of)) else {
        return ADMITTED;
    };
    if !bucket.holds(now, UNREACHABLES) {
        return Counter::CareOfUnreachableLimited as u32;
    }
    bucket.spend(now, UNREACHABLES);
    ADMITTED
}

/// Whether an MLD Query may go to the controller; if not, that is counted. There is room in the ring for those that the
/// rate lets through.
#[inline(always)]
pub(crate) fn query() -> bool {
    let refused = Counter::MldQueryLimited as u32;
    admitted(spent(whole::QUERIES, QUERIES, refused))
}

#[inline(never)]
fn beyond(kind: u32, rate: Rate, refused: u32) -> u32 {
    if ring_is_busy() {
        return refused;
    }
    spent(kind, rate, refused)
}

#[inline(always)]
fn spent(kind: u32, rate: Rate, refused: u32) -> u32 {
    let Some(whole) = Whole::of(kind, rate) else {
        return ADMITTED;
    };
    let now = now();
    if !whole.holds(now) {
        return refused;
    }
    whole.spend(now);
    ADMITTED
}

/// A client's packet goes to B itself: a member may answer it with a handshake. A global function.
///
/// # Safety
///
/// The key must be there.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn expect_messages(flow: *const FlowKey) -> u32 {
    if flow.is_null() {
        return 0;
    }
    // SAFETY: by the caller.
    let flow = unsafe { &*flow };
    if !is_allowed(&flow.anycast) {
        return 0;
    }
    note_sent(words(&flow.client), || is_client(&flow.client));
    hints::note(flow);
    1
}

/// Whether this correspondent answers for the address.
#[inline(always)]
pub(crate) fn is_client(address: &[u8; 16]) -> bool {
    CLIENT_PREFIXES.get(&Key::new(128, *address)).is_some()
}

/// Whether this may be an anycast address to which a client is bound.
#[inline(always)]
fn is_allowed(address: &[u8; 16]) -> bool {
    ANYCAST_PREFIXES.get(&Key::new(128, *address)).is_some()
}

/// Takes a token of a bucket of this CPU.
#[inline(always)]
pub(crate) fn whole(kind: u32, rate: Rate) -> bool {
    spent(kind, rate, 0) == ADMITTED
}

#[inline(always)]
fn admitted(refused: u32) -> bool {
    if refused == ADMITTED {
        return true;
    }
    count_index(refused);
    false
}

/// Whether more than half of the ring is taken.
#[inline(always)]
fn ring_is_busy() -> bool {
    let ring = (&raw const EVENTS).cast_mut().cast();
    // SAFETY: the helper reads the state of the map, which lives as long as the program.
    let waiting = unsafe { bpf_ringbuf_query(ring, u64::from(BPF_RB_AVAIL_DATA)) };
    waiting > RING as u64 / 2
}

/// A bucket of this CPU for all messages of a kind.
#[derive(Clone, Copy)]
struct Whole {
    full: *mut u64,
    rate: Rate,
}

impl Whole {
    #[inline(always)]
    fn of(kind: u32, rate: Rate) -> Option<Self> {
        let full = WHOLE.get_ptr_mut(kind)?;
        Some(Self { full, rate })
    }

    #[inline(always)]
    fn holds(self, now: u64) -> bool {
        // SAFETY: the slot belongs to this CPU, see `count`.
        let full = unsafe { &mut *self.full };
        settle(full, now, self.rate);
        holds(*full, now, self.rate)
    }

    #[inline(always)]
    fn spend(self, now: u64) {
        // SAFETY: as above.
        spend(unsafe { &mut *self.full }, now, self.rate);
    }
}
