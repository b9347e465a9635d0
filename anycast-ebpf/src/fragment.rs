//! Fragments. The first one carries the ports, is treated as its flow is, and leaves a note for
//! the others, which follow it.

use anycast_common::abi::{
    counters::Counter,
    maps::{BindingKey, CareOfKey, Fragment, FragmentKey, side},
};
use aya_ebpf::{bindings::xdp_action::XDP_PASS, helpers::bpf_ktime_get_coarse_ns};

use crate::{
    change::Change,
    context::{Context, Hook, Packet, Verdict},
    count::count,
    forward::{is_unrouted, next_hop},
    global::global,
    maps::{BINDINGS, CARE_OF, FRAGMENTS, LOCAL_ANYCAST, LOCAL_CARE_OF},
    next_hop::{NextHop, Way},
    packet::{Piece, octets, on_stack},
    rewrite, traffic,
    transport::Transport,
};

/// How long a note holds: a receiver gives up on a packet after as long (RFC 8200 section 4.5).
const LIFE: u64 = 60_000_000_000;

/// The key of the fragments of a packet.
#[inline(always)]
pub(crate) fn key(source: &[u8; 16], destination: &[u8; 16], piece: Piece) -> FragmentKey {
    FragmentKey {
        source: *source,
        destination: *destination,
        identification: piece.identification,
        protocol: piece.protocol,
        quoted: 0,
        reserved: [0; 2],
    }
}

/// The care-of address of the fragments of a packet, which went to it; with `seen`, of a packet as errors
/// quote it, whose fragments came from it.
#[inline(always)]
pub(crate) fn care_of(
    source: &[u8; 16],
    destination: &[u8; 16],
    piece: Piece,
    seen: bool,
) -> Option<[u8; 16]> {
    let mut care_of = [0; 16];
    let protocol_seen = u32::from(piece.protocol) | u32::from(seen) << SEEN;
    // SAFETY: all are there.
    let known = unsafe {
        fragment_care_of(
            source,
            destination,
            piece.identification,
            protocol_seen,
            &raw mut care_of,
        )
    };
    (known != 0).then_some(care_of)
}

/// Above the protocol number.
const SEEN: u32 = 8;

/// A global function, which the verifier follows once. Not 0: the address is known.
///
/// # Safety
///
/// The addresses must be there.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn fragment_care_of(
    source: *const [u8; 16],
    destination: *const [u8; 16],
    identification: u32,
    protocol_seen: u32,
    care_of: *mut [u8; 16],
) -> u32 {
    if source.is_null() || destination.is_null() || care_of.is_null() {
        return 0;
    }
    let seen = protocol_seen >> SEEN != 0;
    let piece = Piece {
        identification,
        protocol: protocol_seen as u8,
    };
    // SAFETY: by the caller.
    let key = FragmentKey {
        quoted: u8::from(seen),
        ..key(unsafe { &*source }, unsafe { &*destination }, piece)
    };
    let wanted = if seen {
        side::SOURCE
    } else {
        side::DESTINATION
    };
    let Some(note) = FRAGMENTS.get_ptr(&key) else {
        return 0;
    };
    // SAFETY: the memory of an entry stays mapped, and its fields are plain integers. One that is evicted
    // just now may hold another note: the error goes astray.
    unsafe {
        if (*note).side != wanted || bpf_ktime_get_coarse_ns() >= (*note).noted_at + LIFE {
            return 0;
        }
        *care_of = (*note).address;
    }
    1
}

/// Notes what became of the first fragment. `side` is one of [`side`].
#[inline(always)]
pub(crate) fn note(key: &FragmentKey, side: u8, address: &[u8; 16]) {
    let note = Fragment {
        address: *address,
        // SAFETY: no arguments.
        noted_at: unsafe { bpf_ktime_get_coarse_ns() },
        side,
        reserved: [0; 7],
    };
    // A note that is lost costs the packet, as a lost fragment would.
    let _ = FRAGMENTS.insert(key, &note, 0);
}

global! {
    /// Notes what a correspondent made of a first fragment: the header tells.
    pub(crate) fn note_first(packet) -> u32;
    note_first_once or 0;
    fragment_note_first_xdp, fragment_note_first_in, fragment_note_first_out
}

