//! Words that the configuration and the shell share: plain values, which nothing outside has an effect on.
//!
//! The configuration makes them, the shell acts on them; neither knows the other by them.

pub mod address;
pub mod health;
pub mod limits;
pub mod mac;
pub mod nexthop;
pub mod policy;
pub mod program;
pub mod route;
pub mod sizes;
