//! TCX: packets as the kernel's stack has them, merged and with checksums that a device is yet to complete.
//!
//! A packet of a member is rewritten on its way in, before the packet filter. A packet to B is rewritten on its way
//! out, behind the packet filter, whether this host forwards or sends it. There it may have to leave by another
//! interface than the one that the route to B chose.

use core::ffi::c_void;

use anycast_common::abi::{counters::Counter, maps::mixed};
use anycast_common::wire::checksum;
use aya_ebpf::{
    EbpfContext,
    bindings::{
        __sk_buff, BPF_F_INGRESS, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, BPF_F_RECOMPUTE_CSUM,
        xdp_action::{XDP_PASS, XDP_REDIRECT},
    },
    helpers::{
        bpf_l4_csum_replace, bpf_redirect, bpf_redirect_neigh, bpf_skb_load_bytes,
        bpf_skb_pull_data, bpf_skb_store_bytes,
    },
    programs::TcContext,
};

use crate::{
    context::{Context, Hook, LOOPBACK, Packet},
    count::count,
    fast::{HEADERS, Head, both, is_known, may_be_bound},
    hints::{in_scope, ours},
    next_hop::{NextHop, Way},
    packet::{BARE, Bytes, ETHERNET, ETHERTYPE_IPV6, ethernet},
    transport::{TCP, Transport, UDP, UDP_LITE},
};

/// Octets of the headers of most packets: Ethernet, IPv6, TCP without options.
const COMMON: usize = 74;
/// No header of interest ends later than this.
const ALL: usize = 532;
const ETHERTYPE: usize = 12;
const NEXT_HEADER: usize = 20;

/// A packet at TCX, on its way in or out.
pub(crate) struct Skb<const OUT: bool>(pub TcContext);

impl<const OUT: bool> Skb<OUT> {
    #[inline(always)]
    pub(crate) fn new(context: *mut __sk_buff) -> Self {
        Self(TcContext::new(context))
    }

    /// Makes the headers readable in place: of TCP and UDP they mostly are, else all that may be read.
    #[inline(always)]
    pub(crate) fn pull<const IS_BARE: bool>(&self) {
        let wanted = if self.is_plain::<IS_BARE>() {
            COMMON
        } else {
            ALL
        };
        let there = self.end() - self.start();
        let wanted = wanted.min(self.length());
        if there < wanted {
            // SAFETY: the context is the kernel's.
            unsafe { bpf_skb_pull_data(self.0.skb.skb, wanted as u32) };
        }
    }

    /// Whether a packet that this host forwards may be one to B, about which something is to be done or noted. Most are
    /// not. Their addresses were read in place when they were forwarded.
    #[inline(always)]
    pub(crate) fn is_of_interest(&self) -> bool {
        let head = Head(self.start() as *mut u8);
        if self.start() + HEADERS > self.end() || head.ethertype() != ETHERTYPE_IPV6 {
            return true;
        }
        let (source, destination) = (head.source(), head.destination());
        let mixed_destination = mixed(destination);
        if may_be_bound(self, head, 0, ours(mixed_destination)) {
            return true;
        }
        if !in_scope(source[0], destination[0]) {
            return false;
        }
        !matches!(head.protocol(), TCP | UDP)
            || !is_known(self, head, mixed(source), mixed_destination)
    }

    /// [`both`] addresses of a packet that may be one of a bound flow.
    #[inline(always)]
    pub(crate) fn addresses(&self) -> Option<u64> {
        let head = Head::of(self)?;
        if head.ethertype() != ETHERTYPE_IPV6 || !matches!(head.protocol(), TCP | UDP) {
            return None;
        }
        let (source, destination) = (mixed(head.source()), mixed(head.destination()));
        may_be_bound(self, head, ours(source), ours(destination)).then(|| both(source, destination))
    }

    #[inline(always)]
    fn is_plain<const IS_BARE: bool>(&self) -> bool {
        let start = self.start();
        if start + NEXT_HEADER + 2 > self.end() {
            return false;
        }
        let frame = start as *const u8;
        if IS_BARE {
            // SAFETY: the bounds were checked.
            let protocol = unsafe { *frame.add(NEXT_HEADER - ETHERNET) };
            return protocol == TCP || protocol == UDP;
        }
        // SAFETY: the bounds were checked.
        let (ethertype, protocol) =
            unsafe { (*frame.add(ETHERTYPE).cast::<u16>(), *frame.add(NEXT_HEADER)) };
        ethertype != ETHERTYPE_IPV6 || protocol == TCP || protocol == UDP
    }

    /// Lets a packet to C that is too big for its way come in by this interface, so that the kernel answers it.
    #[inline(always)]
    fn turn_back(&self, is_bare: bool) -> u32 {
        if !is_bare {
            let Some(frame) = ethernet(self) else {
                return XDP_PASS;
            };
            // SAFETY: `ethernet` checked the bounds.
            let own = unsafe { (*frame).source };
            self.overwrite(0, &own);
        }
        // SAFETY: no pointers.
        unsafe { bpf_redirect(self.ingress(), u64::from(BPF_F_INGRESS)) };
        XDP_REDIRECT
    }

    /// Puts an address in place of that at `offset`, and what that does to a checksum where that is; 0: there is none.
    /// False: the packet is as it was.
    #[inline(always)]
    pub(crate) fn exchange<T>(
        &self,
        (checksum, udp): (usize, bool),
        offset: usize,
        address: &T,
        delta: u16,
    ) -> bool {
        if checksum != 0 {
            let mut flags = u64::from(BPF_F_PSEUDO_HDR);
            if udp {
                flags |= u64::from(BPF_F_MARK_MANGLED_0);
            }
            // Where the device is to complete it, the field holds the sum of the pseudo-header, not its
            // complement: the helper knows. The difference is one of 16 bits as well as of 32.
            // SAFETY: the helper checks the offset itself.
            let replaced = unsafe {
                bpf_l4_csum_replace(self.0.skb.skb, checksum as u32, 0, u64::from(delta), flags)
            };
            if replaced != 0 {
                return false;
            }
        }
        self.overwrite(offset, address)
    }

