//! What differs between the hooks: how a packet is changed, measured, copied and sent.
//!
//! Everything else is written once, for any [`Context`], and compiled for each hook by itself. Verdicts
//! are XDP actions everywhere; the entry points of other hooks translate them.

use core::ops::Deref;

use anycast_common::abi::counters::Counter;
use aya_ebpf::{EbpfContext, programs::XdpContext};

use crate::{
    count::count,
    next_hop::NextHop,
    packet::{Bytes, IPV6, Ipv6, Layout, MAX_OFFSET, Piece, Upper},
    transport::Transport,
};

/// Index of the loopback interface.
pub(crate) const LOOPBACK: u32 = 1;

/// Where packets meet a program.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    /// On the way in; the program itself forwards.
    Xdp,
    /// On the way in; the kernel forwards or receives what the program lets pass.
    Ingress,
    /// On the way out, behind the kernel's forwarding and its filters.
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

    /// Whether a packet on its way out came by an interface, and is not of this host.
    fn is_forwarded(&self) -> bool {
        false
    }

    /// Whether the beginning of the packet is not in the memory that can be read in place.
    fn is_elsewhere(&self) -> bool {
        false
    }

    /// Counts the packet, unless a program has counted it on its way in.
    #[inline(always)]
    fn count_first(&self, counter: Counter) {
        if !self.is_forwarded() {
            count(counter);
        }
    }

    /// The interface by which the kernel looks for the way of a packet on its way out: that by which it came or, for
    /// what this host sends, the loopback interface.
    fn origin(&self) -> u32 {
        LOOPBACK
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
}

/// What was found out about an IPv6 packet: all that a global function is told of it. The structure has no padding:
/// nobody would initialise it, and the verifier refuses to hand over memory that is not initialised.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct Parsed {
    /// Copies, because the addresses are the keys of lookups.
    pub source: [u8; 16],
    pub destination: [u8; 16],
    /// Offset of the IPv6 header in the frame.
    pub ipv6: u32,
    /// Offset of the upper-layer header in the frame.
    pub upper: u32,
    /// Of a fragment: Identification, network order.
    pub identification: u32,
    /// What the IPv6 header says that follows it.
    pub next_header: u8,
    /// Protocol number of the upper-layer header, or of that of a later fragment's packet.
    pub protocol: u8,
    /// 1: the frame carries a VLAN tag, or had one that was taken off it.
    pub tagged: u8,
    /// 1: it is an ICMPv6 error.
    pub error: u8,
}

impl Parsed {
    /// That of a packet of which nothing is known yet.
    #[inline(always)]
    pub(crate) fn nothing() -> Self {
        Self {
            source: [0; 16],
            destination: [0; 16],
            ipv6: 0,
            upper: 0,
            identification: 0,
            next_header: 0,
            protocol: 0,
            tagged: 0,
            error: 0,
        }
    }

    /// Where the IPv6 header is.
    #[inline(always)]
    pub(crate) fn header(&self) -> usize {
        (self.ipv6 & MAX_IPV6) as usize
    }

    /// The upper-layer header.
    #[inline(always)]
    pub(crate) fn upper_header(&self) -> Upper {
        Upper {
            protocol: self.protocol,
            offset: self.upper as usize & MAX_OFFSET,
        }
    }

    /// What the fragments of its packet have in common.
    #[inline(always)]
    pub(crate) fn piece(&self) -> Piece {
        Piece {
            identification: self.identification,
            protocol: self.protocol,
        }
    }
}

/// An IPv6 packet at one of our interfaces.
pub(crate) struct Packet<'a, C = XdpContext> {
    pub ctx: &'a C,
    pub parsed: &'a Parsed,
    pub layout: Layout,
    /// The header, until the packet is changed: see [`Packet::header`].
    pub ipv6: *mut Ipv6,
}

impl<C> Deref for Packet<'_, C> {
    type Target = Parsed;

    #[inline(always)]
    fn deref(&self) -> &Parsed {
        self.parsed
    }
}

/// No IPv6 header starts later than this: behind two VLAN tags it starts at 22.
const MAX_IPV6: u32 = 31;

impl<'a, C: Context> Packet<'a, C> {
    /// The packet of which that was found out.
    #[inline(always)]
    pub(crate) fn again(ctx: &'a C, parsed: &'a Parsed) -> Option<Self> {
        let layout = Layout {
            ipv6: parsed.header(),
            tagged: parsed.tagged != 0,
        };
        Some(Self {
            ctx,
            parsed,
            layout,
            ipv6: ctx.at(layout.ipv6)?,
        })
    }

    /// Octets of it, as it came: those of merged segments together. A header may say more than there is, and a frame
    /// may have more than its header says.
    #[inline(always)]
    pub(crate) fn octets(&self) -> u64 {
        let Some(header) = self.header() else {
            return 0;
        };
        // SAFETY: the header lies within the packet.
        let payload = u16::from_be(unsafe { (*header).payload_length });
        counted(self.ctx, self.layout.ipv6, payload)
    }

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

/// Octets of a packet with this payload length, of those that there are. A jumbogram of the kernel's says 0.
#[inline(always)]
pub(crate) fn counted(ctx: &impl Context, ipv6: usize, payload: u16) -> u64 {
    let there = ctx.length().saturating_sub(ipv6) as u64;
    let said = u64::from(payload) + IPV6 as u64;
    if payload == 0 { there } else { said.min(there) }
}

/// What a role made of a packet.
pub(crate) enum Verdict {
    /// It is not for this role.
    NotOurs,
    /// XDP action.
    Done(u32),
}

impl Verdict {
    /// [`Verdict::NotOurs`] as one register.
    pub(crate) const NOT_OURS: u32 = u32::MAX;

    /// As one register, which is all that a BPF function can return.
    #[inline(always)]
    pub(crate) fn pack(self) -> u32 {
        match self {
            Self::NotOurs => Self::NOT_OURS,
            Self::Done(action) => action,
        }
    }

    #[inline(always)]
    pub(crate) fn unpack(packed: u32) -> Self {
        match packed {
            Self::NOT_OURS => Self::NotOurs,
            action => Self::Done(action),
        }
    }
}
