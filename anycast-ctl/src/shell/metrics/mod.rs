//! Metrics for Prometheus: their families and text, what is measured for them, and the listener that serves them.

mod families;
mod listener;
mod timings;

pub(super) use families::{Families, Form, Labels};
pub(super) use listener::Listener;
pub(super) use timings::Timings;
