//! Values that the controller or the programs write and that every packet reads. They are sections of the object: to
//! read one is a load, where a map would need a lookup.

use anycast_common::abi::maps::{
    self, AGE, FlowKey, Noted, Scope, mixed as mixed_address, our_address,
};
use aya_ebpf::helpers::{bpf_ktime_get_ns, generated::bpf_jiffies64};

use crate::{
    maps::CACHE_JIFFIES,
    shared::Shared,
    sketch::words,
    transport::{TCP, UDP},
};

/// [`maps::Hints::SECTION`]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.hints")]
static HINTS: Shared<maps::Hints> = Shared::zero();

/// [`maps::AGE_SECTION`]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.age")]
static CACHE_AGE: Shared<u64> = Shared::zero();

/// Like [`maps::AGE_SECTION`], but written by the programs, with a value that none of them has written of late.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.forgotten")]
static FORGOTTEN: Shared<u64> = Shared::zero();

/// [`maps::LED_SECTION`]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.led")]
static LED: Shared<[u64; maps::LED]> = Shared::zero();

/// [`maps::Stations::SECTION`]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.stations")]
static STATIONS_NEAR: Shared<maps::Stations> = Shared::zero();

/// See [`Noted`].
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.noted")]
static NOTED: Shared<[Noted; maps::NOTED as usize]> = Shared::zero();

/// [`maps::NextHops::SECTION`]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.next_hops")]
static NEXT_HOPS: Shared<maps::NextHops> = Shared::zero();

/// [`AGE_SECTION`](anycast_common::abi::policy::AGE_SECTION)
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.policy_age")]
static POLICY_AGE: Shared<u64> = Shared::zero();

/// [`maps::PLAIN_ROUTES_SECTION`]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.plain_routes")]
static PLAIN_ROUTES: Shared<u64> = Shared::zero();

/// [`NodeKey::AGE_SECTION`](maps::NodeKey::AGE_SECTION)
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.key_age")]
static KEY_AGE: Shared<u64> = Shared::zero();

/// The time in `FORGOTTEN` is in units of two to the power of this, in nanoseconds: as many as a stamp has room for
/// above [`AGE`] take as long as an entry holds.
const FORGOTTEN_UNIT: u32 = maps::FLOW_CACHE_LIFE - (u64::BITS - AGE.trailing_zeros());

/// Changes with every change of the node key.
#[inline(always)]
pub(crate) fn key_age() -> u64 {
    // SAFETY: the static is aligned and there.
    unsafe { KEY_AGE.get().read_volatile() }
}

/// Changes with every change of the policy.
#[inline(always)]
pub(crate) fn policy_age() -> u64 {
    // SAFETY: the static is aligned and there.
    unsafe { POLICY_AGE.get().read_volatile() }
}

/// What the address may be, which is given [`mixed`]: bits of [`whose`](maps::whose), or 0 if no map speaks of it.
#[inline(always)]
pub(crate) fn ours(mixed: u64) -> u8 {
    // SAFETY: there is an octet for each index.
    unsafe {
        (&raw const (*HINTS.get()).addresses)
            .cast::<u8>()
            .add(our_address(mixed) as usize)
            .read_volatile()
    }
}

/// The Ethernet address of an interface, or of one with another index: see [`maps::Stations`].
#[inline(always)]
pub(crate) fn station(ifindex: u32) -> u64 {
    let place = ifindex as usize & (maps::NEAR_STATIONS - 1);
    // SAFETY: there are so many.
    unsafe {
        (&raw const (*STATIONS_NEAR.get()).near)
            .cast::<u64>()
            .add(place)
            .read_volatile()
    }
}

/// A place for a next hop.
#[inline(always)]
pub(crate) fn next_hop(index: usize) -> *mut maps::NextHop {
    // SAFETY: there are so many.
    unsafe {
        NEXT_HOPS
            .get()
            .cast::<maps::NextHop>()
            .add(index & (maps::NEXT_HOPS - 1))
    }
}

/// The slot of a source among those that are noted. An attacker who has others share a slot only makes them slower.
#[inline(always)]
fn slot(mixed: u64) -> *mut Noted {
    let index = (mixed >> 32) as usize & (maps::NOTED as usize - 1);
    // SAFETY: there are so many.
    unsafe { NOTED.get().cast::<Noted>().add(index) }
}

/// Whether packets of this source need no note at present; see [`whose`].
#[inline(always)]
pub(crate) fn is_noted(source: [u64; 2], whose: u64) -> bool {
    let noted = slot(whose);
    // SAFETY: the static is aligned and there.
    let (address, stamp_mixed) = unsafe {
        (
            (&raw const (*noted).source).read_volatile(),
            (&raw const (*noted).stamp).read_volatile(),
        )
    };
    let difference = (address[0] ^ source[0]) | (address[1] ^ source[1]);
    difference == 0 && holds(stamp_mixed.wrapping_sub(whose), stamp())
}