#[inline(always)]
fn note_first_once<C: Context>(packet: &Packet<'_, C>) -> u32 {
    let Some(header) = packet.header() else {
        return 0;
    };
    // SAFETY: the IPv6 header lies within the packet.
    let (source, destination) =
        unsafe { (octets((*header).source), octets((*header).destination)) };
    let (side, address) = if source != packet.source {
        (side::SOURCE, source)
    } else if destination != packet.destination {
        (side::DESTINATION, destination)
    } else {
        // Later fragments have no ports. Without a note they would be taken for those of a bound flow.
        let pair = CareOfKey {
            client: packet.destination,
            care_of: packet.source,
        };
        let binding = BindingKey {
            client: packet.source,
            anycast: packet.destination,
        };
        // On its way in a packet to B is as it was; what becomes of it is noted on its way out.
        let in_only = C::HOOK == Hook::Ingress;
        if CARE_OF.get_ptr(&pair).is_none() && (in_only || BINDINGS.get_ptr(&binding).is_none()) {
            return 0;
        }
        (side::NONE, source)
    };
    let piece = packet.piece();
    note(
        &key(&packet.source, &packet.destination, piece),
        side,
        &address,
    );
    // The other way, the pair (A, C) says what a quoted packet was sent to.
    if side == side::SOURCE {
        let key = FragmentKey {
            quoted: 1,
            ..key(&address, &packet.destination, piece)
        };
        note(&key, side, &packet.source);
    }
    1
}

/// What the first fragment's note says.
#[inline(always)]
pub(crate) fn noted(key: &FragmentKey) -> Option<Fragment> {
    // SAFETY: the copy is made at once.
    let note = unsafe { FRAGMENTS.get(key) }.copied()?;
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    (now < note.noted_at + LIFE).then_some(note)
}

/// A packet with this key goes as if nothing were noted of it.
#[inline(always)]
pub(crate) fn forget(key: &FragmentKey) {
    if FRAGMENTS.get_ptr(key).is_some() {
        let _ = FRAGMENTS.remove(key);
    }
}

global! {
    /// Notes at a member that a first fragment to C has stayed as it is, because this host opened its flow. `action` is
    /// what became of it.
    pub(crate) fn note_own(packet, action: u32) -> u32;
    note_own_once or 0;
    fragment_note_own_xdp, fragment_note_own_in
}

#[inline(always)]
fn note_own_once<C: Context>(packet: &Packet<'_, C>, action: u32) -> u32 {
    if LOCAL_CARE_OF
        .get_ptr(&on_stack(&packet.destination))
        .is_none()
    {
        return 0;
    }
    let Some(header) = packet.header() else {
        return 0;
    };
    // SAFETY: the IPv6 header lies within the packet.
    let destination = unsafe { octets((*header).destination) };
    let key = key(&packet.source, &packet.destination, packet.piece());
    if action == XDP_PASS && destination == packet.destination {
        note(&key, side::NONE, &destination);
    } else {
        // Most packets have none. An identification may come again within a minute.
        forget(&key);
    }
    1
}

global! {
    /// A later fragment at a member: addresses are all that there is to change.
    pub(crate) fn at_member(packet) -> u32;
    at_member_once or Verdict::NOT_OURS;
    fragment_at_member_xdp, fragment_at_member_in
}

#[inline(always)]
fn at_member_once<C: Context>(packet: &Packet<'_, C>) -> u32 {
    member(packet).pack()
}

#[inline(always)]
fn member<C: Context>(packet: &Packet<'_, C>) -> Verdict {
    let destination = on_stack(&packet.destination);
    // SAFETY: the controller replaces entries whole, and the copy is made at once.
    if let Some(owner) = unsafe { LOCAL_CARE_OF.get(&destination) }.copied() {
        let key = key(&packet.source, &destination, packet.piece());
        if noted(&key).is_some_and(|note| note.side == side::NONE) {
            count(Counter::FragmentFollowed);
            return Verdict::Done(XDP_PASS);
        }
        if rewrite::destination(packet, &Transport::of(0), &owner.anycast, 0) {
            count(Counter::FragmentFollowed);
            traffic::count(owner.account, side::DESTINATION, packet.octets());
        }
        return Verdict::Done(XDP_PASS);
    }
    // SAFETY: as above.
    if let Some(local) = unsafe { LOCAL_ANYCAST.get(&destination) }.copied() {
        traffic::count(local.account, side::DESTINATION, packet.octets());
        return Verdict::Done(XDP_PASS);
    }
    Verdict::NotOurs
}

