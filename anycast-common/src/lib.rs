//! What both sides of the kernel boundary must agree on.
//!
//! No `std`, no allocation: the same source builds for the controller and for the eBPF programs.
#![no_std]

pub mod wire;
