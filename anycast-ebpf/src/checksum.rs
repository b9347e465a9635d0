//! Sums of the Internet checksum (RFC 1071), and whether that of an ICMPv6 message is right.

use aya_ebpf::helpers::bpf_csum_diff;

use crate::{
    context::{Context, Packet},
    global::global,
    maps::SCRATCH,
    packet::words,
    transport::ICMPV6,
};

/// Octets of the largest ICMPv6 error without its IPv6 header.
const MESSAGE: usize = 1240;
/// What the helper sums at once.
const CHUNK: usize = 512;
const CHUNKS: usize = 3;

/// Whether a sum of words of 32 bits, in which the checksum is, is what it has to be.
#[inline(always)]
pub(crate) fn folds_to_ones(sum: u64) -> bool {
    folded(sum) == 0xffff
}

/// A sum of words of 32 bits, as one of 16 bits.
#[inline(always)]
pub(crate) fn folded(sum: u64) -> u16 {
    let mut sum = (sum & 0xffff_ffff) + (sum >> 32);
    for _ in 0..3 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Whether the ICMPv6 checksum of a message of so many octets is right (RFC 8200 section 8.1). An error longer than the
/// IPv6 minimum MTU is none.
#[inline(always)]
pub(crate) fn holds_checksum<C: Context>(
    packet: &Packet<'_, C>,
    offset: usize,
    length: usize,
) -> bool {
    holds(packet.ctx, packet.parsed, offset as u32, length as u32) != 0
}

global! {
    /// [`holds_checksum`]: not 0 if so.
    fn holds(packet, offset: u32, length: u32) -> u32;
    holds_once or 0;
    error_holds_xdp, error_holds_in, error_holds_out
}

#[inline(always)]
fn holds_once<C: Context>(packet: &Packet<'_, C>, offset: u32, length: u32) -> u32 {
    u32::from(sums_up(packet, offset as usize, length as usize))
}

#[inline(always)]
fn sums_up<C: Context>(packet: &Packet<'_, C>, offset: usize, length: usize) -> bool {
    // One comparison, of which older verifiers understand both ends, as in `punt`.
    let before_last = core::hint::black_box(length.wrapping_sub(1));
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else {
        return false;
    };
    let scratch = scratch.cast::<u8>();
    if before_last >= MESSAGE {
        return false;
    }
    let length = before_last + 1;
    // SAFETY: there is room for so many octets and eight more; the helper checks the packet.
    unsafe {
        if packet.ctx.load(offset, scratch, length) != 0 {
            return false;
        }
        scratch.add(length).cast::<u32>().write_unaligned(0);
        message_holds(&packet.source, &packet.destination, length as u32) != 0
    }
}

/// Whether the checksum of the message in the scratch, which ends with a word of zeros, is right. A global function,
/// which the verifier follows once.
///
/// # Safety
///
/// The addresses must be there.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn message_holds(
    source: *const [u8; 16],
    destination: *const [u8; 16],
    length: u32,
) -> u32 {
    if source.is_null() || destination.is_null() {
        return 0;
    }
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else {
        return 0;
    };
    let scratch = scratch.cast::<u8>();
    // SAFETY: by the caller.
    let (source, destination) = unsafe { (words(&*source), words(&*destination)) };
    let mut sum = u64::from((length as u16 + u16::from(ICMPV6)).to_be());
    // Two loops, which the compiler unrolls: of one that it enters in the middle, Linux 6.1 says that it goes back.
    for word in source {
        sum += u64::from(word);
    }
    for word in destination {
        sum += u64::from(word);
    }
    for chunk in 0..CHUNKS {
        let start = chunk * CHUNK;
        // To whole words.
        let rest = (length as usize + 3).saturating_sub(start) & 0x7fc;
        let rest = core::hint::black_box(rest).min(CHUNK);
        // SAFETY: as above.
        let part = unsafe {
            bpf_csum_diff(
                core::ptr::null_mut(),
                0,
                scratch.add(start).cast(),
                rest as u32,
                0,
            )
        };
        sum += part as u64 & 0xffff_ffff;
    }
    u32::from(folds_to_ones(sum))
}
