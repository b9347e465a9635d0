//! What kind of message a frame carries, and what an error quotes.

use std::net::Ipv6Addr;

use super::{
    fate::Packet,
    view::{Transport, View},
};
use crate::packets::ICMPV6;

/// Addresses that are never rewritten, and whose partner is not either.
pub(super) fn is_never_rewritten(view: &View) -> bool {
    let of_no_flow = |address: Ipv6Addr| {
        let link_local = address.segments()[0] & 0xffc0 == 0xfe80;
        link_local || address.is_multicast() || address.is_unspecified() || address.is_loopback()
    };
    of_no_flow(view.source) || of_no_flow(view.destination)
}

/// Of an error.
pub(super) fn is_port_unreachable(frame: &[u8], view: &View) -> bool {
    frame[view.upper..view.upper + 2] == [1, 4]
}

pub(super) fn is_error(view: &View, frame: &[u8]) -> bool {
    let whole = view.upper + 8 <= view.end.min(frame.len());
    view.protocol == ICMPV6 && whole && frame[view.upper] < 128
}

/// The type of a message, when its header is there.
pub(super) fn kind_of_mobility(frame: &[u8], view: &View) -> Option<u8> {
    let header = frame.get(view.upper..view.upper + 8)?;
    Some(header[2])
}

/// The packet that an error quotes, and its transport header, which a later fragment has not.
pub(super) fn quote(frame: &[u8], view: &View) -> Option<(View, Option<Transport>)> {
    let frame = &frame[..view.end.min(frame.len())];
    let quote = View::packet(frame, view.upper + 8)?;
    let transport = match quote.is_later() {
        true => None,
        false => Some(quote.transport(frame)?),
    };
    Some((quote, transport))
}

/// Whether it is an error about a later fragment.
pub(super) fn quotes_later(frame: &[u8]) -> bool {
    let view = View::frame(frame).filter(|view| !view.is_later() && is_error(view, frame));
    view.and_then(|view| quote(frame, &view))
        .is_some_and(|(quote, _)| quote.is_later())
}

pub(super) fn packet_of(view: &View) -> Option<Packet> {
    let fragment = view.fragment?;
    Some((
        view.source,
        view.destination,
        fragment.identification,
        fragment.protocol,
    ))
}
