//! The one thin shell around the core.

pub mod dataplane;
