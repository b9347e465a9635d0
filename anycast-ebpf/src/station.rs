//! Whose a frame is. A switch that does not know an address sends its frames to everybody, and a promiscuous
//! interface hears them: they are for another host, which sees them as well.

use anycast_common::abi::{
    counters::Counter,
    maps::{Station, near_station},
};
use aya_ebpf::{bindings::xdp_md, helpers::bpf_ktime_get_coarse_ns, programs::XdpContext};

use crate::{count::count, from_client::is_unattended, hints, maps::STATIONS};

/// Octets of the destination, and two more.
const HEAD: usize = 8;
/// The bit of a group address (IEEE 802), in the first octet.
const GROUP: u64 = u64::from_ne_bytes([1, 0, 0, 0, 0, 0, 0, 0]);

/// Whether this host takes the frame, or nobody has said whose it takes. What most frames need stands in the entry
/// program: a call would cost a packet of a bound flow a tenth of its time.
#[inline(always)]
pub(crate) fn takes(ctx: &XdpContext) -> bool {
    let Some((ifindex, first)) = head(ctx) else {
        return true;
    };
    let near = hints::station(ifindex);
    near == near_station(ifindex, first)
        || near == 0
        || first & GROUP != 0
        || looked_up(ctx.ctx) != 0
}

/// The interface, and the first octets of the frame.
#[inline(always)]
fn head(ctx: &XdpContext) -> Option<(u32, u64)> {
    let start = ctx.data();
    if start + HEAD > ctx.data_end() {
        return None;
    }
    // SAFETY: the bounds were checked; every architecture with efficient unaligned access takes it.
    let first = unsafe { *(start as *const u64) };
    Some((ctx.ingress_ifindex() as u32, first))
}

/// A function of its own for the sake of the stack, and so is what it asks.
#[inline(never)]
fn looked_up(ctx: *mut xdp_md) -> u32 {
    let Some((ifindex, first)) = head(&XdpContext::new(core::hint::black_box(ctx))) else {
        return 1;
    };
    let [a, b, c, d, e, f, ..] = first.to_ne_bytes();
    let mut station = Station {
        ifindex,
        mac: [a, b, c, d, e, f],
        reserved: [0; 2],
    };
    if STATIONS.get_ptr(&station).is_some() {
        return 1;
    }
    station.mac = [0; 6];
    // While nobody says what an interface's address is, it may have changed.
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    if STATIONS.get_ptr(&station).is_none() || is_unattended(now) {
        return 1;
    }
    count(Counter::FrameForAnother);
    0
}
