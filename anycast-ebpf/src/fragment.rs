//! Fragments. The first one carries the ports, is treated as its flow is, and leaves a note for
//! the others, which follow it.

use anycast_common::abi::{
    counters::Counter,
    maps::{BindingKey, CareOfKey, Fragment, FragmentKey, side},
};
use aya_ebpf::{bindings::xdp_action::XDP_PASS, helpers::bpf_ktime_get_coarse_ns};

use crate::{
    context::{Context, Packet, Verdict},
    count::count,
    forward::next_hop,
    maps::{BINDINGS, CARE_OF, FRAGMENTS, LOCAL_ANYCAST, LOCAL_CARE_OF},
    packet::{Piece, octets},
    rewrite,
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
/// quote it, whose fragments came from it. Not 0: it is known. Apart from its callers for the sake of the stack.
#[inline(never)]
pub(crate) fn care_of(
    source: &[u8; 16],
    destination: &[u8; 16],
    piece: &Piece,
    seen: bool,
    care_of: &mut [u8; 16],
) -> u32 {
    let key = FragmentKey {
        quoted: u8::from(seen),
        ..key(source, destination, *piece)
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

/// Notes what a correspondent made of a first fragment: the header tells.
#[inline(never)]
pub(crate) fn note_first<C: Context>(packet: &Packet<'_, C>, identification: u32, protocol: u8) {
    let Some(header) = packet.header() else {
        return;
    };
    // SAFETY: the IPv6 header lies within the packet.
    let (source, destination) =
        unsafe { (octets((*header).source), octets((*header).destination)) };
    let (side, address) = if source != packet.source {
        (side::SOURCE, source)
    } else if destination != packet.destination {
        (side::DESTINATION, destination)
    } else {
        // The others must not be taken for those of a pinned flow, or of one that may be pinned.
        let pair = CareOfKey {
            client: packet.destination,
            care_of: packet.source,
        };
        let binding = BindingKey {
            client: packet.source,
            anycast: packet.destination,
        };
        if CARE_OF.get_ptr(&pair).is_none() && BINDINGS.get_ptr(&binding).is_none() {
            return;
        }
        (side::NONE, source)
    };
    let piece = Piece {
        identification,
        protocol,
    };
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

/// A later fragment at a member: addresses are all that there is to change.
#[inline(never)]
pub(crate) fn at_member<C: Context>(packet: &Packet<'_, C>) -> u32 {
    member(packet).pack()
}

#[inline(always)]
fn member<C: Context>(packet: &Packet<'_, C>) -> Verdict {
    // SAFETY: the controller replaces entries whole, and the copy is made at once.
    if let Some(owner) = unsafe { LOCAL_CARE_OF.get(&packet.destination) }.copied() {
        if rewrite::destination(packet, &Transport::of(0), &owner.anycast, 0) {
            count(Counter::FragmentFollowed);
        }
        return Verdict::Done(XDP_PASS);
    }
    if LOCAL_ANYCAST.get_ptr(&packet.destination).is_some() {
        return Verdict::Done(XDP_PASS);
    }
    Verdict::NotOurs
}

/// A later fragment at a correspondent.
#[inline(never)]
pub(crate) fn at_correspondent<C: Context>(
    packet: &Packet<'_, C>,
    identification: u32,
    protocol: u8,
) -> u32 {
    let piece = Piece {
        identification,
        protocol,
    };
    correspondent(packet, piece).pack()
}

#[inline(always)]
fn correspondent<C: Context>(packet: &Packet<'_, C>, piece: Piece) -> Verdict {
    let note = match noted(&key(&packet.source, &packet.destination, piece)) {
        Some(note) => {
            count(Counter::FragmentFollowed);
            note
        }
        None => match guess(packet) {
            Some(note) => {
                count(Counter::FragmentGuessed);
                note
            }
            None => return Verdict::NotOurs,
        },
    };
    let (source, destination) = match note.side {
        side::SOURCE => (&note.address, &packet.destination),
        side::DESTINATION => (&packet.source, &note.address),
        _ => return Verdict::Done(XDP_PASS),
    };
    let transport = Transport::of(piece.protocol);
    let outward = note.side == side::DESTINATION;
    let next_hop = next_hop(packet, &transport, source, destination);
    if next_hop.way.stops::<C>(outward) {
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
    Verdict::Done(C::send(packet, &next_hop))
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