/// The key of a note: a source and, for UDP, the destination and the ports, since each flow of UDP is remembered from
/// its first packet on, and one socket may speak to several. Addresses are given [`mixed`], `ports` in the order of
/// memory.
#[inline(always)]
pub(crate) fn whose(source: u64, destination: u64, protocol: u8, ports: u32) -> u64 {
    if protocol == UDP {
        // Turned, so that the two addresses cannot change places.
        let ends = source.wrapping_add(destination.rotate_left(24));
        ends.wrapping_add(u64::from(ports).wrapping_mul(0xd6e8_feb8_6659_fd93))
    } else {
        source
    }
}

/// Notes that packets of the client need no further note at present, unless they may be from a member.
#[inline(always)]
pub(crate) fn note(flow: &FlowKey) {
    // This is read before the question, so that a change by the controller in between ends the note.
    let stamp = stamp();
    let source = words(&flow.client);
    let mixed = mixed_address(source);
    if ours(mixed) != 0 || !matches!(flow.protocol, TCP | UDP) {
        return;
    }
    let destination = mixed_address(words(&flow.anycast));
    let ports = ports(flow);
    let whose = whose(mixed, destination, flow.protocol, ports);
    let noted = Noted {
        source,
        stamp: stamp.wrapping_add(whose),
        reserved: 0,
    };
    // SAFETY: as above.
    unsafe { slot(whose).write_volatile(noted) };
}

/// Both ports as they lie in a packet of the client.
#[inline(always)]
pub(crate) fn ports(flow: &FlowKey) -> u32 {
    let ([a, b], [c, d]) = (flow.client_port, flow.service_port);
    u32::from_ne_bytes([a, b, c, d])
}

/// Whether the addresses may be those of a client and of an anycast group.
#[inline(always)]
pub(crate) fn in_scope(source: u64, destination: u64) -> bool {
    // SAFETY: the static is aligned and there.
    let Scope {
        client,
        client_mask,
        anycast,
        anycast_mask,
    } = unsafe { (&raw const (*HINTS.get()).scope).read_volatile() };
    ((source ^ client) & client_mask) | ((destination ^ anycast) & anycast_mask) == 0
}

/// The time of [`LED`] that a flow shares. An attacker who has flows bound makes others go the long way that share it.
#[inline(always)]
fn led_at(mixed: u64) -> *mut u64 {
    let index = (mixed >> 40) as usize & (maps::LED - 1);
    // SAFETY: there are so many.
    unsafe { LED.get().cast::<u64>().add(index) }
}

/// A flow is bound from now on, whose packets may have passed until now. See [`crate::flow_cache::hash`] about `mixed`.
/// To be called when the table of flows has it, so that whoever asked that before has a stamp of before.
#[inline(always)]
pub(crate) fn is_led(mixed: u64) {
    // SAFETY: the helper takes nothing, and the static is aligned and there.
    unsafe { led_at(mixed).write_volatile(bpf_jiffies64()) };
}

/// Whether no flow that shares the time of this one was bound since the stamp, which [`holds`].
#[inline(always)]
pub(crate) fn is_left_alone(mixed: u64, stamp_then: u64) -> bool {
    // SAFETY: as above.
    let led = unsafe { bpf_jiffies64().wrapping_sub(led_at(mixed).read_volatile()) };
    stamp().wrapping_sub(stamp_then) < led
}

/// The present time in jiffies, and the present values of all ages. Jiffies need one load, where a clock needs a call.
#[inline(always)]
pub(crate) fn stamp() -> u64 {
    // SAFETY: the statics are aligned and there; the helper takes nothing.
    unsafe {
        let age = CACHE_AGE.get().read_volatile();
        let forgotten = FORGOTTEN.get().read_volatile();
        bpf_jiffies64().wrapping_add(age).wrapping_add(forgotten)
    }
}

/// The present time in jiffies, and the present age of routes, neighbours and interfaces. What the programs forget of
/// flows does not end it.
#[inline(always)]
pub(crate) fn route_stamp() -> u64 {
    // SAFETY: as above.
    unsafe { bpf_jiffies64().wrapping_add(CACHE_AGE.get().read_volatile()) }
}

/// Until when nothing but the destination and the interface of a packet decides its next hop.
#[inline(always)]
pub(crate) fn plain_routes_until() -> u64 {
    // SAFETY: the static is aligned and there.
    unsafe { PLAIN_ROUTES.get().read_volatile() }
}

/// Whether a result of one time is still valid at another. An empty entry is never valid, since jiffies begin five
/// minutes before 2^32.
#[inline(always)]
pub(crate) fn holds(stamp: u64, now: u64) -> bool {
    now.wrapping_sub(stamp) < CACHE_JIFFIES.load()
}

/// Ends all cached entries on every CPU, so that the next packet of each flow goes the long way and is noted.
#[inline(always)]
pub(crate) fn forget() {
    // The time, since one that is added would have to be read first, and a CPU that stops between the two would go
    // back to a value of before: entries that others have ended would be valid again, with ways that have become those
    // of other flows. The bits that are not lost below the jiffies of a stamp take as long as an entry holds to come
    // again.
    // SAFETY: the helper takes nothing, and the static is aligned and there.
    unsafe {
        let mut value = (bpf_ktime_get_ns() >> FORGOTTEN_UNIT).wrapping_mul(AGE);
        if value == FORGOTTEN.get().read_volatile() {
            value = value.wrapping_add(AGE);
        }
        FORGOTTEN.get().write_volatile(value);
    }
}