    /// Octets at `offset` are replaced, and what the device has summed of the packet is put right.
    #[inline(always)]
    fn overwrite<T>(&self, offset: usize, value: &T) -> bool {
        // SAFETY: the helper checks the offset itself, and `value` is where the caller has it.
        let stored = unsafe {
            bpf_skb_store_bytes(
                self.0.skb.skb,
                offset as u32,
                core::ptr::from_ref(value).cast(),
                size_of::<T>() as u32,
                u64::from(BPF_F_RECOMPUTE_CSUM),
            )
        };
        stored == 0
    }
}

impl<const OUT: bool> Bytes for Skb<OUT> {
    #[inline(always)]
    fn start(&self) -> usize {
        self.0.data()
    }

    #[inline(always)]
    fn end(&self) -> usize {
        self.0.data_end()
    }
}

impl<const OUT: bool> EbpfContext for Skb<OUT> {
    #[inline(always)]
    fn as_ptr(&self) -> *mut c_void {
        self.0.as_ptr()
    }
}

impl<const OUT: bool> Context for Skb<OUT> {
    const HOOK: Hook = if OUT { Hook::Egress } else { Hook::Ingress };

    #[inline(always)]
    fn ingress(&self) -> u32 {
        // SAFETY: the context lives as long as the program.
        unsafe { (*self.0.skb.skb).ifindex }
    }

    #[inline(always)]
    fn untagged(&self) -> bool {
        // SAFETY: the context lives as long as the program.
        unsafe { (*self.0.skb.skb).vlan_present != 0 }
    }

    #[inline(always)]
    fn is_forwarded(&self) -> bool {
        // SAFETY: as above.
        OUT && unsafe { (*self.0.skb.skb).ingress_ifindex } != 0
    }

    #[inline(always)]
    fn origin(&self) -> u32 {
        // SAFETY: as above.
        let arrived = unsafe { (*self.0.skb.skb).ingress_ifindex };
        if arrived == 0 { LOOPBACK } else { arrived }
    }

    #[inline(always)]
    fn length(&self) -> usize {
        self.0.len() as usize
    }

    /// Segments that were merged on the way in are parted again: the largest of them counts.
    #[inline(always)]
    fn largest(&self, layout: usize, transport: &Transport, length: u16) -> u16 {
        // SAFETY: the context lives as long as the program.
        let segment = unsafe { (*self.0.skb.skb).gso_size };
        if segment == 0 {
            return length;
        }
        let headers = match transport.protocol {
            TCP => {
                // As in `Segment::read`.
                let at = core::hint::black_box(transport.checksum - 4);
                let Some(offset_flags) = self.at::<u16>(at) else {
                    return 0;
                };
                // SAFETY: `at` checked the bounds.
                let words = u16::from_be(unsafe { *offset_flags }) >> 12;
                transport.checksum - 16 + usize::from(words) * 4
            }
            UDP => transport.checksum + 2,
            // The size of the largest segment is not known.
            _ => return 0,
        };
        (headers - layout) as u16 + segment as u16
    }

    #[inline(always)]
    unsafe fn load(&self, offset: usize, to: *mut u8, length: usize) -> i64 {
        // SAFETY: by the caller; the helper checks the packet.
        unsafe { bpf_skb_load_bytes(self.as_ptr(), offset as u32, to.cast(), length as u32) }
    }

    #[inline(always)]
    fn store<T: Copy>(&self, offset: usize, value: &T) -> bool {
        self.overwrite(offset, value)
    }

    #[inline(always)]
    fn adjust(&self, offset: usize, delta: u16, udp: bool) -> bool {
        let Some(field) = self.at::<u16>(offset) else {
            return false;
        };
        // SAFETY: `at` checked the bounds.
        let old = unsafe { *field };
        if udp && old == 0 {
            return false;
        }
        let new = checksum::apply(old, delta);
        self.overwrite(offset, &if udp { checksum::udp(new) } else { new })
    }

    #[inline(always)]
    fn replace(
        packet: &Packet<'_, Self>,
        transport: &Transport,
        offset: usize,
        address: &[u8; 16],
        delta: u16,
    ) -> bool {
        let udp = matches!(transport.protocol, UDP | UDP_LITE);
        let at = packet.layout.ipv6 + offset;
        (packet.ctx).exchange((transport.checksum, udp), at, address, delta)
    }

    #[inline(always)]
    fn send(packet: &Packet<'_, Self>, next_hop: &NextHop) -> u32 {
        if OUT && next_hop.way == Way::Program {
            count(Counter::Forwarded);
            return redirect(next_hop.ifindex);
        }
        count(Counter::ForwardedByKernel);
        // What this host sends itself goes on: its answer would come to it by no interface, and would not be for the
        // socket that knows B. A router on the way says what is too big, and that is put right where it comes in.
        if OUT && next_hop.way == Way::TooBig && packet.ctx.is_forwarded() {
            return packet.ctx.turn_back(packet.layout.ipv6 == BARE);
        }
        XDP_PASS
    }
}

/// Sends the packet by another interface.
#[inline(always)]
pub(crate) fn redirect(ifindex: u32) -> u32 {
    // The device's queue and this program see it again: as a packet to C, which is not rewritten.
    // SAFETY: no parameters: the kernel asks its routes by that interface.
    unsafe { bpf_redirect_neigh(ifindex, core::ptr::null_mut(), 0, 0) };
    XDP_REDIRECT
}
