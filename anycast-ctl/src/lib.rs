//! The controller of an IPv6 anycast node.
//!
//! [`core`] contains the protocols as pure state machines: they take an input and the current time, and give actions
//! and their next deadline. The shell around them owns the sockets, the maps, the routes and the clock.

pub mod cli;
pub mod config;
pub mod core;
pub mod model;
pub mod shell;
