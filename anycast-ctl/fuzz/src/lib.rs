//! The targets, and of `anycast-ctl` what they need: its pure half, under the name of the whole.
//! Neither sockets nor BPF programs have to be built to fuzz it.

// `targets` belongs to the tests of anycast-ctl too, and names what it uses in the same words here.
extern crate self as anycast_ctl;

#[path = "../../src/core/mod.rs"]
pub mod core;
pub mod targets;
