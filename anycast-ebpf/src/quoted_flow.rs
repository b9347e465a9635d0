//! The flow of a packet that an ICMPv6 error quotes.

use anycast_common::{
    abi::maps::{CareOfKey, Flow},
    wire::checksum,
};

use crate::{flow_table, fragment, maps::CARE_OF, packet::Piece, quoted::Quote};

/// Which B a pair (A, C) belongs to, and what that does to a checksum.
pub(crate) struct Owner {
    pub(crate) anycast: [u8; 16],
    pub(crate) delta: u16,
}

/// That of a quoted packet that a client sent to C.
#[inline(always)]
pub(crate) fn owner(quote: &Quote) -> Option<Owner> {
    let pair = CareOfKey {
        client: quote.source,
        care_of: quote.destination,
    };
    // SAFETY: the controller replaces entries whole, and the copy is made at once.
    let owner = unsafe { CARE_OF.get(&pair) }?;
    Some(Owner {
        anycast: owner.anycast,
        delta: owner.delta,
    })
}

/// The flow of that packet, which must be bound to this C.
#[inline(always)]
pub(crate) fn pinned(quote: &Quote, owner: &Owner) -> Option<*mut Flow> {
    let transport = &quote.transport;
    let key = transport.flow_from_client(&quote.source, &owner.anycast);
    flow_table::find(&key)
        .filter(|pinned| pinned.care_of == quote.destination)
        .map(|pinned| pinned.flow())
}

/// Whether that packet is a later fragment of one whose first went to this C.
#[inline(always)]
pub(crate) fn followed(quote: &Quote, owner: &Owner) -> bool {
    noted_care_of(quote, &owner.anycast, false).is_some_and(|care_of| care_of == quote.destination)
}

/// The care-of address in the note about a quoted fragment's packet, whose destination was this one when it
/// was noted: that to which it went or, with `seen`, that from which it came.
#[inline(always)]
fn noted_care_of(quote: &Quote, destination: &[u8; 16], seen: bool) -> Option<[u8; 16]> {
    let piece = Piece {
        identification: quote.identification,
        protocol: quote.transport.protocol,
    };
    fragment::care_of(&quote.source, destination, piece, seen)
}

/// Where a packet came from that a client got from B, and what that C does to a checksum.
#[inline(always)]
pub(crate) fn sender(quote: &Quote) -> Option<([u8; 16], u16)> {
    let (anycast, client) = (&quote.source, &quote.destination);
    if quote.later {
        let care_of = noted_care_of(quote, client, true)?;
        return Some((care_of, checksum::delta(anycast, &care_of)));
    }
    let key = quote.transport.flow_to_client(client, anycast);
    let pinned = flow_table::find(&key).filter(|pinned| !pinned.is_open())?;
    Some((pinned.care_of, pinned.delta))
}
