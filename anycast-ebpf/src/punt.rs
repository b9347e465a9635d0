//! Packets for the controller, through the ring buffer.

use core::mem::offset_of;

use anycast_common::abi::{
    counters::Counter,
    event::{HEADER, Header, LONG, SHORT, kind},
};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_log_ebpf_macros::warn;

use crate::{
    context::{Context, Packet},
    count::count,
    maps::EVENTS,
    packet::{BARE, Ethernet},
};

#[repr(C, align(8))]
struct Short([u8; SHORT]);

#[repr(C, align(8))]
struct Long([u8; LONG]);

/// Gives the IPv6 packet to the controller. False: it is lost, and counted.
#[inline(always)]
pub(crate) fn punt<C: Context>(packet: &Packet<'_, C>, kind: u8) -> bool {
    let length = packet.ctx.length() - packet.layout.ipv6;
    if length <= SHORT - HEADER {
        record::<Short, C>(packet, kind, 0, length)
    } else if length <= LONG - HEADER {
        record::<Long, C>(packet, kind, 0, length)
    } else {
        count(Counter::PuntTooLong);
        false
    }
}

/// Gives the first bytes of the packet to the controller; the headers are all that it needs.
#[inline(always)]
pub(crate) fn punt_headers<C: Context>(packet: &Packet<'_, C>, kind: u8) -> bool {
    let length = packet.ctx.length() - packet.layout.ipv6;
    record::<Short, C>(packet, kind, 0, length.min(SHORT - HEADER))
}

/// Gives the first bytes of a packet that is refused to the controller, with the reason.
#[inline(always)]
pub(crate) fn punt_refused<C: Context>(packet: &Packet<'_, C>, reason: Counter) -> bool {
    let length = packet.ctx.length() - packet.layout.ipv6;
    let length = length.min(SHORT - HEADER);
    record::<Short, C>(packet, kind::REFUSED, reason as u8, length)
}

#[inline(always)]
fn record<T: 'static, C: Context>(
    packet: &Packet<'_, C>,
    kind: u8,
    reason: u8,
    length: usize,
) -> bool {
    let Some(mut entry) = EVENTS.reserve_untyped::<T>(0) else {
        punt_lost();
        return false;
    };
    let start = entry.as_mut_ptr().cast::<u8>();
    // The helper wants at least one octet. A bound on the length less one says both bounds with one comparison, which
    // verifiers before Linux 6.8 need: of two comparisons they forget the first. The compiler would compare pointers
    // instead, which tells the verifier nothing.
    let before_last = core::hint::black_box(length.wrapping_sub(1));
    if before_last >= size_of::<T>() - HEADER {
        entry.discard(0);
        return false;
    }
    let length = before_last + 1;
    // SAFETY: the record has room for the header and `length` bytes; the helper checks the packet.
    let failed = unsafe {
        start.cast::<Header>().write(Header {
            time: bpf_ktime_get_ns(),
            ifindex: packet.ctx.ingress(),
            length: length as u16,
            kind,
            reason,
            mac: [0; 6],
            reserved2: [0; 2],
        });
        // A device without Ethernet has no such address.
        let mac = if packet.layout.ipv6 == BARE {
            0
        } else {
            packet.ctx.load(
                offset_of!(Ethernet, source),
                start.add(offset_of!(Header, mac)),
                6,
            )
        };
        let bytes = packet
            .ctx
            .load(packet.layout.ipv6, start.add(HEADER), length);
        mac | bytes
    };
    if failed != 0 {
        entry.discard(0);
        return false;
    }
    entry.submit(0);
    true
}

/// A flood must not become a flood of log lines: a line for every doubling of the losses. A global function, which the
/// verifier follows once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn punt_lost() -> u32 {
    let losses = count(Counter::PuntRingFull);
    if losses.is_power_of_two() {
        warn!((), "ring buffer full, {} punts lost on this CPU", losses);
    }
    0
}
