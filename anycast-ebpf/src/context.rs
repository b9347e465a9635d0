//! What differs between the hooks: how a packet is changed, measured, copied and sent.
//!
//! Everything else is written once, for any [`Context`], and compiled for each hook by itself. Verdicts
//! are XDP actions everywhere; the entry points of other hooks translate them.

use anycast_common::wire::checksum;
use aya_ebpf::{EbpfContext, helpers::bpf_xdp_load_bytes, programs::XdpContext};

use crate::{
    classify::Packet,
    correspondent::Change,
    flow_cache,
    forward::{self, NextHop},
    packet::{Bytes, Ipv6, words},
    rewrite,
    transport::{Transport, UDP, UDP_LITE},
};

/// Where packets meet a program.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    /// On the way in; the program itself forwards.
    Xdp,
    /// On the way in; the kernel forwards or receives what the program lets pass.
    Ingress,
    /// On the way out, packets of this host.
    Egress,
}

/// A packet at a hook.
pub(crate) trait Context: Bytes + EbpfContext {
    const HOOK: Hook;

    /// Index of the interface at which the packet is.
    fn ingress(&self) -> u32;

    /// Whether the frame had a VLAN tag that was taken off it.
    fn untagged(&self) -> bool {
        false
    }

    /// Octets of the frame, those included that cannot be read in place.
    fn length(&self) -> usize;

    /// Octets of the largest IPv6 packet that the wire sees of this one, which has `length`. 0: unknown.
    fn largest(&self, layout: usize, transport: &Transport, length: u16) -> u16;

    /// Copies `length` octets from `offset`. Not 0: they are not there.
    ///
    /// # Safety
    ///
    /// There must be room for them at `to`.
    unsafe fn load(&self, offset: usize, to: *mut u8, length: usize) -> i64;

    /// Writes at `offset`. False: it lies outside of the packet.
    fn store<T: Copy>(&self, offset: usize, value: &T) -> bool;

    /// Updates the checksum at `offset` (RFC 1624). False: it lies outside of the packet, or is one of
    /// UDP that was never computed.
    fn adjust(&self, offset: usize, delta: u16, udp: bool) -> bool;

    /// Puts an address in place of that at `offset` in the IPv6 header, and what that does to a checksum
    /// into the one of the transport header. False: nothing was done.
    fn replace(
        packet: &Packet<'_, Self>,
        transport: &Transport,
        offset: usize,
        address: &[u8; 16],
        delta: u16,
    ) -> bool
    where
        Self: Sized;

    /// Sends the rewritten packet, or leaves it to the kernel.
    fn send(packet: &Packet<'_, Self>, next_hop: &NextHop) -> u32
    where
        Self: Sized;

    /// Keeps what was found for a packet that the program sends itself.
    fn remember(
        packet: &Packet<'_, Self>,
        transport: &Transport,
        change: &Change,
        next_hop: &NextHop,
    ) where
        Self: Sized;
}

impl<C: Context> Packet<'_, C> {
    /// The IPv6 header, as it is now.
    #[inline(always)]
    pub(crate) fn header(&self) -> Option<*mut Ipv6> {
        if C::HOOK == Hook::Xdp {
            Some(self.ipv6)
        } else {
            // Helpers change the packet: no pointer into it is good after that.
            self.ctx.at(self.layout.ipv6)
        }
    }
}

impl Context for XdpContext {
    const HOOK: Hook = Hook::Xdp;

    #[inline(always)]
    fn ingress(&self) -> u32 {
        self.ingress_ifindex() as u32
    }

    #[inline(always)]
    fn length(&self) -> usize {
        self.end() - self.start()
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
        if transport.checksum != 0 {
            let udp = matches!(transport.protocol, UDP | UDP_LITE);
            packet.ctx.adjust(transport.checksum, delta, udp);
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

    #[inline(always)]
    fn remember(packet: &Packet<'_>, transport: &Transport, change: &Change, next_hop: &NextHop) {
        flow_cache::remember(packet, transport, change, next_hop);
    }
}
