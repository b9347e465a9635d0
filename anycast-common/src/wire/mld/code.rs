//! The floating-point codes of MLDv2 (RFC 3810 sections 5.1.3 and 5.1.9).

/// A code of `1 + 3 + mantissa` bits: linear while the top bit is clear, else
/// `(mantissa | 1 << mantissa_bits) << (exponent + 3)`.
pub(super) struct Code {
    mantissa_bits: u32,
}

/// Maximum Response Code, 16 bits, milliseconds.
pub(super) const RESPONSE: Code = Code { mantissa_bits: 12 };
/// Querier's Query Interval Code, 8 bits, seconds.
pub(super) const QUERY_INTERVAL: Code = Code { mantissa_bits: 4 };

impl Code {
    /// The first code that is floating-point, which is also the first value that needs it.
    const fn threshold(&self) -> u32 {
        8 << self.mantissa_bits
    }

    /// The value that `code` stands for.
    pub(super) fn decode(&self, code: u16) -> u32 {
        let code = u32::from(code);
        if code < self.threshold() {
            return code;
        }
        let hidden = 1 << self.mantissa_bits;
        let mantissa = code & (hidden - 1);
        let exponent = (code >> self.mantissa_bits) & 7;
        (mantissa | hidden) << (exponent + 3)
    }

    /// The code of the greatest value that is not above `value`.
    pub(super) fn encode(&self, value: u32) -> u16 {
        let threshold = self.threshold();
        let code = if value < threshold {
            value
        } else {
            // Bring the leading one to the hidden bit; what is shifted out is rounded down.
            let shift = value.ilog2() - self.mantissa_bits;
            if shift > 10 {
                threshold * 2 - 1
            } else {
                let hidden = 1 << self.mantissa_bits;
                threshold | (shift - 3) << self.mantissa_bits | (value >> shift) & (hidden - 1)
            }
        };
        u16::try_from(code).unwrap_or(u16::MAX)
    }
}
