//! Sums of the Internet checksum (RFC 1071).

/// Whether a sum of words of 32 bits, in which the checksum is, is what it has to be.
#[inline(always)]
pub(crate) fn folds_to_ones(sum: u64) -> bool {
    let mut sum = (sum & 0xffff_ffff) + (sum >> 32);
    for _ in 0..3 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum == 0xffff
}
