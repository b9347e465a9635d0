//! Numbers as metrics have them.

pub(super) fn truth(value: bool) -> f64 {
    f64::from(u8::from(value))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "2^53 are more than there can be"
)]
pub(super) fn count(number: usize) -> f64 {
    number as f64
}
