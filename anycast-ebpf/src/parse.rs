//! Finds the headers of a packet, once for all that follows.

use aya_ebpf::{
    bindings::{__sk_buff, xdp_md},
    programs::XdpContext,
};

use crate::{
    context::{Context, Hook, Parsed},
    packet::{self, Chain, Upper, chain, octets},
    skb::Skb,
    transport::ICMPV6,
};

/// Messages from this type on are not errors (RFC 4443 section 2.1).
const FIRST_INFORMATIONAL: u8 = 128;

/// What was found.
pub(crate) mod found {
    /// No IPv6 header.
    pub(crate) const NOTHING: u32 = 0;
    /// An IPv6 header, behind which the chain was not followed, or is too long, cut short, or has a header that
    /// decides where the packet goes.
    pub(crate) const IPV6: u32 = 1;
    /// The upper-layer header.
    pub(crate) const UPPER: u32 = 2;
    /// So it is, in the first piece of a larger packet.
    pub(crate) const FIRST: u32 = 3;
    /// A later piece.
    pub(crate) const LATER: u32 = 4;
}

/// How to look.
pub(crate) mod how {
    /// What the chain behind the IPv6 header leads to is wanted, too.
    pub(crate) const FOLLOW: u32 = 1;
    /// At TCX: the packet begins with its IPv6 header.
    pub(crate) const BARE: u32 = 2;
}

/// Finds the IPv6 header and, if asked, what the chain behind it leads to: one of [`found`].
#[inline(always)]
pub(crate) fn parse<C: Context>(ctx: &C, parsed: &mut Parsed, how: u32) -> u32 {
    let context = ctx.as_ptr();
    // SAFETY: the context is the kernel's, and `parsed` is there.
    unsafe {
        match C::HOOK {
            Hook::Xdp => parse_xdp(context.cast(), parsed, how),
            Hook::Ingress | Hook::Egress => parse_skb(context.cast(), parsed, how),
        }
    }
}

/// [`parse`] at XDP. A global function, which the verifier follows once.
///
/// # Safety
///
/// The context must be the kernel's, and `parsed` be there.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn parse_xdp(context: *mut xdp_md, parsed: *mut Parsed, how: u32) -> u32 {
    // SAFETY: by the caller; the verifier cannot know that it is there.
    match unsafe { parsed.as_mut() } {
        Some(parsed) => find(&XdpContext::new(context), parsed, how & how::FOLLOW),
        None => found::NOTHING,
    }
}

/// [`parse`] at TCX. A global function, likewise.
///
/// # Safety
///
/// As above.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn parse_skb(context: *mut __sk_buff, parsed: *mut Parsed, how: u32) -> u32 {
    // SAFETY: as above.
    match unsafe { parsed.as_mut() } {
        Some(parsed) => find(&Skb::<false>::new(context), parsed, how),
        None => found::NOTHING,
    }
}

#[inline(always)]
fn find<C: Context>(ctx: &C, parsed: &mut Parsed, how: u32) -> u32 {
    let header = if how & how::BARE != 0 {
        packet::bare_ipv6(ctx)
    } else {
        packet::ipv6(ctx)
    };
    let Some((layout, ipv6)) = header else {
        return found::NOTHING;
    };
    // SAFETY: `packet::ipv6` checked that the header lies within the packet.
    unsafe {
        parsed.source = octets((*ipv6).source);
        parsed.destination = octets((*ipv6).destination);
        parsed.next_header = (*ipv6).next_header;
    }
    parsed.ipv6 = layout.ipv6 as u32;
    parsed.tagged = u8::from(layout.tagged | ctx.untagged());
    if how & how::FOLLOW == 0 {
        return found::IPV6;
    }
    let (kind, upper) = match chain(ctx, layout, parsed.next_header) {
        Chain::Upper(upper) => (found::UPPER, upper),
        Chain::First(upper, piece) => {
            parsed.identification = piece.identification;
            (found::FIRST, upper)
        }
        Chain::Later(piece) => {
            parsed.identification = piece.identification;
            parsed.protocol = piece.protocol;
            return found::LATER;
        }
        Chain::Unknown => return found::IPV6,
    };
    parsed.upper = upper.offset as u32;
    parsed.protocol = upper.protocol;
    parsed.error = u8::from(is_error(ctx, upper));
    kind
}

/// Whether it is an ICMPv6 error. What is cut short is none.
#[inline(always)]
fn is_error<C: Context>(ctx: &C, upper: Upper) -> bool {
    upper.protocol == ICMPV6
        && ctx
            .at::<[u8; 2]>(upper.offset)
            // SAFETY: `at` checked the bounds.
            .is_some_and(|head| unsafe { (*head)[0] } < FIRST_INFORMATIONAL)
}