global! {
    /// A later fragment at a correspondent.
    pub(crate) fn at_correspondent(packet) -> u32;
    at_correspondent_once or Verdict::NOT_OURS;
    fragment_at_correspondent_xdp, fragment_at_correspondent_in, fragment_at_correspondent_out
}

#[inline(always)]
fn at_correspondent_once<C: Context>(packet: &Packet<'_, C>) -> u32 {
    correspondent(packet, packet.piece()).pack()
}

#[inline(always)]
fn correspondent<C: Context>(packet: &Packet<'_, C>, piece: Piece) -> Verdict {
    let transport = Transport::of(piece.protocol);
    let note = match noted(&key(&packet.source, &packet.destination, piece)) {
        Some(note) => {
            if is_early(packet, &transport, &note) {
                return Verdict::Done(XDP_PASS);
            }
            if note.side == side::NONE {
                packet.ctx.count_first(Counter::FragmentFollowed);
                return Verdict::Done(XDP_PASS);
            }
            count(Counter::FragmentFollowed);
            note
        }
        None => match guess(packet) {
            Some(note) => {
                if is_early(packet, &transport, &note) {
                    return Verdict::Done(XDP_PASS);
                }
                count(Counter::FragmentGuessed);
                note
            }
            None => return Verdict::NotOurs,
        },
    };
    if !matches!(note.side, side::SOURCE | side::DESTINATION) {
        return Verdict::Done(XDP_PASS);
    }
    let outward = note.side == side::DESTINATION;
    let change = Change {
        address: note.address,
        delta: 0,
        side: note.side,
        reserved: 0,
        account: 0,
        stamp: 0,
    };
    let next_hop = if C::HOOK == Hook::Ingress && !outward {
        NextHop::by(Way::Kernel)
    } else {
        next_hop(packet, &transport, &change)
    };
    if next_hop.way.stops(outward) {
        return Verdict::Done(XDP_PASS);
    }
    let rewritten = if note.side == side::SOURCE {
        rewrite::source(packet, &transport, &note.address, 0)
    } else {
        rewrite::destination(packet, &transport, &note.address, 0)
    };
    if !rewritten {
        return Verdict::Done(XDP_PASS);
    }
    let account = if outward {
        traffic::account(&packet.parsed.destination, &note.address)
    } else {
        traffic::account(&note.address, &packet.parsed.source)
    };
    traffic::count(account, note.side, packet.octets());
    Verdict::Done(C::send(packet, &next_hop))
}

/// Whether a fragment to B meets the program again, on its way out.
#[inline(always)]
fn is_early<C: Context>(packet: &Packet<'_, C>, transport: &Transport, note: &Fragment) -> bool {
    C::HOOK == Hook::Ingress
        && note.side == side::DESTINATION
        && is_unrouted(packet.ctx, packet.parsed, transport) == 0
}

/// A fragment that came before the first one: C is dedicated to one B, and a live binding is where
/// the flows of its client go.
#[inline(always)]
fn guess<C: Context>(packet: &Packet<'_, C>) -> Option<Fragment> {
    let binding = BindingKey {
        client: packet.source,
        anycast: packet.destination,
    };
    let guess = |side, address| Fragment {
        address,
        noted_at: 0,
        side,
        reserved: [0; 7],
    };
    // SAFETY: the controller replaces entries whole, and the copy is made at once.
    if let Some(binding) = unsafe { BINDINGS.get(&binding) }.copied()
        // SAFETY: no arguments.
        && unsafe { bpf_ktime_get_coarse_ns() } < binding.expires
    {
        return Some(guess(side::DESTINATION, binding.care_of));
    }
    let pair = CareOfKey {
        client: packet.destination,
        care_of: packet.source,
    };
    // SAFETY: as above.
    let owner = unsafe { CARE_OF.get(&pair) }.copied()?;
    Some(guess(side::SOURCE, owner.anycast))
}
