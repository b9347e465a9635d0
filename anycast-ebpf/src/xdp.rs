//! Packets at XDP: the program changes and sends them itself.

use anycast_common::wire::checksum;
use aya_ebpf::{
    helpers::{bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    programs::XdpContext,
};

use crate::{
    context::{Context, Hook, Packet},
    forward,
    next_hop::NextHop,
    packet::{Bytes, ETHERNET, IPV6, words},
    rewrite,
    transport::{Transport, UDP, UDP_LITE},
};

impl Context for XdpContext {
    const HOOK: Hook = Hook::Xdp;

    #[inline(always)]
    fn ingress(&self) -> u32 {
        self.ingress_ifindex() as u32
    }

    #[inline(always)]
    fn is_elsewhere(&self) -> bool {
        let there = self.end() - self.start();
        there < ETHERNET + IPV6 && self.length() > there
    }

    /// A frame that is longer than a buffer is in several, of which the first can be read in place.
    #[inline(always)]
    fn length(&self) -> usize {
        // SAFETY: the context is the kernel's.
        unsafe { bpf_xdp_get_buff_len(self.ctx) as usize }
    }

    #[inline(always)]
    fn largest(&self, _: usize, _: &Transport, length: u16) -> u16 {
        length
    }

    #[inline(always)]
    unsafe fn load(&self, offset: usize, to: *mut u8, length: usize) -> i64 {
        // SAFETY: by the caller; the helper checks the packet.
        unsafe { bpf_xdp_load_bytes(self.ctx, offset as u32, to.cast(), length as u32) }
    }

    #[inline(always)]
    fn store<T: Copy>(&self, offset: usize, value: &T) -> bool {
        // Else the compiler takes the checks that were made for what is around it as made for this, too,
        // which the verifier cannot see.
        let Some(field) = self.at::<T>(core::hint::black_box(offset)) else {
            return false;
        };
        // SAFETY: `at` checked the bounds.
        unsafe { *field = *value };
        true
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
        // SAFETY: as above.
        unsafe { *field = if udp { checksum::udp(new) } else { new } };
        true
    }

    #[inline(always)]
    fn replace(
        packet: &Packet<'_>,
        transport: &Transport,
        offset: usize,
        address: &[u8; 16],
        delta: u16,
    ) -> bool {
        let checksum = transport.place();
        if checksum != 0 {
            let udp = matches!(transport.protocol, UDP | UDP_LITE);
            packet.ctx.adjust(checksum, delta, udp);
        }
        // SAFETY: `classify` checked that the IPv6 header lies within the packet.
        unsafe {
            if offset == rewrite::SOURCE {
                (*packet.ipv6).source = words(address);
            } else {
                (*packet.ipv6).destination = words(address);
            }
        }
        true
    }

    #[inline(always)]
    fn send(packet: &Packet<'_>, next_hop: &NextHop) -> u32 {
        forward::redirect(packet, next_hop)
    }
}
